"""The export: everything held about me, nothing of others, in pieces of bounded size."""

import json

from service.privacy import export
from service.privacy.export import exported_tables
from service.tables import metadata
from tests.callers import advance, sign_in


async def test_everything_about_me_is_there(client, operator, alice):
    await alice.patch("/v1/me", {"display_name": "Alice 🌳", "region": "CN-ZJ"})
    walk = await alice.walks()
    await advance(client, days=2)
    await alice.post(f"/v1/me/bubbles/{walk['id']}/collect", key="collect-key-00001")
    await alice.walks(500)
    await operator.post(
        f"/v1/operator/participants/{alice.participant_id}/adjustments",
        {"amount_g": 4, "reason": "the walk to the polls"},
    )
    await operator.post(f"/v1/operator/actions/{walk['id']}/reverse", {"reason": "a tram"})
    answer = await alice.get("/v1/me/export")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    told = answer.json()
    assert told["participant_id"] == str(alice.participant_id)
    assert told["participants"][0]["display_name"] == "Alice 🌳"
    assert len(told["identities"]) == 1
    assert told["books"][0]["available"] == 4
    assert "salt" not in told["books"][0]
    first, second, reversal = sorted(told["actions"], key=lambda action: action["seq"])
    assert first["id"] == walk["id"]
    assert first["attributes"] == {"steps": 8000, "distance_km": 5.6}
    assert first["awards"][0]["energy_g"] == 160
    assert second["attributes"]["steps"] == 500
    assert reversal["attributes"] == {"reason": "a tram"}
    assert [(t["cause"], t["debit"], t["credit"]) for t in told["transfers"]] == [
        ("action", "issuance", "ripening"),
        ("collect", "ripening", "available"),
        ("action", "issuance", "ripening"),
        ("adjust", "issuance", "available"),
        ("reverse", "available", "issuance"),
    ]
    assert [(act["act"], act["detail"]["reason"]) for act in told["operators_acts"]] == [
        ("participant.adjust", "the walk to the polls"),
        ("action.reverse", "a tram"),
    ]
    assert not any({"actor", "request_id"} & act.keys() for act in told["operators_acts"])
    assert told["transfers"][-1]["hash"] == told["books"][0]["head"]
    assert {bubble["remaining_g"] for bubble in told["bubbles"]} == {0, 10}
    assert {counter["grams"] for counter in told["counters"]} == {0, 10}
    (key,) = told["idempotency_keys"]
    assert (key["key"], key["status"]) == ("collect-key-00001", 200)
    assert key["body"]["collected_g"] == 160


async def test_nothing_of_others_is_there(client, operator, alice):
    other = await sign_in(client, "somebody else")
    await other.walks(777)
    await operator.post(
        f"/v1/operator/participants/{other.participant_id}/adjustments",
        {"amount_g": 777, "reason": "not hers"},
    )
    await alice.walks(500)
    text = (await alice.get("/v1/me/export")).text
    assert str(other.participant_id) not in text
    assert "not hers" not in text
    assert "777" not in json.dumps([a["attributes"] for a in json.loads(text)["actions"]])


async def test_pages_end_and_begin_without_a_gap(client, alice, monkeypatch):
    monkeypatch.setattr(export, "ROWS_MAX", 3)
    for _ in range(7):
        await alice.walks(100)
    told = (await alice.get("/v1/me/export")).json()
    assert sorted(action["seq"] for action in told["actions"]) == list(range(1, 8))
    assert [transfer["seq"] for transfer in told["transfers"]] == list(range(1, 8))
    assert len({bubble["id"] for bubble in told["bubbles"]}) == 7


async def test_an_empty_person_has_an_export_too(alice):
    told = (await alice.get("/v1/me/export")).json()
    assert told["actions"] == told["transfers"] == told["bubbles"] == []
    assert len(told["books"]) == 1


def test_every_table_of_a_person_is_exported_or_left_out_for_a_reason():
    of_people = {name for name, table in metadata.tables.items() if "participant_id" in table.c}
    left_out = {n for n, table in metadata.tables.items() if table.info.get("not_exported")}
    exported = {table.name for table in exported_tables()}
    assert exported | left_out == of_people
    assert not exported & left_out
