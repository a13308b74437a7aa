"""Public keys of those whose tokens are believed: fetched, kept, and replaced without a pause.

One fetch at a time, at most one in 30 s however many unknown key ids arrive, and the keys of the
last good answer for up to a day when the issuer is away.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import jwt
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from service.platform.errors import UnavailableError

COOL_DOWN = timedelta(seconds=30)
STALE_AFTER = timedelta(hours=24)
KEY_ID_MAX = 128
_SIZE_MAX_BYTES = 262_144
_TIMEOUT_S = 3.0
_REFRESH_S = 300.0
_RSA_MIN_BITS = 2_048

_log = structlog.get_logger(__name__)


class KeysUnavailableError(UnavailableError):
    """No keys to check a token with; nothing is wrong with the token."""

    text = "The keys of the token's issuer cannot be fetched now."


class Key(msgspec.Struct, frozen=True):
    """A public key and the one algorithm that it may be used with."""

    algorithm: str
    public_key: Any


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


def parse_keys(data: bytes) -> dict[str, Key]:
    """The usable keys of a JWK set by key id. Raises ValueError when the document is none."""
    found: dict[str, Key] = {}
    for jwk in msgspec.json.decode(data, type=_Set).keys:
        key_id = jwk.get("kid")
        if not isinstance(key_id, str) or len(key_id) > KEY_ID_MAX or key_id in found:
            continue
        key = _usable(jwk)
        if key is not None:
            found[key_id] = key
    return found


def _usable(jwk: dict[str, Any]) -> Key | None:
    """The key when it is a public one for ES256, EdDSA or RS256; None otherwise."""
    if "d" in jwk or jwk.get("use", "sig") != "sig":
        return None
    try:
        parsed = jwt.PyJWK(jwk)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        return None
    public_key, algorithm = parsed.key, parsed.algorithm_name
    fits = _FITS.get(algorithm)
    return Key(algorithm, public_key) if fits and fits(public_key) else None


_FITS: dict[str, Callable[[Any], bool]] = {
    "EdDSA": lambda key: isinstance(key, Ed25519PublicKey),
    "ES256": lambda key: (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ),
    "RS256": lambda key: isinstance(key, RSAPublicKey) and key.key_size >= _RSA_MIN_BITS,
}


class KeySet:
    """The keys of one issuer. Without a client they are fixed and never fetched."""

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient | None,
        keys: dict[str, Key] | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """`on_change` is called when a fetch brought other keys than before."""
        self.url = url
        self.keys: dict[str, Key] = keys or {}
        self._client = client
        self._on_change = on_change
        self._document = b""
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._one_at_a_time = asyncio.Lock()

    async def find(self, key_id: str, now: datetime) -> Key | None:
        """The key of this id, fetched if need be; None when the issuer has none such.

        Raises KeysUnavailableError when there were no keys to look in. `now` is real time.
        """
        if self._client is None:
            return self.keys.get(key_id)
        if key_id not in self.keys or self._is_stale(now):
            await self.refresh(now)
        if self._is_stale(now):
            raise KeysUnavailableError
        return self.keys.get(key_id)

    async def keep_fresh(self, real_now: Callable[[], datetime]) -> None:
        """Fetch the keys now and again every five minutes, for as long as this task lives."""
        while True:
            await self.refresh(real_now())
            # Spread, so that all processes do not ask at once.
            await asyncio.sleep(_REFRESH_S * random.uniform(0.9, 1.1))  # noqa: S311

    async def refresh(self, now: datetime) -> None:
        """Fetch the keys unless that was tried a moment ago; keep the old ones when it fails."""
        if self._client is None:
            return
        async with self._one_at_a_time:
            if self._tried_at is not None and now - self._tried_at < COOL_DOWN:
                return
            self._tried_at = now
            try:
                data = await self._fetch(self._client)
                keys = parse_keys(data)
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                _log.warning("keys_not_fetched", url=self.url, error=repr(error))
                return
            self._fetched_at = now
            if data != self._document:
                self._document, self.keys = data, keys
                if self._on_change is not None:
                    self._on_change()

    def _is_stale(self, now: datetime) -> bool:
        return self._fetched_at is None or now - self._fetched_at > STALE_AFTER

    async def _fetch(self, client: httpx.AsyncClient) -> bytes:
        async with client.stream(
            "GET",
            self.url,
            headers={"accept": "application/json"},
            timeout=_TIMEOUT_S,
            follow_redirects=False,
        ) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"status {response.status_code}")
            data = b""
            async for part in response.aiter_bytes():
                data += part
                if len(data) > _SIZE_MAX_BYTES:
                    raise ValueError(f"more than {_SIZE_MAX_BYTES} bytes")
            return data
