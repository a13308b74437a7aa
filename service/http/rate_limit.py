"""How often somebody may ask: one bucket each, kept in Redis and taken from in one script.

The script is GCRA: it stores one time, up to which the bucket is spoken for, so that any number of
API processes share it exactly. Buckets go by Redis' clock, which is real time. While Redis is
away, reads pass, and writes take from a bucket of this process.
"""

import ipaddress
import math
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import structlog
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.platform.errors import SaxaulError
from service.platform.metrics import REQUESTS_LIMITED
from service.platform.settings import Settings

_SCRIPT = Path(__file__).with_name("rate_limit.lua").read_text(encoding="ascii")
_LOCAL_MAX = 10_000
# After a failure Redis is left alone for this time: waiting for it would slow every request.
_REDIS_PAUSE_S = 1.0

_log = structlog.get_logger(__name__)


class RateLimitedError(SaxaulError):
    """Too many requests; `retry_after_s` says when the next one passes."""

    code = "rate-limited"
    text = (
        "At most {limit.per_s} requests a second, {limit.burst} at once;"
        " try again in {retry_after_s} s."
    )
    limit: "Limit"
    retry_after_s: int

    @property
    def headers(self) -> dict[str, str]:
        """How many are allowed, and when."""
        return {
            "RateLimit-Policy": self.limit.policy.decode(),
            "RateLimit": f'"{self.limit.name}";r=0;t={self.retry_after_s}',
        }


class Limit(Struct, frozen=True):
    """So many requests a second, so many at once after a pause."""

    name: str
    per_s: int
    burst: int

    @property
    def interval_us(self) -> int:
        """Microseconds from one request to the next at the steady rate."""
        return max(1, 1_000_000 // self.per_s)

    @property
    def policy(self) -> bytes:
        """The value of RateLimit-Policy: the burst refills within the window."""
        window_s = math.ceil(self.burst / self.per_s)
        return f'"{self.name}";q={self.burst};w={window_s}'.encode()


class Taken(Struct, frozen=True):
    """The state of a bucket after a request: what is left, and when it is full again."""

    is_allowed: bool
    left: int
    wait_us: int


Headers = tuple[tuple[bytes, bytes], ...]


class RateLimiter:
    """The buckets of one installation."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.participant = Limit(
            "participant", settings.rate_participant_per_s, settings.rate_participant_burst
        )
        self.partner = Limit("partner", settings.rate_partner_per_s, settings.rate_partner_burst)
        self.address = Limit("address", settings.rate_address_per_s, settings.rate_address_burst)
        self._is_on = settings.rate_limits_on
        self._prefix = settings.redis_prefix
        self._script = redis.register_script(_SCRIPT)
        self._local: dict[str, float] = {}
        self._redis_from_s = 0.0

    async def take(self, limit: Limit, who: str, *, is_write: bool) -> Headers:
        """Count a request of theirs; headers that tell what is left. Raises RateLimitedError."""
        if not self._is_on:
            return ()
        key = f"{self._prefix}rate:{limit.name}:{who}"
        taken = await self._take_shared(limit, key)
        if taken is None:
            if not is_write:
                return ()
            taken = self._take_local(limit, key)
        reset_s = math.ceil(taken.wait_us / 1_000_000)
        if not taken.is_allowed:
            REQUESTS_LIMITED.labels(limit.name).inc()
            raise RateLimitedError(limit, max(1, reset_s))
        state = f'"{limit.name}";r={taken.left};t={reset_s}'.encode()
        return ((b"ratelimit-policy", limit.policy), (b"ratelimit", state))

    async def _take_shared(self, limit: Limit, key: str) -> Taken | None:
        if monotonic() < self._redis_from_s:
            return None
        try:
            allowed, left, wait_us = await self._script(
                keys=[key], args=[limit.interval_us, limit.burst]
            )
        except (RedisError, OSError) as error:
            self._redis_from_s = monotonic() + _REDIS_PAUSE_S
            _log.warning("rate_limit_without_redis", error=repr(error))
            return None
        return Taken(bool(allowed), int(left), int(wait_us))

    def _take_local(self, limit: Limit, key: str) -> Taken:
        """The script's arithmetic, on this process's clock."""
        now_us = monotonic() * 1_000_000
        if len(self._local) >= _LOCAL_MAX:
            self._local = {name: at for name, at in self._local.items() if at > now_us}
        spoken_for = max(self._local.get(key, 0.0), now_us) + limit.interval_us
        allowed_from = spoken_for - limit.burst * limit.interval_us
        if allowed_from > now_us:
            return Taken(is_allowed=False, left=0, wait_us=int(allowed_from - now_us))
        if len(self._local) < _LOCAL_MAX:
            self._local[key] = spoken_for
        left = int((now_us - allowed_from) // limit.interval_us)
        return Taken(is_allowed=True, left=left, wait_us=int(spoken_for - now_us))


def client_address(
    peer: str | None, forwarded_for: Sequence[str], trusted_proxies: Sequence[str]
) -> str:
    """Whose request it is: the peer, or the last address that a trusted proxy did not add."""
    hops = [*forwarded_for, peer or ""]
    while len(hops) > 1 and _is_within(hops[-1], trusted_proxies):
        hops.pop()
    return hops[-1]


def _is_within(address: str, networks: Sequence[str]) -> bool:
    try:
        found = ipaddress.ip_address(address)
        return any(found in ipaddress.ip_network(network) for network in networks)
    except ValueError:
        return False
