"""What cannot be decided yet waits, and is recorded as soon as it can be."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from service.actions.event_rows import purge_parked
from service.partners.release import release_due
from tests.callers import items_of, sign_in
from tests.partners.sender import code_of, link, linked_person, make_sender
from tests.people import RULES, eventually, publish


async def publish_airships(database, intake, text):
    """Publish the shipped rules with this file, and wait until they decide."""
    files = {path.name: path.read_text() for path in RULES.glob("*.yaml")}
    files["airship.yaml"] = text
    async with database.transaction() as connection:
        version = await publish(
            connection, files, author="test", note="airships", now=datetime.now(UTC)
        )

    async def is_active():
        return intake.rulebooks.active.version == version

    await eventually(is_active)


async def test_an_event_waits_for_its_link(metro, operator):
    event = metro.event("card-9")
    first = await metro.send_one(event)
    assert first == {"index": 0, "id": event["id"], "status": "parked"}
    assert await metro.send_one(event) == first
    (parked,) = await metro.parked()
    assert (parked["id"], parked["reason"]) == (event["id"], "not-linked")
    assert parked["subject"] == "card-9"
    path = "/v1/operator/parked-events"
    (shown,) = await items_of(operator, path, partner_id=metro.id)
    assert shown["event"]["data"] == event["data"]
    person = await linked_person(metro, "card-9")
    assert await metro.parked() == []
    assert (await person.balances())["ripening_g"] == 52
    assert (await metro.send_one(event))["status"] == "duplicate"


async def test_the_reason_is_what_an_event_waits_for_now(operator, name):
    sender = await make_sender(operator, name, ["transit.hovercraft"])
    event = sender.event("rider-1", "transit.hovercraft")
    assert (await sender.send_one(event))["status"] == "parked"
    assert [item["reason"] for item in await sender.parked()] == ["not-linked"]
    await linked_person(sender, "rider-1")
    assert [item["reason"] for item in await sender.parked()] == ["unknown-type"]


@pytest.mark.parametrize(
    ("withheld", "reason"),
    [
        ({"action_types": []}, "event-type-not-granted"),
        ({"source_prefix": "urn:elsewhere"}, "source-not-allowed"),
    ],
)
async def test_the_reason_is_what_the_partner_may_not_send_any_more(
    metro, operator, intake, withheld, reason
):
    path = f"/v1/operator/partners/{metro.id}"
    before = (await operator.get(path)).json()
    await metro.send(metro.event("card-9"))
    assert (await operator.patch(path, withheld)).status_code == 200
    person = await linked_person(metro, "card-9")
    assert [item["reason"] for item in await metro.parked()] == [reason]
    (waiting,) = await items_of(operator, "/v1/operator/parked-events", partner_id=metro.id)
    retried = await operator.post(f"/v1/operator/parked-events/{waiting['id']}/retry")
    assert retried.json() == {"id": waiting["id"], "status": "parked", "reason": reason}
    await operator.patch(path, {name: before[name] for name in withheld})
    assert await release_due(intake) == 1
    assert (await person.balances())["ripening_g"] == 52


async def test_the_sweep_tells_of_a_withdrawn_grant(metro, alice, operator, intake):
    await operator.post(f"/v1/operator/participants/{alice.participant_id}/suspend", {})
    await metro.send(metro.event("card-1"))
    assert [item["reason"] for item in await metro.parked()] == ["on-hold"]
    await operator.patch(f"/v1/operator/partners/{metro.id}", {"action_types": []})
    assert await release_due(intake) == 0
    assert [item["reason"] for item in await metro.parked()] == ["event-type-not-granted"]


async def test_a_retry_tells_what_a_reversal_waits_for(metro, operator):
    path = f"/v1/operator/partners/{metro.id}"
    await metro.send(metro.reversal(metro.event("card-9")))
    (waiting,) = await items_of(operator, "/v1/operator/parked-events", partner_id=metro.id)
    reasons = []
    for change in (
        {"source_prefix": "urn:elsewhere"},
        {"source_prefix": metro.source},
        {"disabled": True},
    ):
        assert (await operator.patch(path, change)).status_code == 200
        retried = await operator.post(f"/v1/operator/parked-events/{waiting['id']}/retry")
        reasons.append(retried.json()["reason"])
    assert reasons == ["source-not-allowed", "event-not-known", "partner-disabled"]


async def test_mended_content_replaces_what_is_parked(metro):
    event = metro.event("card-9", data={"ticket_no": "one"})
    other = event | {"data": {"ticket_no": uuid.uuid4().hex, "distance_km": 4}}
    assert [r["status"] for r in await metro.send(event, other)] == ["parked", "parked"]
    person = await linked_person(metro, "card-9")
    (action,) = await items_of(person, "/v1/me/actions")
    assert (await metro.send_one(other))["status"] == "duplicate"
    assert (await metro.send_one(event))["problem"]["code"] == "event-id-reused"
    assert action["type"] == "transit.metro_trip"


async def test_whether_it_came_too_late_is_decided_by_its_arrival(metro, intake):
    now = datetime.now(UTC)
    event = metro.event("card-9", time=(now - timedelta(days=6)).isoformat())
    assert (await metro.send_one(event))["status"] == "parked"
    await intake.database.pool.execute(
        "UPDATE partner_events SET received_at = received_at - interval '5 days'"
        " WHERE partner_id = $1",
        metro.id,
    )
    late = metro.event("card-9", time=(now - timedelta(days=12)).isoformat())
    assert (await metro.send_one(late))["problem"]["reason"] == "too-late"
    person = await linked_person(metro, "card-9")
    assert (await person.balances())["ripening_g"] == 52
    assert await metro.parked() == []
    mended = late | {"time": (now - timedelta(hours=3)).isoformat()}
    assert (await metro.send_one(mended))["status"] == "accepted"


async def test_only_what_is_valid_waits_for_a_link(metro):
    """Whoever it was: what the catalogue refuses is refused now, not in 30 days."""
    now = datetime.now(UTC)
    bad = [
        (metro.event("card-9", data={"distance_km": -3}), "invalid-attributes"),
        (metro.event("card-9", data={"distance_km": 90, "duration_min": 2}), "implausible"),
        (metro.event("card-9", time=(now + timedelta(hours=1)).isoformat()), "in-future"),
    ]
    good = metro.event("card-9", data={"distance_km": 3})
    results = await metro.send(*[event for event, _ in bad], good)
    problems = [result["problem"] for result in results[:-1]]
    assert [p.get("reason", p["code"]) for p in problems] == [why for _, why in bad]
    assert problems[0]["errors"][0]["pointer"].endswith("/distance_km")
    assert results[-1]["status"] == "parked"
    # Parked under an id, bad content under the same id changes nothing.
    worse = good | {"data": {"distance_km": -3}}
    assert (await metro.send_one(worse))["problem"]["code"] == "invalid-attributes"
    assert (await metro.send_one(good))["status"] == "parked"
    assert [item["id"] for item in await metro.parked()] == [good["id"]]


async def test_what_was_accepted_stays_so_when_nobody_is_linked_any_more(metro):
    event = metro.event("card-9", time=(datetime.now(UTC) - timedelta(days=6)).isoformat())
    person = await linked_person(metro, "card-9")
    accepted = await metro.send_one(event)
    assert accepted["status"] == "accepted"
    assert (await person.delete(f"/v1/me/links/{metro.id}")).status_code == 204
    assert (await metro.send_one(event))["status"] == "duplicate"
    other = event | {"data": {"distance_km": -3}}
    assert (await metro.send_one(other))["problem"]["code"] == "event-id-reused"


async def test_a_type_that_no_rules_know_waits_for_them(metro, operator, intake, database):
    path = f"/v1/operator/partners/{metro.id}"
    types = ["transit.metro_trip", "transit.airship_trip"]
    assert (await operator.patch(path, {"action_types": types})).status_code == 200
    person = await linked_person(metro, "card-1")
    event = metro.event("card-1", "transit.airship_trip", data={"ticket_no": uuid.uuid4().hex})
    assert (await metro.send_one(event))["status"] == "parked"
    (parked,) = await metro.parked()
    assert parked["reason"] == "unknown-type"
    assert await release_due(intake) == 0
    await publish_airships(database, intake, AIRSHIP)
    assert await release_due(intake) == 1
    assert (await person.balances())["ripening_g"] == 7
    assert await metro.parked() == []


AIRSHIP = """
action_types:
  transit.airship_trip:
    title: Airship
    category: mobility
    reported_by: [partner]
    attributes:
      ticket_no: {type: string, required: false}
