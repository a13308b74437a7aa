"""A whole life through HTTP: whatever people and operators do, the ledger stays clean."""

from datetime import datetime

from service.audit.audit import audit
from tests.callers import advance, saxaul, sign_in
from tests.orders import expire

PROJECT = {
    "name": "Hexi corridor",
    "species": "saxaul",
    "place": "Gansu",
    "country": "CN",
    "price_g": 100,
    "capacity": 50,
    "partner": "trees for all",
}
PLOT = {
    "name": "plot 7",
    "position": {"type": "Point", "coordinates": [100.1, 38.9]},
    "area_m2": 5000,
}


async def now_of(client):
    return datetime.fromisoformat((await client.get("/v1/dev/clock")).json()["now"])


async def test_the_ledger_is_clean_after_everything(client, database, settings, operator):
    alice = await sign_in(client, "alice")
    bob = await sign_in(client, "bob")
    project = (await operator.post("/v1/operator/projects", PROJECT)).json()["id"]
    plot = (await operator.post(f"/v1/operator/projects/{project}/plots", PLOT)).json()["id"]
    walks = []
    for _ in range(4):
        walks.append((await alice.walks())["id"])
        walks.append((await alice.walks())["id"])
        await bob.walks(14_000)
        await advance(client, days=1, hours=8)
        await alice.post("/v1/me/bubbles/collect")
        await bob.post("/v1/me/bubbles/collect")
    assert (await alice.balances())["available_g"] > 500

    async def pledge(who, trees, number):
        body = {"project_id": project, "trees": trees}
        answer = await who.post(
            "/v1/me/pledges", body, key=f"a pledge {number:08}".replace(" ", "-")
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    await pledge(alice, 3, 1)
    undone = await pledge(alice, 2, 2)
    await pledge(bob, 2, 3)
    cancelled = await alice.post(f"/v1/me/pledges/{undone['id']}/cancel")
    assert cancelled.status_code == 200, cancelled.text
    for step, body in (
        ("allocate", {"trees": 4}),
        ("planted", {"evidence": []}),
        ("lost", {"evidence": [], "trees": None}),
        ("planted", {"evidence": []}),
        ("verified", {"evidence": []}),
    ):
        if step == "lost":
            pledges = (await alice.get("/v1/me/pledges")).json()["items"]
            body["trees"] = [pledges[-1]["certificates"][0]["number"]]
        answer = await operator.post(f"/v1/operator/plots/{plot}/{step}", body)
        assert answer.status_code == 200, (step, answer.text)

    for walk in walks[::3]:
        answer = await operator.post(f"/v1/operator/actions/{walk}/reverse", {"reason": "tram"})
        assert answer.status_code == 200, answer.text
    path = f"/v1/operator/participants/{alice.participant_id}/adjustments"
    await operator.post(path, {"amount_g": 33, "reason": "a gift"})
    await alice.walks()
    await advance(client, days=6)
    assert (await expire(database, await now_of(client)))[0]
    await alice.walks()
    assert (await bob.delete("/v1/me")).status_code == 204

    report = await audit(database, mode="full", now=await now_of(client))
    assert report.differences == []
    assert report.transfers > 20
    code, printed, _ = await saxaul(settings, "ledger", "audit")
    assert code == 0, printed
    balances = await alice.balances()
    assert balances["planted_g"] > 0
    assert balances["expired_g"] > 0

    for change, undo, what in (
        (
            "UPDATE trees SET price_g = price_g + 1",
            "UPDATE trees SET price_g = price_g - 1",
            "trees of pledge",
        ),
        (
            "UPDATE trees SET status = 'pledged' WHERE status = 'cancelled'",
            f"UPDATE trees SET status = 'cancelled' WHERE pledge_id = '{undone['id']}'",
            "trees of the book",
        ),
        (
            "UPDATE pledges SET amount_g = amount_g - 1",
            "UPDATE pledges SET amount_g = amount_g + 1",
            "trees of pledge",
        ),
        (
            "UPDATE trees SET planted_seq = pledged_seq WHERE planted_seq IS NOT NULL",
            "",
            "trees of the plant",
        ),
    ):
        await database.pool.execute(change)
        report = await audit(database, mode="full", now=await now_of(client))
        assert "trees" in report.found, what
        assert any(what in difference.what for difference in report.differences)
        if undo:
            await database.pool.execute(undo)
