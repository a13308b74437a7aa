"""A bubble's life: it ripens, is collected once, or expires."""

import asyncio
import uuid

import pytest

from service.energy import expire as expiring
from service.platform.clock import Clock
from service.platform.database import open_database
from tests.callers import advance, items_of, sign_in
from tests.orders import expire
from tests.people import served, settings_for


@pytest.fixture
def database_url(fresh_database_url):
    """The clock moves differently in each test."""
    return fresh_database_url


@pytest.fixture
def own_settings(servers, database_url, tmp_path):
    return settings_for(servers, database_url, tmp_path)


@pytest.fixture
async def client(own_settings):
    async with served(own_settings) as made:
        yield made


@pytest.fixture
async def alice(client):
    return await sign_in(client, "alice")


@pytest.fixture
async def sweep(own_settings):
    """Expire what is due by the programme's clock, as the worker does."""
    database = await open_database(own_settings, own_settings.database_url)

    async def run(**options):
        clock = Clock()
        async with database.pool.acquire() as connection:
            await clock.refresh(connection)
        return await expire(database, clock.now(), **options)

    run.database = database
    yield run
    await database.close()


async def test_a_bubble_is_ripening_then_ripe_then_gone(client, alice):
    action = await alice.walks()
    [bubble] = await items_of(alice, "/v1/me/bubbles")
    assert bubble["id"] == action["bubble"]["id"]
    assert (bubble["state"], bubble["energy_g"], bubble["remaining_g"]) == ("ripening", 160, 160)
    assert bubble["origin"] == {"kind": "action", "id": action["id"]}
    early = await alice.post(f"/v1/me/bubbles/{bubble['id']}/collect")
    assert (early.status_code, early.json()["code"]) == (409, "bubble-not-ripe")
    await advance(client, hours=32)
    [bubble] = await items_of(alice, "/v1/me/bubbles")
    assert bubble["state"] == "ripe"
    collected = await alice.post(f"/v1/me/bubbles/{bubble['id']}/collect")
    assert collected.status_code == 200
    assert collected.json()["collected_g"] == 160
    assert collected.json()["balances"]["available_g"] == 160
    assert await items_of(alice, "/v1/me/bubbles") == []
    again = await alice.post(f"/v1/me/bubbles/{bubble['id']}/collect")
    assert (again.status_code, again.json()["code"]) == (409, "bubble-empty")
    assert await alice.balances() == collected.json()["balances"]


async def test_collecting_again_with_the_same_key_answers_the_same(client, alice):
    action = await alice.walks()
    await advance(client, hours=32)
    key, path = str(uuid.uuid4()), f"/v1/me/bubbles/{action['id']}/collect"
    first, again = await alice.post(path, key=key), await alice.post(path, key=key)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"


async def test_while_the_first_request_runs_its_copy_is_told_to_come_back(client, alice, sweep):
    """Both wait for the book, which somebody else holds for longer than they may wait."""
    action = await alice.walks()
    await advance(client, hours=32)
    key, path = str(uuid.uuid4()), f"/v1/me/bubbles/{action['id']}/collect"
    async with sweep.database.transaction() as holder:
        await holder.execute(
            "SELECT FROM books WHERE participant_id = $1 FOR NO KEY UPDATE", alice.participant_id
        )
        first, copy = await asyncio.gather(*[alice.post(path, key=key) for _ in range(2)])
    assert (first.status_code, first.json()["code"]) == (503, "unavailable")
    assert (copy.status_code, copy.json()["code"]) == (409, "idempotency-in-progress")
    assert copy.headers["retry-after"] == "1"
    assert (await alice.post(path, key=key)).json()["collected_g"] == 160


async def test_a_key_sent_many_times_at_once_collects_once(client, alice):
    action = await alice.walks()
    await advance(client, hours=32)
    key, path = str(uuid.uuid4()), f"/v1/me/bubbles/{action['id']}/collect"
    answers = await asyncio.gather(*[alice.post(path, key=key) for _ in range(100)])
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    replays = [answer for answer in answers if "idempotency-replayed" in answer.headers]
    assert len(replays) == 99
    assert (await alice.balances())["available_g"] == 160


async def test_a_refusal_is_the_keys_answer_too(client, alice):
    action = await alice.walks()
    key, path = str(uuid.uuid4()), f"/v1/me/bubbles/{action['id']}/collect"
    early = await alice.post(path, key=key)
    await advance(client, hours=32)
    again = await alice.post(path, key=key)
    assert (again.status_code, again.json()) == (409, early.json())
    assert (await alice.post(path, key=str(uuid.uuid4()))).status_code == 200