rules:
  - id: airship
    action: transit.airship_trip
    earns: 7
"""


async def test_an_operator_retries_and_discards(metro, operator):
    kept, dropped = metro.event("card-9"), metro.event("card-9")
    await metro.send(kept, dropped)
    path = "/v1/operator/parked-events"
    ids = {i["event_id"]: i["id"] for i in await items_of(operator, path, partner_id=metro.id)}
    retried = await operator.post(f"{path}/{ids[kept['id']]}/retry")
    assert (retried.status_code, retried.json()["status"]) == (200, "parked")
    gone = await operator.post(f"{path}/{ids[dropped['id']]}/discard")
    assert gone.json() == {"id": ids[dropped["id"]], "status": "discarded"}
    assert (await operator.post(f"{path}/{ids[dropped['id']]}/discard")).status_code == 404
    assert (await operator.post(f"{path}/{uuid.uuid4()}/retry")).status_code == 404
    assert (await operator.post(f"{path}/x/retry")).status_code == 404
    person = await linked_person(metro, "card-9")
    assert (await person.balances())["ripening_g"] == 52
    assert (await operator.post(f"{path}/{ids[kept['id']]}/retry")).status_code == 404
    assert (await metro.send_one(dropped))["status"] == "accepted"
    acts = [act["act"] for act in await items_of(operator, "/v1/operator/audit-log")]
    assert {"parked-event.retry", "parked-event.discard"} <= set(acts)


async def test_what_waited_in_vain_stays_listed_with_its_reason(metro, alice, operator):
    taken = metro.event("card-1")
    await metro.send(taken)
    lost = [metro.event("card-9", data=taken["data"]) for _ in range(2)]
    waiting = metro.event("card-8")
    assert {r["status"] for r in await metro.send(*lost, waiting)} == {"parked"}
    assert await metro.parked("?state=discarded") == []
    await linked_person(metro, "card-9")
    assert [item["id"] for item in await metro.parked("?state=parked")] == [waiting["id"]]
    items = await metro.parked("?state=discarded")
    assert {item["id"] for item in items} == {event["id"] for event in lost}
    told = items[0]
    assert told["reason"].startswith("action-refused: This was counted at ")
    assert (told["source"], told["type"], told["subject"]) == (metro.source, None, None)
    lasts = datetime.fromisoformat(told["expires_at"]) - datetime.fromisoformat(told["received_at"])
    assert lasts == timedelta(days=30)
    path = "/v1/operator/parked-events"
    shown = await items_of(operator, path, partner_id=metro.id, state="discarded", limit=1)
    assert [item["event_id"] for item in shown] == [item["id"] for item in items]
    assert (shown[0]["reason"], shown[0]["type"], shown[0]["event"]) == (told["reason"], None, None)
    # What is mended under the same id is judged anew, and is no longer told of.
    mended = lost[0] | {"data": {"ticket_no": uuid.uuid4().hex}}
    assert (await metro.send_one(mended))["status"] == "accepted"
    assert [item["id"] for item in await metro.parked("?state=discarded")] == [lost[1]["id"]]


async def test_a_cursor_is_of_one_state(metro, operator):
    await metro.send(*[metro.event("card-9") for _ in range(3)])
    path = "/v1/operator/parked-events"
    for item in (await items_of(operator, path, partner_id=metro.id))[:2]:
        await operator.post(f"{path}/{item['id']}/discard")
    page = (await metro.call("GET", "/parked?state=discarded&limit=1")).json()
    assert [item["reason"] for item in page["items"]] == ["by an operator"]
    cursor = page["next_cursor"]
    rest = (await metro.call("GET", f"/parked?state=discarded&cursor={cursor}")).json()
    assert (len(rest["items"]), rest["next_cursor"]) == (1, None)
    assert (await metro.call("GET", f"/parked?cursor={cursor}")).status_code == 422
    assert (await metro.call("GET", "/parked?state=bound")).status_code == 422
    query = {"partner_id": metro.id, "limit": 1, "state": "discarded"}
    cursor = (await operator.get(path, **query)).json()["next_cursor"]
    query |= {"cursor": cursor}
    assert (await operator.get(path, **query)).status_code == 200
    assert (await operator.get(path, **query | {"state": "parked"})).status_code == 422


async def test_what_the_sweep_finds(metro, intake, database):
    """A link that was made beside the release, as by a process that died then."""
    person = await linked_person(metro, "card-1")
    event = metro.event("card-9")
    await metro.send(event)
    await database.pool.execute(
        "INSERT INTO links (partner_id, subject_key, participant_id, linked_at)"
        " VALUES ($1, $2, $3, $4)",
        metro.id,
        intake.identifier.subject_key(metro.id, "card-9"),
        person.participant_id,
        datetime.now(UTC),
    )
    assert await release_due(intake) == 1
    assert await release_due(intake) == 0
    assert (await person.balances())["ripening_g"] == 52


async def test_what_is_parked_is_decided_by_its_release_alone(metro, operator, intake, database):
    """Sent again too late, but parked in time: it waits for its release, which accepts it."""
    path, types = f"/v1/operator/partners/{metro.id}", ["transit.airship_trip"]
    assert (await operator.patch(path, {"action_types": types})).status_code == 200
    await publish_airships(database, intake, AIRSHIP)
    person = await linked_person(metro, "card-1")
    at = (datetime.now(UTC) - timedelta(days=6)).isoformat()
    event = metro.event("card-9", type="transit.airship_trip", time=at, data={})
    assert (await metro.send_one(event))["status"] == "parked"
    hasty = AIRSHIP.replace("reported_by", "accepted_for: 5d\n    reported_by", 1)
    await publish_airships(database, intake, hasty)
    assert (await metro.send_one(event))["status"] == "parked"
    await database.pool.execute(
        "UPDATE partner_events SET received_at = received_at - interval '2 days'"
        " WHERE partner_id = $1",
        metro.id,
    )
    await database.pool.execute(
        "INSERT INTO links (partner_id, subject_key, participant_id, linked_at)"
        " VALUES ($1, $2, $3, $4)",
        metro.id,
        intake.identifier.subject_key(metro.id, "card-9"),
        person.participant_id,
        datetime.now(UTC),
    )
    assert (await metro.send_one(event))["status"] == "parked"
    assert await release_due(intake) == 1
    assert (await person.balances())["ripening_g"] == 7


async def test_a_disabled_partners_events_stay_parked(metro, operator, intake):
    await metro.send(metro.event("card-9"))
    code = await code_of(await sign_in(metro.client, uuid.uuid4().hex), metro.id)
    assert (await link(metro, code, "card-9")).status_code == 201
    await metro.send(metro.event("card-8"))
    path = f"/v1/operator/partners/{metro.id}"
    await operator.patch(path, {"disabled": True})
    assert await release_due(intake) == 0
    await operator.patch(path, {"disabled": False})
    assert len(await metro.parked()) == 1


async def test_parked_events_are_forgotten_after_a_month(metro, intake, database):
    event = metro.event("card-9")
    await metro.send(event, metro.reversal(metro.event("card-8")))
    await database.pool.execute(
        "UPDATE partner_events SET received_at = received_at - interval '29 days'"
        " WHERE partner_id = $1",
        metro.id,
    )
    async with database.transaction() as connection:
        await purge_parked(connection, datetime.now(UTC))
    assert len(await metro.parked()) == 2
    async with database.transaction() as connection:
        await purge_parked(connection, datetime.now(UTC) + timedelta(days=2))
    assert await metro.parked() == []


async def test_the_mark_of_a_reversal_stays_while_a_later_one_waits(metro, alice, database):
    event, never = metro.event("card-1"), metro.event("card-1")
    for days in (20, 11):
        await metro.send(metro.reversal(event), metro.reversal(never))
        await database.pool.execute(
            "UPDATE partner_events SET received_at = received_at - $2::interval"
            " WHERE partner_id = $1",
            metro.id,
            timedelta(days=days),
        )
    now = datetime.now(UTC)
    async with database.transaction() as connection:
        await purge_parked(connection, now)
    assert len(await metro.parked()) == 2
    assert (await metro.send_one(event))["status"] == "accepted"
    assert set((await alice.balances()).values()) == {0}
    # Once the last reversal is forgotten, so is its mark.
    for _ in range(2):
        async with database.transaction() as connection:
            await purge_parked(connection, now + timedelta(days=20))
    left = "SELECT state FROM partner_events WHERE partner_id = $1 AND state <> 'bound'"
    assert [row[0] for row in await database.pool.fetch(left, metro.id)] == ["reversed"]


async def test_a_partner_sees_its_own_only(metro, alice, operator, name):
    await metro.send(*[metro.event("card-9") for _ in range(5)])
    assert len(await metro.parked()) == 5
    page = await metro.call("GET", "/parked?limit=2")
    assert page.status_code == 200
    first = page.json()
    assert len(first["items"]) == 2
    assert first["next_cursor"]


# --- erasure and export


async def test_erasure_forgets_links_codes_and_what_waits(metro, operator, database):
    person = await linked_person(metro, "card-1")
    await operator.post(f"/v1/operator/participants/{person.participant_id}/suspend", {})
    event = metro.event("card-1")
    assert (await metro.send_one(event))["status"] == "parked"
    assert (await metro.send_one(metro.reversal(event)))["status"] == "parked"
    assert len(await metro.parked()) == 2
    await code_of(person, metro.id)
    export = (await person.get("/v1/me/export")).json()
    assert len(export["links"]) == len(export["link_codes"]) == 1
    assert export["links"][0]["partner_id"] == metro.id
    (waiting,) = export["parked_events"]
    assert (waiting["partner_id"], waiting["reason"]) == (metro.id, "on-hold")
    assert waiting["body"]["data"] == event["data"]
    assert (await person.delete("/v1/me")).status_code == 204
    for table in ("links", "link_codes"):
        query = f"SELECT count(*) FROM {table} WHERE participant_id = $1"
        assert await database.pool.fetchval(query, person.participant_id) == 0
    assert await metro.parked() == []
    # Nobody is linked under this reference any more.
    assert (await metro.send_one(event))["status"] == "parked"


async def test_what_was_recorded_stays_recorded_after_erasure(metro):
    person = await linked_person(metro, "card-1")
    event = metro.event("card-1")
    first = await metro.send_one(event)
    assert (await person.delete("/v1/me")).status_code == 204
    again = await metro.send_one(event)
    assert again == first | {"status": "duplicate"}
    newcomer = await linked_person(metro, "card-1")
    assert await metro.send_one(event) == again
    assert (await newcomer.balances())["ripening_g"] == 0
    (gone,) = await metro.send(metro.reversal(event))
    assert gone["status"] == "rejected"
    assert (gone["problem"]["code"], gone["problem"]["reason"]) == ("action-refused", "too-late")
