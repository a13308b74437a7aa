"""Statement and audit over HTTP and on the command line."""

import hashlib
import json
import uuid
from datetime import datetime

import pytest

from tests.callers import advance, items_of, saxaul


def chain_of(participant_id, statement, digests):
    """Compute the hashes of a statement anew, from what is published about their form."""
    accounts = ["issuance", "ripening", "available", "pledged", "planted", "expired", "gifts"]
    accounts.append("arrears")
    head = hashlib.sha256(b"saxaul book " + participant_id.bytes).digest()
    for transfer in reversed(statement):
        at = datetime.fromisoformat(transfer["at"])
        microseconds = int(at.timestamp()) * 1_000_000 + at.microsecond
        row = (
            participant_id.bytes
            + transfer["seq"].to_bytes(8)
            + (accounts.index(transfer["debit"]) + 1).to_bytes(2)
            + (accounts.index(transfer["credit"]) + 1).to_bytes(2)
            + transfer["amount_g"].to_bytes(8)
            + uuid.UUID(transfer["cause_id"]).bytes
            + bytes(16)
            + microseconds.to_bytes(8)
            + transfer["cause"].encode()
            + b"\0"
            + (digests[transfer["cause_id"]] if transfer["cause"] == "action" else b"")
        )
        head = hashlib.sha256(head + row).digest()
        yield head.hex()


async def test_a_statement_tells_every_gram_and_its_hashes_follow(client, database, alice):
    walk = await alice.walks()
    await advance(client, days=2)
    await alice.post(f"/v1/me/bubbles/{walk['id']}/collect")
    answer = await alice.get("/v1/me/statement")
    assert answer.status_code == 200
    assert answer.json()["next_cursor"] is None
    collect, award = answer.json()["items"]
    assert set(award) == {
        "seq", "debit", "credit", "amount_g", "cause", "cause_id", "at", "hash"
    }  # fmt: skip
    assert [collect["seq"], award["seq"]] == [2, 1]
    assert (award["debit"], award["credit"], award["amount_g"]) == ("issuance", "ripening", 160)
    assert (award["cause"], award["cause_id"]) == ("action", walk["id"])
    assert (collect["debit"], collect["credit"]) == ("ripening", "available")
    digest = await database.pool.fetchval(
        "SELECT facts_digest FROM actions WHERE participant_id = $1", alice.participant_id
    )
    hashes = [*chain_of(alice.participant_id, [collect, award], {walk["id"]: digest})]
    assert hashes == [award["hash"], collect["hash"]]


async def test_pages_of_a_statement_stay_the_same_while_it_grows(client, alice):
    for _ in range(5):
        await alice.walks(100)
    first = (await alice.get("/v1/me/statement", limit=2)).json()
    await alice.walks(100)
    rest = await alice.get("/v1/me/statement", limit=100, cursor=first["next_cursor"])
    seqs = [item["seq"] for item in first["items"] + rest.json()["items"]]
    assert seqs == [5, 4, 3, 2, 1]


async def test_a_cursor_of_somebody_else_is_refused(client, operator, alice):
    for _ in range(3):
        await alice.walks(100)
    cursor = (await alice.get("/v1/me/statement", limit=1)).json()["next_cursor"]
    path = f"/v1/operator/participants/{alice.participant_id}/statement"
    assert (await operator.get(path, cursor=cursor)).status_code == 200
    listed = await alice.get("/v1/me/actions", cursor=cursor)
    assert listed.status_code == 422
    assert listed.json()["errors"][0]["pointer"] == "#/query/cursor"


async def test_operators_see_the_same_statement(operator, alice):
    await alice.walks(100)
    path = f"/v1/operator/participants/{alice.participant_id}/statement"
    assert await items_of(operator, path) == await items_of(alice, "/v1/me/statement")


async def test_an_audit_of_everything_is_clean(operator, alice):
    await alice.walks()
    answer = await operator.post("/v1/operator/ledger/audit")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["clean"], told["complete"], told["mode"]) == (True, True, "full")
    assert told["books"] > 0
    assert (told["found"], told["differences"], told["next_after"]) == ({}, [], None)


async def test_an_audit_of_one_person(operator, alice):
    await alice.walks()
    order = {"participant_id": str(alice.participant_id)}
    told = (await operator.post("/v1/operator/ledger/audit", order)).json()
    assert (told["books"], told["transfers"], told["actions"]) == (1, 1, 1)
    nobody = await operator.post("/v1/operator/ledger/audit", {"participant_id": str(uuid.uuid4())})
    assert nobody.status_code == 404


