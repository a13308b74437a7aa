"""Why somebody is suspended or was adjusted is told: to operators, and to the person."""

from tests.callers import items_of

WHY = "40 phones that never sleep"


async def test_why_somebody_is_suspended_is_told(operator, alice):
    path = f"/v1/operator/participants/{alice.participant_id}"
    suspended = await operator.post(f"{path}/suspend", {"reason": WHY})
    entry = (await operator.get("/v1/operator/audit-log", limit=1)).json()["items"][0]
    told = {"reason": WHY, "at": entry["at"]}
    assert suspended.json()["suspension"] == told
    assert (await operator.get(path)).json()["suspension"] == told
    everybody = await items_of(operator, "/v1/operator/participants")
    assert [p["suspension"] for p in everybody if "suspension" in p] == [told]
    assert (await alice.get("/v1/me")).json()["suspension"] == told
    # Again with another reason changes nothing; once it has ended nothing is told of it.
    assert (await operator.post(f"{path}/suspend", {"reason": "?"})).json()["suspension"] == told
    assert "suspension" not in (await operator.post(f"{path}/resume")).json()
    assert "suspension" not in (await alice.get("/v1/me")).json()
    anew = await operator.post(f"{path}/suspend")
    assert anew.json()["suspension"]["reason"] is None
    await operator.post(f"{path}/resume")


async def test_why_somebody_was_adjusted_stands_in_the_statement(operator, alice):
    path = f"/v1/operator/participants/{alice.participant_id}"
    await alice.walks(100)
    for amount_g, reason in ((50, "a machine was down"), (-20, "too much")):
        answer = await operator.post(
            f"{path}/adjustments", {"amount_g": amount_g, "reason": reason}
        )
        assert answer.status_code == 201, answer.text
    mine = await items_of(alice, "/v1/me/statement", limit=1)
    assert [item.get("reason") for item in mine] == ["too much", "a machine was down", None]
    assert await items_of(operator, f"{path}/statement") == mine
    assert "reason" not in mine[-1]