async def test_thirty_parallel_collects_collect_once(client, alice):
    for steps in (3_000, 4_000, 5_000):
        await alice.walks(steps)
    await advance(client, hours=32)
    answers = await asyncio.gather(*(alice.post("/v1/me/bubbles/collect") for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["collected_g"] for answer in answers) == [0] * 29 + [240]
    assert max(answer.json()["bubbles"] for answer in answers) == 3
    assert (await alice.balances())["available_g"] == 240


async def test_what_nobody_collects_expires_by_a_transfer(client, alice, sweep):
    action = await alice.walks()
    await advance(client, days=5)
    late = await alice.post(f"/v1/me/bubbles/{action['id']}/collect")
    assert (late.status_code, late.json()["code"]) == (409, "bubble-expired")
    assert (await alice.post("/v1/me/bubbles/collect")).json()["collected_g"] == 0
    assert await items_of(alice, "/v1/me/bubbles") == []
    assert await sweep() == (1, True)
    balances = await alice.balances()
    assert (balances["ripening_g"], balances["expired_g"]) == (0, 160)
    newest = (await items_of(alice, "/v1/me/statement"))[0]
    assert (newest["debit"], newest["credit"], newest["cause"]) == ("ripening", "expired", "expire")
    assert await sweep() == (0, True)


async def test_a_sweep_leaves_a_held_book_for_the_next_one(client, alice, sweep):
    await alice.walks()
    await advance(client, days=5)
    async with sweep.database.transaction() as other:
        await other.execute("SELECT FROM books FOR NO KEY UPDATE")
        assert await sweep() == (0, False)
    assert await sweep() == (1, True)


async def test_sweeps_and_collects_at_once_book_each_gram_once(client, sweep):
    people = [await sign_in(client, f"p{number}") for number in range(12)]
    await asyncio.gather(*(one.walks() for one in people))
    await advance(client, hours=32)
    half = people[:6]
    await asyncio.gather(*(one.post("/v1/me/bubbles/collect") for one in half))
    await advance(client, days=4, hours=8)
    await asyncio.gather(
        *(sweep() for _ in range(3)), *(one.post("/v1/me/bubbles/collect") for one in people)
    )
    await sweep()
    for one in people:
        balances = await one.balances()
        held = (balances["available_g"], balances["expired_g"], balances["ripening_g"])
        assert held == ((160, 0, 0) if one in half else (0, 160, 0))


@pytest.mark.parametrize("bubble_id", ["nonsense", "0f9d3f3e-3c1e-4a57-9f5c-5d1c6b9f0a11"])
async def test_a_bubble_that_is_not_there_or_not_mine(client, alice, bubble_id):
    answer = await alice.post(f"/v1/me/bubbles/{bubble_id}/collect")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_a_strangers_bubble_is_not_there(client, alice):
    action = await alice.walks()
    await advance(client, hours=32)
    mallory = await sign_in(client, "mallory")
    assert (await mallory.post(f"/v1/me/bubbles/{action['id']}/collect")).status_code == 404
    assert (await alice.balances())["ripening_g"] == 160


async def test_more_bubbles_than_one_transaction_takes_expire_in_several(
    client, alice, sweep, monkeypatch
):
    monkeypatch.setattr(expiring, "BUBBLES_MAX", 2)
    bob = await sign_in(client, "bob")
    for somebody in (alice, bob):
        for steps in (3_000, 3_500, 4_000):
            await somebody.walks(steps)
    await advance(client, days=5)
    assert await sweep() == (6, True)
    for somebody in (alice, bob):
        balances = await somebody.balances()
        assert (balances["ripening_g"], balances["expired_g"]) == (0, 210)


async def test_all_of_many_bubbles_are_collected(client, alice):
    for steps in (2_900, 3_000, 3_500, 4_000, 600):
        report = {"steps": steps}
        now = (await client.get("/v1/dev/clock")).json()["now"]
        body = {"type": "mobility.walk", "occurred_at": now, "attributes": report}
        assert (await alice.post("/v1/me/actions", body)).status_code == 201
    await advance(client, hours=32)
    answer = (await alice.post("/v1/me/bubbles/collect")).json()
    assert (answer["collected_g"], answer["bubbles"]) == (280, 5)
    assert await alice.balances() == answer["balances"]
