"""Operators find, look at, suspend and resume people; every act stands in the log."""

import uuid

from tests.callers import advance, items_of, sign_in

NOBODY = str(uuid.UUID(int=7))


async def acts(operator, object_id):
    entries = await items_of(operator, "/v1/operator/audit-log", limit=200)
    return [entry for entry in entries if entry["object"] == str(object_id)]


async def test_somebody_is_found_by_subject_and_by_display_name(client, operator, alice):
    await alice.patch("/v1/me", {"display_name": "Alice Q", "region": "CN-ZJ"})
    await alice.walks()
    by_subject = await operator.get(
        "/v1/operator/participants",
        subject="alice of test_somebody_is_found_by_subject_and_by_display_name",
    )
    by_alias = await operator.get("/v1/operator/participants", alias="Alice Q")
    alone = await operator.get(f"/v1/operator/participants/{alice.participant_id}")
    assert by_subject.json()["items"] == by_alias.json()["items"] == [alone.json()]
    me = (await alice.get("/v1/me")).json()
    assert alone.json() == me | {"state": "active"}
    assert alone.json()["balances"]["ripening_g"] == 160


async def test_a_subject_that_never_came_is_nobody(operator):
    found = await operator.get("/v1/operator/participants", subject="mallory")
    assert found.json() == {"items": [], "next_cursor": None}
    assert (await operator.get("/v1/operator/participants", alias="Nobody")).json()["items"] == []


async def test_everybody_is_listed_page_by_page(client, operator):
    for n in range(5):
        await sign_in(client, f"crowd {n}")
    whole = await operator.get("/v1/operator/participants", limit=200)
    paged = await items_of(operator, "/v1/operator/participants", limit=2)
    assert [p["participant_id"] for p in paged] == [
        p["participant_id"] for p in whole.json()["items"]
    ]


async def test_subject_and_alias_together_are_refused(operator):
    answer = await operator.get("/v1/operator/participants", subject="a", alias="b")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/query/alias"


async def test_who_is_not_there_is_404(operator):
    for path in ("", "/statement"):
        answer = await operator.get(f"/v1/operator/participants/{NOBODY}{path}")
        assert answer.status_code == 404, answer.text
    for path in ("suspend", "resume"):
        answer = await operator.post(f"/v1/operator/participants/{NOBODY}/{path}")
        assert answer.status_code == 404, answer.text
    malformed = await operator.get("/v1/operator/participants/alice")
    assert malformed.status_code == 404


async def test_nothing_moves_while_somebody_is_suspended(client, operator, alice):
    bubble = (await alice.walks())["bubble"]
    await advance(client, days=2)
    answer = await operator.post(
        f"/v1/operator/participants/{alice.participant_id}/suspend", {"reason": "40 phones"}
    )
    assert (answer.status_code, answer.json()["state"]) == (200, "suspended")
    refused = await alice.post(f"/v1/me/bubbles/{bubble['id']}/collect")
    assert (refused.status_code, refused.json()["code"]) == (403, "participant-suspended")
    assert (await alice.get("/v1/me")).status_code == 200
    again = await operator.post(f"/v1/operator/participants/{alice.participant_id}/suspend")
    assert again.status_code == 200
    resumed = await operator.post(f"/v1/operator/participants/{alice.participant_id}/resume")
    assert resumed.json()["state"] == "active"
    collected = await alice.post(f"/v1/me/bubbles/{bubble['id']}/collect")
    assert collected.json()["collected_g"] == 160
    log = await acts(operator, alice.participant_id)
    assert [(entry["act"], entry["actor"]) for entry in log] == [
        ("participant.resume", "olga"),
        ("participant.suspend", "olga"),
    ]
    assert log[1]["detail"] == {
        "reason": "40 phones",
        "before": {"suspended": False},
        "after": {"suspended": True},
    }
    assert log[1]["request_id"]


async def test_an_adjustment_gives_and_takes_and_is_told(client, operator, alice):
    path = f"/v1/operator/participants/{alice.participant_id}/adjustments"
    given = await operator.post(path, {"amount_g": 70, "reason": "sorry for the outage"})
    assert given.status_code == 201, given.text
    assert given.json()["balances"]["available_g"] == 70
    taken = await operator.post(path, {"amount_g": -30, "reason": "too much"})
    assert taken.json()["balances"]["available_g"] == 40
    refused = await operator.post(path, {"amount_g": -41, "reason": "far too much"})
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient-energy")
    assert (refused.json()["needed_g"], refused.json()["available_g"]) == (41, 40)
    me = (await alice.get("/v1/me")).json()
    assert me["balances"]["available_g"] == 40
    assert me["totals"]["earned_g"] == 0
    log = await acts(operator, alice.participant_id)
    assert [entry["act"] for entry in log] == ["participant.adjust"] * 2
    assert log[0]["detail"] == {
        "adjustment": taken.json()["id"],
        "amount_g": -30,
        "reason": "too much",
        "before": {"available_g": 70, "arrears_g": 0},
        "after": {"available_g": 40, "arrears_g": 0},
    }
    statement = (await alice.get("/v1/me/statement")).json()["items"]
    assert [(t["debit"], t["credit"], t["amount_g"], t["cause"]) for t in statement] == [
        ("available", "issuance", 30, "adjust"),
        ("issuance", "available", 70, "adjust"),
    ]
    assert statement[0]["cause_id"] == taken.json()["id"]