async def test_an_incremental_audit_looks_only_at_what_moved(operator, alice):
    await operator.post("/v1/operator/ledger/audit", {"mode": "incremental"})
    await alice.walks(100)
    order = {"mode": "incremental"}
    moved = (await operator.post("/v1/operator/ledger/audit", order)).json()
    assert (moved["clean"], moved["books"], moved["transfers"]) == (True, 1, 1)
    nothing = (await operator.post("/v1/operator/ledger/audit", order)).json()
    assert (nothing["books"], nothing["transfers"]) == (0, 0)
    await alice.walks(100)
    one_more = (await operator.post("/v1/operator/ledger/audit", order)).json()
    assert (one_more["books"], one_more["transfers"]) == (1, 1)


@pytest.fixture
async def corrupted(database, alice):
    """Somebody with a gram too much, which nobody booked; mended after the test."""
    await alice.walks(100)
    change = "UPDATE books SET available = available {0} 1, issuance = issuance - {0} 1"
    change += " WHERE participant_id = $1"
    await database.pool.execute(change.format("+"), alice.participant_id)
    yield alice
    await database.pool.execute(change.format("-"), alice.participant_id)


async def test_a_gram_too_much_is_told(operator, corrupted):
    told = (await operator.post("/v1/operator/ledger/audit")).json()
    assert not told["clean"]
    assert told["found"] == {"balances": 2}
    assert {
        "check": "balances",
        "participant_id": str(corrupted.participant_id),
        "what": "balance of available",
        "expected": "0 g",
        "found": "1 g",
    } in told["differences"]


async def test_a_reason_that_was_rewritten_is_told(database, operator, alice):
    """The chain covers the digest of an action's facts, and the digest covers the facts."""
    walk = await alice.walks(8_000)
    change = "UPDATE actions SET {0} = {1} WHERE participant_id = $1 AND id = $2"
    for column, value, back in (
        ("attributes", "attributes || '{\"steps\": 8001}'", "attributes || '{\"steps\": 8000}'"),
        ("type", "'mobility.bike'", "'mobility.walk'"),
        ("reporter", "'device'", "'participant'"),
        ("occurred_at", "occurred_at - interval '1 us'", "occurred_at + interval '1 us'"),
    ):
        for new, found in ((value, {"facts": 1}), (back, {})):
            async with database.pool.acquire() as connection, connection.transaction():
                await connection.execute("SET LOCAL session_replication_role = replica")
                await connection.execute(
                    change.format(column, new), alice.participant_id, uuid.UUID(walk["id"])
                )
            order = {"participant_id": str(alice.participant_id)}
            told = (await operator.post("/v1/operator/ledger/audit", order)).json()
            assert told["found"] == found, column


async def test_a_reversal_keeps_its_reason(operator, alice):
    walk = await alice.walks()
    await operator.post(f"/v1/operator/actions/{walk['id']}/reverse", {"reason": "a tram 🚋"})
    order = {"participant_id": str(alice.participant_id)}
    assert (await operator.post("/v1/operator/ledger/audit", order)).json()["found"] == {}


async def test_the_command_says_that_all_is_well(settings, alice):
    await alice.walks()
    code, printed, _ = await saxaul(settings, "ledger", "audit")
    assert code == 0, printed
    assert "clean: full audit of" in printed
    code, printed, _ = await saxaul(
        settings, "ledger", "audit", "--participant", str(alice.participant_id), "--format", "json"
    )
    told = json.loads(printed)
    assert (code, told["clean"], told["books"]) == (0, True, 1)


async def test_the_command_says_what_is_off_and_exits_with_1(settings, corrupted):
    code, printed, _ = await saxaul(settings, "ledger", "audit", "--full")
    assert code == 1
    assert f"{corrupted.participant_id}: balance of available" in printed
    assert "expected 0 g" in printed
    assert "found    1 g" in printed
    assert "NOT CLEAN" in printed


async def test_the_command_knows_who_is_not_there(settings):
    nobody = str(uuid.uuid4())
    code, _, errors = await saxaul(settings, "ledger", "audit", "--participant", nobody)
    assert (code, errors.strip()) == (1, f"Error: There is no participant {nobody}.")
