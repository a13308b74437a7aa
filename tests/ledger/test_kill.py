"""`kill -9` when PostgreSQL has committed and nobody was told: each kind of order, and its key."""

import asyncio
import uuid

import httpx
import pytest

from service.audit.audit import audit
from service.platform.clock import Clock
from service.platform.database import open_database
from service.platform.outbox import lane_of
from tests.actions.proxy import LossyProxy
from tests.callers import sign_in
from tests.ledger.kinds import KINDS, make_rich, moved, orders_of
from tests.people import publish_rules, settings_for
from tests.processes import Instance, wait_for

LANES = 64
# A pledge without a key is none.
UNKEYED = [kind for kind in KINDS if kind != "pledge"]


@pytest.fixture
def own_settings(servers, fresh_database_url, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return settings_for(servers, fresh_database_url, home)


@pytest.fixture
async def database(own_settings):
    opened = await open_database(own_settings, own_settings.database_url)
    await publish_rules(opened)
    yield opened
    assert (await audit(opened, mode="full", now=Clock().real_now())).differences == []
    await opened.close()


@pytest.fixture
async def proxy(own_settings):
    made = LossyProxy(own_settings.database_url)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def api(own_settings, proxy):
    """The API's processes, whose lanes have their database behind the proxy."""
    made = Instance(
        own_settings.home,
        database_url=proxy.url,
        redis_url=own_settings.redis_url,
        redis_prefix=own_settings.redis_prefix,
        secret_key=own_settings.secret_key,
        lanes=LANES,
    )
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


async def start(api):
    """Start the API alone; the proxy serves meanwhile."""
    api.process = api.command("api", wait=False)
    await asyncio.to_thread(wait_for, api.is_ready, api)


def alone():
    """A way to sign in that gives each person a lane of their own."""
    taken = set()

    async def make(client, subject):
        for n in range(LANES):
            person = await sign_in(client, f"{subject}-{n}")
            if (lane := lane_of(person.participant_id, LANES)) not in taken:
                taken.add(lane)
                return person
        raise AssertionError("no lane is free")

    return make


@pytest.mark.real_processes
async def test_what_was_committed_when_it_was_killed_is_answered_and_booked_once(
    api, proxy, database
):
    """Each order is the only one of its lane, so each has a COMMIT of its own."""
    await start(api)
    asked = [(kind, uuid.uuid4().hex) for kind in KINDS] + [(kind, None) for kind in UNKEYED]
    async with httpx.AsyncClient(base_url=api.url) as client:
        operator = await sign_in(client, "olga", "operator")
        subjects = [str(n) for n in range(len(asked))]
        people, project = await make_rich(database, client, subjects, alone())
        orders = [
            ((await orders_of(client, rich, project))[kind], rich.caller, key)
            for (kind, key), rich in zip(asked, people, strict=True)
        ]
        before = [await rich.caller.balances() for rich in people]
        proxy.hold_answers_of(b"COMMIT")
        sent = [
            asyncio.create_task(order.send(caller, operator, key)) for order, caller, key in orders
        ]
        await proxy.until_held(len(orders))
        api.kill()
        ended = await asyncio.gather(*sent, return_exceptions=True)
        assert all(isinstance(outcome, httpx.TransportError) for outcome in ended), ended
        proxy.hold_answers_of(None)
        await start(api)
        for (order, caller, key), begun in zip(orders, before, strict=True):
            after = moved(begun, order.moves)
            assert await caller.balances() == after, order
            if key is None:
                after = await ordered_again(order, caller, operator, after)
            else:
                await answered_as_first(order, caller, operator, key)
            assert await caller.balances() == after, order


async def answered_as_first(order, caller, operator, key):
    """Whoever asks again with the key gets the answer that nobody got, as often as they want."""
    first, again = [await order.send(caller, operator, key) for _ in range(2)]
    # A recorded action that is told again was made before.
    status = 200 if order.path == "/v1/me/actions" else order.status
    assert (first.status_code, first.headers["idempotency-replayed"]) == (status, "true")
    assert (again.status_code, again.content) == (status, first.content)


async def ordered_again(order, caller, operator, before):
    """Without a key it is another order: what is collected or cancelled already is refused, a walk
    or a gift is a second one. The balances that it leaves.
    """
    again = await order.send(caller, operator)
    assert again.status_code == order.unkeyed, again.text
    return moved(before, order.moves) if order.unkeyed == 201 else before