async def test_the_same_key_adjusts_once(operator, alice):
    path = f"/v1/operator/participants/{alice.participant_id}/adjustments"
    order, key = {"amount_g": 5, "reason": "once"}, "adjustment-key-0001"
    first = await operator.post(path, order, key)
    second = await operator.post(path, order, key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.content == first.content
    assert (await alice.balances())["available_g"] == 5
    other = await operator.post(path, order | {"amount_g": 6}, key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


async def test_a_bad_adjustment_names_its_fault(operator, alice):
    path = f"/v1/operator/participants/{alice.participant_id}/adjustments"
    for order, pointer in (
        ({"amount_g": 0, "reason": "x"}, "#/amount_g"),
        ({"amount_g": 1.5, "reason": "x"}, "#/amount_g"),
        ({"amount_g": 10**18, "reason": "x"}, "#/amount_g"),
        ({"amount_g": 1, "reason": ""}, "#/reason"),
        ({"amount_g": 1}, "#/reason"),
        ({"amount_g": 1, "reason": "x", "why": "y"}, "#/why"),
    ):
        answer = await operator.post(path, order)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer
    nobody = await operator.post(
        f"/v1/operator/participants/{NOBODY}/adjustments", {"amount_g": 1, "reason": "x"}
    )
    assert nobody.status_code == 404


async def test_each_scope_opens_only_its_own(client, alice):
    reader = await sign_in(client, "rita", "operator", scope="participants:read")
    path = f"/v1/operator/participants/{alice.participant_id}"
    assert (await reader.get(path)).status_code == 200
    for post in ("suspend", "resume", "adjustments"):
        answer = await reader.post(f"{path}/{post}", {"amount_g": 1, "reason": "x"})
        assert answer.status_code == 403, post
    assert (await reader.get("/v1/operator/audit-log")).status_code == 403
    assert (await reader.post("/v1/operator/ledger/audit")).status_code == 403
    assert (await alice.get(path)).status_code == 403


async def test_the_log_of_acts_is_paged_newest_first(operator, alice):
    path = f"/v1/operator/participants/{alice.participant_id}/adjustments"
    for n in range(5):
        await operator.post(path, {"amount_g": n + 1, "reason": f"reason {n}"})
    whole = (await operator.get("/v1/operator/audit-log", limit=200)).json()["items"]
    paged = await items_of(operator, "/v1/operator/audit-log", limit=2)
    assert paged == whole
    seqs = [entry["seq"] for entry in whole]
    assert seqs == list(range(len(seqs), 0, -1))
    forged = await operator.get("/v1/operator/audit-log", cursor="AAAA")
    assert forged.status_code == 422
    assert forged.json()["errors"][0]["pointer"] == "#/query/cursor"


async def test_what_operators_write_can_be_read(operator, alice):
    person = f"/v1/operator/participants/{alice.participant_id}"
    partner = {"id": "p-1", "action_types": [], "source_prefix": "urn:p"}
    texts = {
        f"{person}/suspend": ("reason", {}),
        f"{person}/adjustments": ("reason", {"amount_g": 5}),
        "/v1/operator/partners": ("name", partner),
        f"/v1/operator/actions/{NOBODY}/reverse": ("reason", {}),
        "/v1/operator/rulebooks": ("note", {"files": {"a.yaml": ""}}),
    }
    for path, (name, others) in texts.items():
        for hidden in ("\u200b", "\u202eevil", "x\u2028y", "\u00a0", "a\x07", "\u2800", "x\ufffc"):
            answer = await operator.post(path, {**others, name: hidden})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), path
            assert [error["pointer"] for error in answer.json()["errors"]] == [f"#/{name}"]
    lines = {"reason": " two\r\nlines, و\u200cی, nin\u0303o ", "amount_g": 5}
    answer = await operator.post(f"{person}/adjustments", lines)
    assert answer.status_code == 201
    log = await acts(operator, alice.participant_id)
    assert log[0]["detail"]["reason"] == "two\nlines, و\u200cی, niño"
