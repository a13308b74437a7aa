"""Erasure: the person is forgotten, the ledger keeps a nameless book that still adds up."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import asyncpg
import pytest

from service.actions import routes
from service.audit.audit import audit
from service.http.auth import FORGOTTEN_CHANNEL
from service.ledger.books import lock_book
from service.ledger.lanes import Lanes
from service.platform.clock import Clock
from service.privacy import erase
from service.privacy.erase import erase_participant, finish_erasures
from tests.actions.reports import blocked_backends
from tests.callers import advance, saxaul, sign_in
from tests.people import served, settings_for, token_of
from tests.privacy.rows import LEDGER, rows_of
from tests.processes import PATIENCE_S
from tests.rules.sets import shipped_rulebook

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PROJECT = {
    "name": "Hexi",
    "species": "saxaul",
    "place": "Gansu",
    "country": "CN",
    "price_g": 100,
    "capacity": 5,
    "partner": "trees for all",
}


async def is_clean(database, **options):
    report = await audit(database, mode="full", now=datetime.now(UTC), **options)
    return report.differences == []


async def test_identity_and_attributes_go_and_the_book_stays(client, database, operator, alice):
    project = await operator.post("/v1/operator/projects", PROJECT)
    await alice.patch("/v1/me", {"display_name": "Alice Liddell"})
    first = await alice.walks()
    await alice.walks(500)
    await advance(client, days=2)
    await alice.post(f"/v1/me/bubbles/{first['id']}/collect", key="collect-key-00001")
    pledge = {"project_id": project.json()["id"], "trees": 1, "dedication": "for Dinah"}
    pledged = await alice.post("/v1/me/pledges", pledge, key="pledge-key-000001")
    assert pledged.status_code == 201, pledged.text
    old_id = alice.participant_id

    answer = await alice.delete("/v1/me")
    assert (answer.status_code, answer.content) == (204, b"")

    left = await rows_of(database, old_id)
    assert set(left) | {"outbox"} == LEDGER
    book = await database.pool.fetchrow("SELECT * FROM books WHERE participant_id = $1", old_id)
    assert (book["closed"], book["salt"], book["available"], book["pledged"]) == (
        True,
        None,
        60,
        100,
    )
    told = await database.pool.fetchval(
        "SELECT count(attributes) FROM actions WHERE participant_id = $1", old_id
    )
    assert told == 0
    assert not await database.pool.fetchval(
        "SELECT dedication FROM pledges WHERE participant_id = $1", old_id
    )
    assert await is_clean(database)

    me = (await alice.get("/v1/me")).json()
    assert me["participant_id"] != str(old_id)
    assert me["display_name"] != "Alice Liddell"
    assert set(me["balances"].values()) == {0}
    found = await operator.get(f"/v1/operator/participants/{old_id}")
    assert (found.json()["state"], found.json()["display_name"]) == ("erased", None)
    statement = await operator.get(f"/v1/operator/participants/{old_id}/statement")
    assert len(statement.json()["items"]) == 4


async def test_no_answer_is_kept_for_who_is_erased_while_a_batch_ends(database, alice, monkeypatch):
    record_items, old_id = routes._record_items, alice.participant_id

    async def record_items_then_erase(*arguments):
        answer = await record_items(*arguments)
        assert (await alice.delete("/v1/me")).status_code == 204
        return answer

    monkeypatch.setattr(routes, "_record_items", record_items_then_erase)
    answer = await alice.post("/v1/me/actions/batch", {"actions": [{}]}, key="batch-key-000001")
    assert answer.status_code == 503, answer.text
    assert await answers_kept(database, old_id) == 0


async def answers_kept(database, participant_id):
    return await database.pool.fetchval(
        "SELECT count(*) FROM idempotency_keys WHERE participant_id = $1", participant_id
    )


@pytest.mark.parametrize("of", ["bubble", "pledge", "cancel", "adjustment"])
async def test_no_conflict_is_kept_for_who_is_erased_while_it_is_answered(
    database, database_url, operator, alice, of
):
    """Both wait for the book; whoever is first, nothing of the conflict is left."""
    old_id, path, body = alice.participant_id, None, None
    if of == "bubble":
        path = f"/v1/me/bubbles/{(await alice.walks())['bubble']['id']}/collect"
    elif of == "adjustment":
        path = f"/v1/operator/participants/{old_id}/adjustments"
        body = {"amount_g": -1, "reason": "too much"}
    else:
        await alice.walks(15_000)
        await advance(operator.client, hours=32)
        await alice.post("/v1/me/bubbles/collect")
        project = await operator.post("/v1/operator/projects", PROJECT)
        body = {"project_id": project.json()["id"], "trees": 1}
        path = "/v1/me/pledges"
        if of == "pledge":
            body["trees"] = 5
        else:
            pledge = await alice.post(path, body, key="pledge-key-000001")
            path, body = f"{path}/{pledge.json()['id']}/cancel", None
            assert (await alice.post(path)).status_code == 200
    caller = operator if of == "adjustment" else alice
    async with database.transaction() as holder:
        await lock_book(holder, old_id)
        erasing = asyncio.create_task(alice.delete("/v1/me"))
        asking = asyncio.create_task(caller.post(path, body, key="conflict-key-0001"))
        await blocked_backends(database_url)
        # Both are in the door when what was asked behind them is answered.
        await alice.get("/v1/me")
    answer = await asking
    assert (await erasing).status_code == 204
    assert answer.status_code in {409, 503}, answer.text
    assert await answers_kept(database, old_id) == 0
    assert await is_clean(database)


async def test_no_word_of_theirs_is_left_anywhere(client, database, operator):
    """Every row of every table is searched for what the person said and was called."""
    subject, name, box, reason = "subject-q7zk", "Name-q7zk", "BOX-Q7ZK", "reason-q7zk"
    person = await sign_in(client, subject)
    await person.patch("/v1/me", {"display_name": name})
    now = (await client.get("/v1/dev/clock")).json()["now"]
    report = {"type": "recycling.box", "occurred_at": now, "attributes": {"box_code": box}}
    recorded = await person.post("/v1/me/actions", report, key="key-q7zk-q7zk-q7zk")
    assert recorded.status_code == 201, recorded.text
    path = f"/v1/operator/actions/{recorded.json()['id']}/reverse"
    assert (await operator.post(path, {"reason": reason})).status_code == 200
    await person.post("/v1/me/bubbles/collect", key="key-q7zk-q7zk-7f3b")
    # The log of acts is kept for ever; what an operator writes there is told in their guide.
    left_out = {"audit_log"}
    assert {"participants", "actions", "idempotency_keys"} <= await naming(database, "q7zk")
    assert (await person.delete("/v1/me")).status_code == 204
    assert await naming(database, "q7zk") - left_out == set()


async def naming(database, text):
    """The tables with a row in which this text stands."""
    tables = await database.pool.fetch(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    found = set()
    for (table,) in tables:
        if await database.pool.fetchval(
            f"SELECT EXISTS (SELECT FROM {table} t WHERE to_jsonb(t)::text ILIKE $1)", f"%{text}%"
        ):
            found.add(table)
    return found


async def test_operators_move_nothing_in_the_book_of_somebody_erased(client, operator, alice):
    action = await alice.walks()
    await alice.delete("/v1/me")
    path = f"/v1/operator/participants/{alice.participant_id}"
    for post, body in (
        ("/adjustments", {"amount_g": 1, "reason": "x"}),
        ("/suspend", None),
        ("/resume", None),
    ):
        answer = await operator.post(path + post, body)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), post
    reversed_ = await operator.post(f"/v1/operator/actions/{action['id']}/reverse", {"reason": "x"})
    assert (reversed_.status_code, reversed_.json()["code"]) == (409, "conflict")


async def test_somebody_suspended_can_be_forgotten(operator, alice):
    await operator.post(f"/v1/operator/participants/{alice.participant_id}/suspend")
    assert (await alice.delete("/v1/me")).status_code == 204


async def test_the_boards_are_told_to_forget(database, alice):
    await alice.patch("/v1/me", {"region": "CN-ZJ"})
    await alice.walks()
    await alice.delete("/v1/me")
    bodies = await database.pool.fetch(
        "SELECT body FROM outbox WHERE participant_id = $1 ORDER BY id", alice.participant_id
    )
    forget = bodies[-1]["body"]["forget"]
    assert forget == [[alice.participant_id.hex, ["CN-ZJ"]]]


async def test_whatever_waits_for_the_book_finds_it_closed(database, client, alice):
    """A request that came in before the erasure books nothing after it, and may be sent again."""
    await alice.walks()
    async with database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await lock_book(connection, alice.participant_id)
        erasing = asyncio.create_task(alice.delete("/v1/me"))
        await waiting(database, 1)
        collecting = asyncio.create_task(alice.post("/v1/me/bubbles/collect"))
        # It is in the door when what was asked behind it is answered.
        await alice.get("/v1/me")
        await transaction.rollback()
    assert (await erasing).status_code == 204
    late = await collecting
    assert late.status_code == 503, late.text
    assert late.headers["Retry-After"] == "1"
    assert (await alice.post("/v1/me/bubbles/collect")).json()["collected_g"] == 0
    assert await is_clean(database)


async def waiting(database, number):
    """Wait until so many backends of this database wait for a lock."""
    for _ in range(2_000):
        found = await database.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        if found >= number:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("nobody waits")


async def test_two_erasures_at_once_are_one(alice, database):
    await alice.walks()
    answers = await asyncio.gather(alice.delete("/v1/me"), alice.delete("/v1/me"))
    assert {answer.status_code for answer in answers} <= {204, 503}
    assert 204 in {answer.status_code for answer in answers}
    assert await is_clean(database)


async def test_another_process_learns_of_it(servers, settings, client):
    """The token is known to both; after the erasure neither leads it to the old book."""
    async with served(settings_for(servers, settings.database_url, settings.home)) as second:
        token = await token_of(client, "bob in two places")
        headers = {"Authorization": f"Bearer {token}"}
        old = (await second.get("/v1/me", headers=headers)).json()["participant_id"]
        listening = await asyncpg.connect(settings.database_url)
        told = asyncio.get_running_loop().create_future()
        await listening.add_listener(FORGOTTEN_CHANNEL, lambda *said: told.set_result(said[-1]))
        assert (await client.delete("/v1/me", headers=headers)).status_code == 204
        assert await asyncio.wait_for(told, PATIENCE_S) == UUID(old).hex
        await listening.close()
        # The word may reach the second process a moment later than us.
        me = await second.get("/v1/me", headers=headers)
        if me.status_code == 503:
            me = await second.get("/v1/me", headers=headers)
        assert me.json()["participant_id"] != old


async def test_attributes_go_in_parts_and_a_crash_between_them_is_finished(
    database, settings, alice, monkeypatch
):
    monkeypatch.setattr(erase, "ATTRIBUTES_MAX", 2)
    for _ in range(5):
        await alice.walks(100)
    me = alice.participant_id
    left = partial(
        database.pool.fetchval,
        "SELECT count(attributes) FROM actions WHERE participant_id = $1",
        me,
    )
    lanes = Lanes(database, Clock(), shipped_rulebook, settings)
    lanes.start()
    calls = 0
    transaction = database.transaction

    def transactions_until_the_crash():
        nonlocal calls
        calls += 1
        if calls == 2:
            raise asyncpg.ConnectionDoesNotExistError
        return transaction()

    monkeypatch.setattr(database, "transaction", transactions_until_the_crash)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await erase_participant(lanes, me)
    await lanes.stop()
    monkeypatch.setattr(database, "transaction", transaction)
    assert await left() == 3
    report = await audit(database, mode="full", now=NOW)
    assert [d.what for d in report.differences] == ["attributes of actions"]
    assert await finish_erasures(database, NOW) == 1
    assert await left() == 0
    assert await finish_erasures(database, NOW) == 0
    assert await is_clean(database)


async def test_after_a_restore_whoever_was_erased_is_erased_again(
    client, database, settings, alice, tmp_path
):
    """The list of the erased is kept apart; the restored database still knows everybody."""
    kept = await sign_in(client, "somebody who stays")
    await alice.walks()
    backup = {
        table: await database.pool.fetch(
            f"SELECT * FROM {table} WHERE participant_id = $1", alice.participant_id
        )
        for table in ("identities", "participants", "counters", "books", "actions")
    }
    assert (await alice.delete("/v1/me")).status_code == 204
    _, listed, _ = await saxaul(settings, "participants", "erased")
    assert str(alice.participant_id) in listed
    path = tmp_path / "erased.txt"
    path.write_text(f"{listed}\n{uuid4()} never there\n")

    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for table in ("books", "actions", "erasures"):
            await connection.execute(
                f"DELETE FROM {table} WHERE participant_id = $1", alice.participant_id
            )
        for table, rows in backup.items():
            for row in rows:
                places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
                await connection.execute(f"INSERT INTO {table} VALUES ({places})", *row)
    assert await is_clean(database)

    _, said, _ = await saxaul(settings, "participants", "erase-again", str(path))
    assert said.startswith("1 erased, ")
    assert said.endswith(" 1 are not there\n")
    gone = {"identities", "participants", "counters"}
    assert not set(await rows_of(database, alice.participant_id)) & gone
    assert (await kept.get("/v1/me")).json()["participant_id"] == str(kept.participant_id)
    assert await is_clean(database)
