"""Operators take an action back: found by its id alone, once, explained in the log."""

import asyncio
import uuid

import pytest

from tests.callers import advance, items_of, sign_in
from tests.people import served, settings_for

NOBODY = uuid.UUID(int=7)


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    settings = settings_for(servers, database_url, tmp_path_factory.mktemp("home"))
    async with served(settings) as made:
        yield made


@pytest.fixture(scope="module")
async def operator(client):
    return await sign_in(client, "olga", "operator")


@pytest.fixture
async def alice(client, request):
    return await sign_in(client, f"alice of {request.node.name}")


async def test_an_action_is_found_by_its_id_and_taken_back(operator, alice):
    walk = await alice.walks()
    answer = await operator.post(
        f"/v1/operator/actions/{walk['id']}/reverse", {"reason": "it was a tram"}
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["action_id"], told["participant_id"]) == (walk["id"], str(alice.participant_id))
    assert (told["energy_g"], told["saved_g"]) == (-160, -walk["saved_g"])
    assert told["taken"] == {
        "ripening_g": 160, "expired_g": 0, "available_g": 0, "arrears_g": 0
    }  # fmt: skip
    me = (await alice.get("/v1/me")).json()
    assert me["balances"]["ripening_g"] == 0
    assert me["totals"] == {"earned_g": 0, "saved_g": 0, "trees": 0}
    again = (await alice.get(f"/v1/me/actions/{walk['id']}")).json()
    reversal = {"at": told["at"], "reason": "it was a tram"}
    assert again == walk | {"status": "reversed", "reversal": reversal}
    assert [a["id"] for a in await items_of(alice, "/v1/me/actions")] == [walk["id"]]
    assert await items_of(alice, "/v1/me/bubbles") == []
    (entry, *_) = (await operator.get("/v1/operator/audit-log")).json()["items"]
    assert (entry["act"], entry["object"]) == ("action.reverse", walk["id"])
    assert entry["detail"]["reason"] == "it was a tram"
    assert entry["detail"]["participant_id"] == str(alice.participant_id)


async def test_the_same_key_answers_the_same_reversal(operator, alice):
    walk = await alice.walks()
    path, order = f"/v1/operator/actions/{walk['id']}/reverse", {"reason": "a tram"}
    first = await operator.post(path, order, key="reversal-of-a-walk-1")
    again = await operator.post(path, order, key="reversal-of-a-walk-1")
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await operator.post(path, {"reason": "a bus"}, key="reversal-of-a-walk-1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    without = await operator.post(path, order)
    assert (without.status_code, without.json()["code"]) == (409, "already-reversed")


async def test_the_limit_is_free_again(operator, alice):
    walk = await alice.walks(14_800)
    full = await alice.walks(5_000)
    assert (walk["energy_g"], full["energy_g"]) == (296, 0)
    await operator.post(f"/v1/operator/actions/{walk['id']}/reverse", {"reason": "x"})
    assert (await alice.walks(5_000))["energy_g"] == 100


async def test_spent_energy_stands_in_arrears(client, operator, alice):
    walk = await alice.walks()
    await advance(client, days=2)
    await alice.post("/v1/me/bubbles/collect")
    path = f"/v1/operator/participants/{alice.participant_id}/adjustments"
    await operator.post(path, {"amount_g": -100, "reason": "spent"})
    told = (
        await operator.post(
            f"/v1/operator/actions/{walk['id']}/reverse",
            {"reason": "x", "participant_id": str(alice.participant_id)},
        )
    ).json()
    assert (told["taken"]["available_g"], told["taken"]["arrears_g"]) == (60, 100)
    balances = await alice.balances()
    assert (balances["available_g"], balances["arrears_g"]) == (0, -100)


async def test_of_ten_reversals_at_once_one_happens(operator, alice):
    walk = await alice.walks()
    path = f"/v1/operator/actions/{walk['id']}/reverse"
    answers = await asyncio.gather(*(operator.post(path, {"reason": f"{n}"}) for n in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    codes = {answer.json()["code"] for answer in answers if answer.status_code == 409}
    assert codes == {"already-reversed"}
    log = await items_of(operator, "/v1/operator/audit-log", limit=200)
    assert [entry["object"] for entry in log].count(walk["id"]) == 1


async def test_what_is_not_there_is_404(client, operator, alice):
    walk = await alice.walks()
    other = await sign_in(client, "somebody else")
    for action_id, body in (
        (NOBODY, {"reason": "x"}),
        ("walk", {"reason": "x"}),
        (walk["id"], {"reason": "x", "participant_id": str(other.participant_id)}),
        (walk["id"], {"reason": "x", "participant_id": str(NOBODY)}),
    ):
        answer = await operator.post(f"/v1/operator/actions/{action_id}/reverse", body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), answer.text
    assert (await alice.balances())["ripening_g"] == 160


async def test_a_reversal_wants_a_reason_and_the_scope(client, operator, alice):
    walk = await alice.walks()
    path = f"/v1/operator/actions/{walk['id']}/reverse"
    assert (await operator.post(path, {})).json()["errors"][0]["pointer"] == "#/reason"
    reader = await sign_in(client, "rita", "operator", scope="participants:write audit:read")
    assert (await reader.post(path, {"reason": "x"})).status_code == 403
    assert (await alice.post(path, {"reason": "x"})).status_code == 403
