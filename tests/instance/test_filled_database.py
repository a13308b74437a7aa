"""A database that version 0.1 filled is brought up to date: exact, and nothing is paid twice."""

import json
from pathlib import Path

import asyncpg
import pytest

from service.platform.database import open_database
from tests.callers import saxaul, sign_in
from tests.partners.sender import PLAIN, SINGLE, Sender
from tests.people import client_of, publish_rules, running_app, settings_for

FOLDER = Path(__file__).parent / "filled"
FILLED = json.loads((FOLDER / "filled_0_1.json").read_text())


@pytest.fixture
async def settings(servers, empty_database_url, tmp_path):
    """Settings of an instance on the database of version 0.1, brought up to date as is typed."""
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute((FOLDER / "filled_0_1.sql").read_text())
    finally:
        await connection.close()
    keys = {name: FILLED[name] for name in ("secret_key", "master_key")}
    made = settings_for(servers, empty_database_url, tmp_path, **keys)
    code, out, errors = await saxaul(made, "migrate")
    assert code == 0, out + errors
    return made


@pytest.fixture
async def database(settings):
    opened = await open_database(settings, settings.database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def client(settings):
    async with running_app(settings) as app, client_of(app) as made:
        yield made


@pytest.fixture
def senders(client):
    """The partners of that time, by name, with the secrets they have."""
    return {
        name: Sender(client, name, told["secret"], told["source"])
        for name, told in FILLED["partners"].items()
    }


@pytest.fixture
def audited(settings):
    """Whoever calls it wants the whole ledger to be clean."""

    async def audited():
        code, out, errors = await saxaul(settings, "ledger", "audit", "--full")
        assert code == 0, out + errors
        assert "clean: full audit" in out

    return audited


async def balances(database):
    rows = await database.pool.fetch("SELECT * FROM books")
    return {str(row["participant_id"]): dict(row) for row in rows}


def repaid(book):
    """What a book of that time holds when what it could spend has paid what it owed."""
    left = book["available"] + book["arrears"]
    return book | {"available": max(left, 0), "arrears": min(left, 0)}


async def assert_balances(database):
    books = await balances(database)
    assert books.keys() == FILLED["books"].keys()
    for participant_id, before in FILLED["books"].items():
        now = {account: books[participant_id][account] for account in before}
        assert now == repaid(before), participant_id


async def test_the_audit_is_clean_and_balances_are_what_they_were(audited, database):
    await audited()
    await assert_balances(database)


async def test_the_boards_are_what_the_ledger_says(settings):
    for word in ("rebuild", "check"):
        code, out, errors = await saxaul(settings, "leaderboards", word)
        assert code == 0, out + errors


@pytest.mark.parametrize("rules", ["of that time", "of today"])
async def test_what_is_sent_again_is_paid_once(rules, client, senders, database, audited):
    if rules == "of today":
        await publish_rules(database)
    await repeat_actions(client)
    await repeat_events(senders)
    await repeat_requests(client)
    await assert_balances(database)
    await audited()


async def repeat_actions(client):
    """What was refused kept no key: it is judged anew, by what is right today."""
    for each in FILLED["actions"]:
        if each["status"] != 201:
            continue
        person = await sign_in(client, each["subject"])
        answer = await person.post("/v1/me/actions", each["body"], each["key"])
        assert (answer.status_code, answer.headers["idempotency-replayed"]) == (200, "true")
        told = answer.json()
        assert {name: told[name] for name in each["answer"]} == each["answer"]
    batch = FILLED["batch"]
    person = await sign_in(client, batch["subject"])
    answer = await person.post("/v1/me/actions/batch", {"actions": batch["items"]})
    assert answer.json()["duplicate"] == len(batch["items"])


async def repeat_events(senders):
    """What was rejected is judged anew, and is no repetition."""
    for each in FILLED["events"]:
        if any(result["status"] == "rejected" for result in each["results"]):
            continue
        body, media = each["body"], each["media"]
        message_id = each["results"][0]["id"] if media == PLAIN else None
        answer = await senders[each["partner"]].post(body, media, message_id=message_id)
        assert answer.status_code == 200, answer.text
        again = answer.json()["results"]
        for first, result in zip(each["results"], again, strict=True):
            assert result["id"] == first["id"]
            if first["status"] == "accepted":
                assert result["status"] == "duplicate", result
                assert result.get("action_id") == first.get("action_id")
            elif result["status"] == "rejected":
                # What waited, and is sent again a week after it happened, is judged as it is now.
                assert result["problem"]["reason"] == "too-late", result
            else:
                assert result["status"] in {"parked", "duplicate"}, result


async def repeat_requests(client):
    for each in FILLED["keyed"]:
        person = await sign_in(client, each["subject"])
        answer = await person.post(each["path"], each["body"], each["key"])
        told = (answer.status_code, answer.headers.get("idempotency-replayed"), answer.json())
        assert told == (each["status"], "true", each["answer"])


async def test_a_paid_box_is_paid_however_it_is_spelt(client, audited):
    newcomer = await sign_in(client, "newcomer")
    now = (await client.get("/v1/dev/clock")).json()["now"]
    for code in ("BX-1", "bX-1", "\u00a0BX-1", "BX-1\u200b\u200b", "\uff22x-1"):
        report = {
            "type": "recycling.box",
            "occurred_at": now,
            "attributes": {"box_code": code},
        }
        answer = await newcomer.post("/v1/me/actions", report)
        assert answer.status_code == 422, (code, answer.text)
        assert answer.json()["reason"] == "already-claimed"
    await audited()


async def test_a_stations_word_takes_a_box_from_who_typed_it(client, senders, database, audited):
    (rejected,) = (each for each in FILLED["events"] if each["results"][0]["id"] == "box-ST-0003")
    now = (await client.get("/v1/dev/clock")).json()["now"]
    event, before = rejected["body"][0] | {"time": now}, await balances(database)
    answer = await senders["station"].post(event, SINGLE)
    (result,) = answer.json()["results"]
    assert (result["status"], result["energy_g"]) == ("accepted", 37)
    after = await balances(database)
    squatter = FILLED["people"]["squatter"]
    assert after[squatter]["available"] == before[squatter]["available"] - 37
    await audited()
