"""What becomes available repays first what a reversal left owed, whatever it comes from."""

import asyncpg
import pytest

from tests.callers import advance, sign_in
from tests.planting.test_routes import PROJECT

ACCOUNTS = ("available_g", "pledged_g", "arrears_g")


@pytest.fixture
async def operator(client):
    return await sign_in(client, "olga", "operator")


@pytest.fixture
async def debtor(client, operator, request):
    """Somebody who pledged 250 g of 280 g that were taken back since: 250 g are owed."""
    person = await sign_in(client, f"debtor of {request.node.name}")
    project = await operator.post("/v1/operator/projects", PROJECT | {"price_g": 250})
    person.project_id = project.json()["id"]
    walked = await person.walks(14_000)
    await advance(client, days=2)
    collected = await person.post("/v1/me/bubbles/collect")
    assert collected.json()["collected_g"] == 280, collected.text
    person.pledge = await pledge(person, "the-first-pledge-of-all")
    reason = {"reason": "a machine walked"}
    path = f"/v1/operator/actions/{walked['id']}/reverse"
    assert (await operator.post(path, reason)).status_code == 200
    assert await accounts(person) == (0, 250, -250)
    yield person
    told = (await operator.post("/v1/operator/ledger/audit", {"mode": "full"})).json()
    assert told["differences"] == []


async def pledge(person, key):
    order = {"project_id": person.project_id, "trees": 1}
    return await person.post("/v1/me/pledges", order, key=key)


async def accounts(person):
    balances = await person.balances()
    return tuple(balances[name] for name in ACCOUNTS)


async def moves(person):
    items = (await person.get("/v1/me/statement")).json()["items"]
    return [(item["cause"], item["credit"], item["amount_g"]) for item in items[:2]]


async def test_what_a_cancelled_pledge_gives_back_is_not_spent_again(debtor):
    cancelled = await debtor.post(f"/v1/me/pledges/{debtor.pledge.json()['id']}/cancel")
    assert cancelled.status_code == 200, cancelled.text
    assert await accounts(debtor) == (0, 0, 0)
    assert await moves(debtor) == [("arrears", "arrears", 250), ("release", "available", 250)]
    again = await pledge(debtor, "the-second-pledge-of-all")
    assert (again.status_code, again.json()["code"]) == (409, "insufficient-energy")


@pytest.mark.parametrize(
    ("amount_g", "available_g", "arrears_g"), [(100, 0, -150), (250, 0, 0), (400, 150, 0)]
)
async def test_an_adjustment_repays(debtor, operator, amount_g, available_g, arrears_g):
    order = {"amount_g": amount_g, "reason": "we were wrong"}
    path = f"/v1/operator/participants/{debtor.participant_id}/adjustments"
    answer = await operator.post(path, order)
    assert answer.status_code == 201, answer.text
    assert await accounts(debtor) == (available_g, 250, arrears_g)
    assert answer.json()["balances"] == await debtor.balances()
    entry = (await operator.get("/v1/operator/audit-log", limit=1)).json()["items"][0]
    assert entry["detail"]["before"] == {"available_g": 0, "arrears_g": -250}
    assert entry["detail"]["after"] == {"available_g": available_g, "arrears_g": arrears_g}


async def test_a_collect_repays(client, debtor):
    await debtor.walks(14_000)
    await advance(client, days=2)
    collected = await debtor.post("/v1/me/bubbles/collect")
    assert collected.json()["collected_g"] == 280
    assert await accounts(debtor) == (30, 250, 0)
    assert await moves(debtor) == [("arrears", "arrears", 250), ("collect", "available", 280)]


async def test_the_table_refuses_who_has_and_owes(database, debtor):
    statement = "UPDATE books SET available = 9, issuance = issuance - 9 WHERE participant_id = $1"
    with pytest.raises(asyncpg.CheckViolationError):
        await database.pool.execute(statement, debtor.participant_id)
