"""Rate limits: shared by all processes, told by headers, and harmless while Redis is away."""

import asyncio
import re

import msgspec
import pytest
from redis.asyncio import Redis

from service.http.rate_limit import Limit, RateLimitedError, RateLimiter, client_address
from tests.people import client_of, headers_of, running_app, served, settings_for

SMALL = Limit("small", 1, 5)
HOUR_US = 3_600_000_000


@pytest.fixture(autouse=True)
def slow(monkeypatch):
    """What would come back in a second takes an hour: it does not matter how long a test takes."""
    monkeypatch.setattr(Limit, "interval_us", property(lambda limit: HOUR_US // limit.per_s))


@pytest.fixture
def settings(servers, database_url, tmp_path):
    limits = {
        "rate_limits": "on",
        "rate_participant_per_s": 1,
        "rate_participant_burst": 5,
        "rate_address_per_s": 1,
        "rate_address_burst": 8,
    }
    return settings_for(servers, database_url, tmp_path / "home", **limits)


@pytest.fixture
async def limiter(redis, settings):
    return RateLimiter(redis, settings)


@pytest.fixture
async def limiter_without_redis(settings, unused_tcp_port):
    async with Redis.from_url(f"redis://127.0.0.1:{unused_tcp_port}") as nobody:
        yield RateLimiter(nobody, settings)


async def count_allowed(limiter, who, times, *, is_write=True):
    async def is_allowed():
        try:
            await limiter.take(SMALL, who, is_write=is_write)
        except RateLimitedError:
            return 0
        return 1

    return sum(await asyncio.gather(*(is_allowed() for _ in range(times))))


async def test_a_burst_passes_and_no_more(limiter):
    assert await count_allowed(limiter, "alice", 40) == 5


async def test_each_has_a_bucket_of_their_own(limiter):
    assert await count_allowed(limiter, "alice", 10) == 5
    assert await count_allowed(limiter, "bob", 10) == 5


async def test_two_processes_share_a_bucket(limiter, redis, settings):
    other = RateLimiter(redis, settings)
    allowed = await asyncio.gather(
        count_allowed(limiter, "alice", 20), count_allowed(other, "alice", 20)
    )
    assert sum(allowed) == 5


async def test_who_is_refused_may_come_again_when_told(limiter):
    await count_allowed(limiter, "alice", 5)
    with pytest.raises(RateLimitedError) as refused:
        await limiter.take(SMALL, "alice", is_write=True)
    assert 3_000 < refused.value.retry_after_s <= 3_600
    assert refused.value.status == 429


async def test_a_bucket_refills_at_its_rate(limiter):
    fast = Limit("fast", 3_600_000, 2)  # one in a millisecond
    allowed = 0
    async with asyncio.timeout(10):
        while allowed < 20:
            try:
                await limiter.take(fast, "alice", is_write=True)
                allowed += 1
            except RateLimitedError:
                await asyncio.sleep(0)


async def test_a_bucket_leaves_nothing_behind(limiter, redis, settings):
    await limiter.take(SMALL, "alice", is_write=True)
    key = f"{settings.redis_prefix}rate:small:alice"
    assert 0 < await redis.pttl(key) <= 5 * 3_600_000


async def test_without_redis_reads_pass_and_writes_have_a_bucket_here(limiter_without_redis):
    assert await count_allowed(limiter_without_redis, "alice", 40, is_write=False) == 40
    assert await count_allowed(limiter_without_redis, "alice", 40, is_write=True) == 5


async def test_a_participant_is_limited_and_told_what_is_left(settings):
    async with served(settings) as client:
        headers = await headers_of(client, "alice")
        answers = [await client.get("/v1/me", headers=headers) for _ in range(7)]
        other = await client.get("/v1/me", headers=await headers_of(client, "bob"))
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert other.status_code == 200
    first, last = answers[0], answers[-1]
    assert first.headers["ratelimit-policy"] == '"participant";q=5;w=5'
    assert re.fullmatch(r'"participant";r=4;t=\d+', first.headers["ratelimit"])
    assert last.json()["code"] == "rate-limited"
    assert last.headers["content-type"] == "application/problem+json"
    assert last.headers["ratelimit"].startswith('"participant";r=0;t=')
    assert int(last.headers["retry-after"]) >= 1


async def test_requests_without_credentials_are_limited_by_address(settings):
    async with (
        running_app(settings) as app,
        client_of(app, "192.0.2.1") as one,
        client_of(app, "192.0.2.2") as other,
    ):
        forged = {"Authorization": "Bearer nonsense"}
        found = [(await one.get("/v1/me", headers=forged)).status_code for _ in range(4)]
        found += [(await one.get("/v1/me")).status_code for _ in range(4)]
        assert found == [401] * 8
        assert (await one.get("/v1/program")).status_code == 429
        assert (await one.get("/v1/me")).status_code == 429
        assert (await one.get("/health/live")).status_code == 200
        assert (await other.get("/v1/me")).status_code == 401


async def test_there_are_no_limits_in_development_mode(settings):
    free = msgspec.structs.replace(settings, rate_limits="auto")
    async with served(free) as client:
        headers = await headers_of(client, "alice")
        answers = [await client.get("/v1/me", headers=headers) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[-1].headers


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("192.0.2.1", [], [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.5"], [], "192.0.2.1"),
        ("10.0.0.9", ["203.0.113.5"], ["10.0.0.0/8"], "203.0.113.5"),
        ("10.0.0.9", ["198.51.100.7", "203.0.113.5"], ["10.0.0.0/8"], "203.0.113.5"),
        ("10.0.0.9", ["203.0.113.5", "10.0.0.8"], ["10.0.0.0/8"], "203.0.113.5"),
        ("10.0.0.9", ["nonsense"], ["10.0.0.0/8"], "nonsense"),
        ("10.0.0.9", [], ["10.0.0.0/8"], "10.0.0.9"),
        (None, [], [], ""),
    ],
)
def test_only_trusted_proxies_tell_whose_request_it_is(peer, forwarded, trusted, address):
    assert client_address(peer, forwarded, trusted) == address
