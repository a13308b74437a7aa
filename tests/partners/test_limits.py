"""Rate limits of partners: their own bucket, the draft's headers, and harmless without Redis."""

import re

import msgspec
import pytest

from service.http.rate_limit import Limit
from service.partners.keys import Partner
from service.partners.signature import secret_text
from tests.partners.sender import Sender
from tests.people import client_of, running_app

LIMITS = {
    "rate_limits": "on",
    "rate_partner_per_s": 1,
    "rate_partner_burst": 5,
    "rate_address_per_s": 1,
    "rate_address_burst": 6,
}


@pytest.fixture(autouse=True)
def nothing_comes_back(monkeypatch):
    """An hour from one request to the next: it does not matter how long a test takes."""
    monkeypatch.setattr(Limit, "interval_us", 3_600_000_000)


@pytest.fixture
async def limited(settings, metro, database, name):
    """The partner at a process that counts."""
    changed = msgspec.structs.replace(
        settings, redis_prefix=f"{settings.redis_prefix}{name}:", **LIMITS
    )
    async with running_app(changed) as app, client_of(app) as client:
        yield Sender(client, metro.id, secret_text(metro.secret), metro.source)


async def statuses(sender, times, **stamp):
    return [(await sender.post([], **stamp)).status_code for _ in range(times)]


async def test_a_partner_has_so_many_requests_at_once(limited):
    assert await statuses(limited, 5) == [422] * 5
    refused = await limited.post([])
    assert refused.status_code == 429
    assert refused.json()["code"] == "rate-limited"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["ratelimit-policy"] == '"partner";q=5;w=5'
    assert re.fullmatch(r'"partner";r=0;t=\d+', refused.headers["ratelimit"])


async def test_what_is_left_is_told(limited):
    answer = await limited.post([limited.event("nobody")])
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"] == '"partner";q=5;w=5'
    assert re.fullmatch(r'"partner";r=4;t=\d+', answer.headers["ratelimit"])


async def test_strangers_do_not_use_up_a_partners_requests(limited):
    """Wrong signatures are counted by address, with or without such a partner."""
    nobody = Sender(limited.client, "nobody-at-all", secret_text(limited.secret), "")
    wrong = await statuses(limited, 3, secret=b"w" * 32) + await statuses(nobody, 3)
    assert wrong == [401] * 6
    assert await statuses(limited, 1, secret=b"w" * 32) == [429]
    assert await statuses(nobody, 1) == [429]
    assert await statuses(limited, 1) == [422]


async def test_requests_without_a_signature_are_counted_by_address(limited):
    """Whichever check fails first: nobody gets unlimited tries by leaving the headers out."""
    path = f"/v1/partners/{limited.id}/events"
    bodies = ["application/json", "text/plain", "application/json"] * 2
    answers = [
        await limited.client.post(path, content=b"{}", headers={"content-type": media})
        for media in bodies
    ]
    assert [answer.status_code for answer in answers] == [400, 415, 400] * 2
    assert (await limited.client.post(path, json={})).status_code == 429
    assert await statuses(limited, 1) == [422]


async def test_without_redis_a_partner_is_served(settings, metro, unused_tcp_port, database):
    changed = msgspec.structs.replace(
        settings, redis_url=f"redis://127.0.0.1:{unused_tcp_port}", **LIMITS
    )
    async with running_app(changed) as app, client_of(app) as client:
        alone = Sender(client, metro.id, secret_text(metro.secret), metro.source)
        assert (await alone.send_one(alone.event("nobody")))["status"] == "parked"
        # A bucket of this process stands in for the shared one.
        assert await statuses(alone, 4) == [422] * 4
        assert await statuses(alone, 1) == [429]


async def test_development_counts_nothing(metro):
    answer = await metro.post([])
    assert "ratelimit" not in answer.headers


def test_a_partner_owns_its_prefix_and_what_continues_it():
    partner = Partner("p", "urn:p", frozenset())
    assert [partner.owns(source) for source in ("urn:p", "urn:p:x", "urn:p/x")] == [True] * 3
    assert [partner.owns(source) for source in ("urn:px", "urn", "", "x:urn:p")] == [False] * 4
