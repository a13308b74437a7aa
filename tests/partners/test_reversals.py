"""A partner takes an event back: whatever the order, both ways end the same, and only once."""

import uuid

import pytest
from structlog.testing import capture_logs

from service.partners.release import release_due
from tests.callers import advance, items_of
from tests.partners.sender import PLAIN, linked_person, make_sender


async def counters(database, person):
    rows = await database.pool.fetch(
        "SELECT counter, period, n, grams FROM counters WHERE participant_id = $1"
        " ORDER BY counter, period",
        person.participant_id,
    )
    return [tuple(row) for row in rows]


async def totals(person):
    told = (await person.get("/v1/me")).json()
    return told["balances"], told["totals"]


async def test_an_event_is_taken_back_once(metro, alice, database):
    event = metro.event("card-1")
    await metro.send_one(event)
    undo = metro.reversal(event)
    result = await metro.send_one(undo)
    assert (result["status"], result["energy_g"]) == ("accepted", -52)
    balances, earned = await totals(alice)
    assert set(balances.values()) == {0}
    assert earned["earned_g"] == 0
    assert {n for _, _, n, _ in await counters(database, alice)} == {0}
    again = await metro.send_one(undo)
    assert again == result | {"status": "duplicate"}
    other = await metro.send_one(metro.reversal(event))
    assert (other["status"], other["action_id"]) == ("duplicate", result["action_id"])
    assert (await totals(alice))[0] == balances
    (action,) = await items_of(alice, "/v1/me/actions")
    assert action["status"] == "reversed"
    # The event itself is known for ever.
    assert (await metro.send_one(event))["status"] == "duplicate"


async def test_limit_and_claim_are_given_back(metro, alice):
    events = [metro.event("card-1") for _ in range(6)]
    assert [r["energy_g"] for r in await metro.send(*events)] == [52] * 5 + [0]
    await metro.send(metro.reversal(events[0]))
    bob = await linked_person(metro, "card-2")
    again = metro.event("card-2", data=events[0]["data"])
    assert (await metro.send_one(again))["status"] == "accepted"
    assert (await bob.balances())["ripening_g"] == 52
    assert (await metro.send_one(metro.event("card-1")))["energy_g"] == 52
    assert (await alice.balances())["ripening_g"] == 260


@pytest.mark.parametrize("comes_first", ["event", "reversal"])
async def test_a_reason_is_kept_as_people_are_shown_it(metro, alice, comes_first):
    event = metro.event("card-1")
    undo = metro.reversal(event, reason=" sold\r\ntwice at the cafe\u0301\t")
    for sent in (event, undo) if comes_first == "event" else (undo, event):
        assert (await metro.send_one(sent))["status"] in {"accepted", "parked"}
    assert (await metro.send_one(undo))["status"] == "duplicate"
    kept = (await alice.get("/v1/me/export")).json()["actions"]
    reasons = [row["attributes"]["reason"] for row in kept if row["kind"] == "reversal"]
    assert reasons == ["sold\ntwice at the caf\u00e9"]


async def test_a_reason_holds_nothing_that_nobody_sees(metro, alice):
    event = metro.event("card-1")
    for reason, told in (
        ("sold \u202eeciwt", "reason must not hold the character U+202E"),
        ("\u00a0", "reason must hold something that can be seen"),
    ):
        result = await metro.send_one(metro.reversal(event, reason=reason))
        assert (result["status"], result["problem"]["code"]) == ("rejected", "invalid-attributes")
        assert result["problem"]["errors"] == [{"pointer": "#/0/data/reason", "detail": told}]
    assert await metro.parked() == []


@pytest.mark.parametrize("comes_first", ["event", "link"])
@pytest.mark.parametrize(
    ("reason", "kept"), [(" sold \u202etwice\u00a0", "sold twice"), ("\u200b\u00a0", "-")]
)
async def test_a_reason_that_waited_since_it_could_hold_anything_is_cleaned(
    metro, intake, comes_first, reason, kept
):
    event = metro.event("card-1")
    undo = metro.reversal(event)
    await metro.send(undo, *([event] if comes_first == "event" else []))
    spoilt = await intake.database.pool.fetch(
        "UPDATE partner_events SET body = jsonb_set(body, '{data,reason}', to_jsonb($2::text))"
        " WHERE partner_id = $1 AND target_key IS NOT NULL AND state = 'parked' RETURNING 1",
        metro.id,
        reason,
    )
    assert len(spoilt) == 1
    person = await linked_person(metro, "card-1")
    if comes_first == "link":
        assert (await metro.send_one(event))["status"] == "accepted"
    await release_due(intake)
    assert await metro.parked() == []
    actions = (await person.get("/v1/me/export")).json()["actions"]
    reasons = [row["attributes"]["reason"] for row in actions if row["kind"] == "reversal"]
    assert reasons == [kept]
    assert set((await person.balances()).values()) == {0}


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("reversal_first", [True, False])
async def test_a_correction_beside_the_reversal_gets_what_that_frees(
    metro, alice, is_known, reversal_first
):
    wrong = metro.event("card-1")
    right = metro.event("card-1", data=wrong["data"] | {"distance_km": 5})
    parts = [metro.reversal(wrong), right]
    if is_known:
        await metro.send(wrong, *[metro.event("card-1") for _ in range(4)])
    results = await metro.send(
        *([] if is_known else [wrong]), *(parts if reversal_first else parts[::-1])
    )
    assert {result["status"] for result in results} == {"accepted"}
    assert sum(result["energy_g"] for result in results) == (0 if is_known else 52)
    assert (await alice.balances())["ripening_g"] == (260 if is_known else 52)


@pytest.mark.parametrize("order", ["as sent", "backwards", "reversal first"])
async def test_what_a_request_takes_back_leaves_its_limit_to_the_others(metro, alice, order):
    """Five a day: the sixth has the place of the one that is taken back beside it."""
    trips = [metro.event("card-1") for _ in range(6)]
    undo = metro.reversal(trips[2])
    sent = {
        "as sent": [*trips[:5], undo, trips[5]],
        "backwards": [trips[5], undo, *trips[4::-1]],
        "reversal first": [undo, *trips],
    }[order]
    results = await metro.send(*sent)
    assert {result["status"] for result in results} == {"accepted"}
    paid = {result["id"]: result["energy_g"] for result in results}
    assert paid == {trip["id"]: 52 for trip in trips} | {undo["id"]: -52}
    assert (await alice.balances())["ripening_g"] == 260
    assert await metro.parked() == []


@pytest.mark.parametrize("wrong_first", [True, False])
async def test_a_claim_is_for_what_the_same_request_does_not_take_back(metro, alice, wrong_first):
    wrong = metro.event("card-1")
    right = metro.event("card-1", data=wrong["data"] | {"distance_km": 5})
    pair = [wrong, right] if wrong_first else [right, wrong]
    results = await metro.send(*pair, metro.reversal(wrong))
    assert {result["status"] for result in results} == {"accepted"}
    assert (await alice.balances())["ripening_g"] == 52
    assert await metro.parked() == []


async def test_across_requests_the_reversal_must_come_first(metro, alice):
    """As the guide for partners says: what was refused is sent again, what got nothing stays so."""
    trips = [metro.event("card-1") for _ in range(6)]
    right = metro.event("card-1", data=trips[0]["data"] | {"distance_km": 5})
    assert [result["energy_g"] for result in await metro.send(*trips)] == [52] * 5 + [0]
    assert (await metro.send_one(right))["problem"]["reason"] == "already-claimed"
    await metro.send(metro.reversal(trips[0]))
    assert (await alice.balances())["ripening_g"] == 208
    assert (await metro.send_one(trips[5]))["energy_g"] == 0
    assert (await metro.send_one(right))["energy_g"] == 52


async def test_two_that_meet_are_both_taken_back_in_one_request(metro, alice):
    first = metro.event("card-1")
    second = metro.event("card-1", data=first["data"] | {"distance_km": 5})
    right = metro.event("card-1", data=first["data"] | {"distance_km": 6})
    await metro.send(right, second, first, metro.reversal(first), metro.reversal(second))
    assert (await alice.balances())["ripening_g"] == 52
    assert await metro.parked() == []
    assert (await metro.send_one(right))["status"] == "duplicate"


async def test_the_reversal_comes_before_its_event(metro, alice, database):
    event = metro.event("card-1")
    undo = metro.reversal(event)
    assert (await metro.send_one(undo))["status"] == "parked"
    assert (await metro.send_one(undo))["status"] == "parked"
    (parked,) = await metro.parked()
    assert (parked["reason"], parked["type"]) == ("event-not-known", "action.reversed")
    result = await metro.send_one(event)
    assert result["status"] == "accepted"
    balances, earned = await totals(alice)
    assert set(balances.values()) == {0}
    assert (earned["earned_g"], earned["saved_g"]) == (0, 0)
    assert {n for _, _, n, _ in await counters(database, alice)} == {0}
    assert await metro.parked() == []
    assert (await metro.send_one(undo))["status"] == "duplicate"
    assert (await metro.send_one(event))["status"] == "duplicate"
    # Its ticket is free again.
    bob = await linked_person(metro, "card-2")
    again = metro.event("card-2", data=event["data"])
    assert (await metro.send_one(again))["status"] == "accepted"
    assert (await bob.balances())["ripening_g"] == 52


@pytest.mark.parametrize("reversal_first", [False, True])
async def test_both_in_one_request(metro, alice, reversal_first):
    event = metro.event("card-1")
    pair = [event, metro.reversal(event)]
    results = await metro.send(*(reversed(pair) if reversal_first else pair))
    assert {result["status"] for result in results} == {"accepted"}
    assert sorted(result["energy_g"] for result in results) == [-52, 52]
    assert set((await alice.balances()).values()) == {0}


async def test_an_unlinked_event_is_reversed_before_it_is_linked(metro):
    """Event parked, reversal parked, link: both orders of the first two end the same."""
    first, second = metro.event("card-9"), metro.event("card-9")
    assert (await metro.send_one(first))["status"] == "parked"
    assert (await metro.send_one(metro.reversal(first)))["status"] == "parked"
    assert (await metro.send_one(metro.reversal(second)))["status"] == "parked"
    assert (await metro.send_one(second))["status"] == "parked"
    person = await linked_person(metro, "card-9")
    assert set((await person.balances()).values()) == {0}
    assert await metro.parked() == []


@pytest.mark.parametrize("is_mended", [True, False])
async def test_a_reversal_that_waits_outlives_the_person_that_it_names(
    metro, alice, database, is_mended
):
    event = metro.event("card-1")
    undo = metro.reversal(event, subject="card-1", reason="of card-1, twice")
    assert (await metro.send_one(undo))["status"] == "parked"
    if is_mended:
        undo["data"]["reason"] = "the ticket of card-1"
        assert (await metro.send_one(undo))["status"] == "parked"
    assert (await alice.delete("/v1/me")).status_code == 204
    named = "SELECT count(*) FROM partner_events WHERE body::text LIKE '%card-1%'"
    assert await database.pool.fetchval(f"{named} AND partner_id = $1", metro.id) == 0
    (waiting,) = await metro.parked()
    assert waiting["id"] == undo["id"]
    bob = await linked_person(metro, "card-1")
    event["time"] = (await metro.client.get("/v1/dev/clock")).json()["now"]
    assert (await metro.send_one(event))["status"] == "accepted"
    assert set((await bob.balances()).values()) == {0}
    assert (await metro.send_one(undo))["status"] == "duplicate"
    assert await metro.parked() == []


async def test_energy_that_was_collected_and_spent_stands_in_arrears(metro, alice, operator):
    events = [metro.event("card-1") for _ in range(3)]
    await metro.send(*events)
    await advance(metro.client, days=1, hours=12)
    assert (await alice.post("/v1/me/bubbles/collect")).json()["collected_g"] == 156
    spend = {"amount_g": -130, "reason": "spent elsewhere"}
    path = f"/v1/operator/participants/{alice.participant_id}/adjustments"
    assert (await operator.post(path, spend)).status_code == 201
    result = await metro.send_one(metro.reversal(events[0]))
    assert result["energy_g"] == -52
    balances = await alice.balances()
    assert (balances["available_g"], balances["arrears_g"]) == (0, -26)
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    await metro.send(metro.event("card-1", time=now))
    await advance(metro.client, days=1, hours=12)
    await alice.post("/v1/me/bubbles/collect")
    balances = await alice.balances()
    assert (balances["available_g"], balances["arrears_g"]) == (26, 0)


async def test_a_suspended_person_is_reversed_all_the_same(metro, alice, operator):
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    event = metro.event("card-1", time=now)
    await metro.send(event)
    await operator.post(f"/v1/operator/participants/{alice.participant_id}/suspend", {})
    assert (await metro.send_one(metro.reversal(event)))["energy_g"] == -52


async def test_what_an_operator_took_back_is_not_taken_twice(metro, alice, operator):
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    event = metro.event("card-1", time=now)
    action_id = (await metro.send_one(event))["action_id"]
    order = {"reason": "a mistake"}
    undone = await operator.post(f"/v1/operator/actions/{action_id}/reverse", order)
    assert undone.status_code == 200
    assert (await metro.send_one(metro.reversal(event)))["status"] == "duplicate"
    assert set((await alice.balances()).values()) == {0}


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({}, "#/0/data/event_id"),
        ({"event_id": "e"}, "#/0/data/reason"),
        ({"reason": "r"}, "#/0/data/event_id"),
        ({"event_id": 7, "reason": "r"}, "#/0/data/event_id"),
        ({"event_id": "e", "reason": ""}, "#/0/data/reason"),
        ({"event_id": "e", "reason": "r", "more": 1}, "#/0/data/more"),
        ({"event_id": "self", "reason": "r"}, "#/0/data/event_id"),
    ],
)
async def test_a_reversal_must_be_well_formed(metro, data, pointer):
    result = await metro.send_one(metro.reversal(metro.event("x"), id="self", data=data))
    assert result["problem"]["code"] == "invalid-attributes"
    assert result["problem"]["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("is_one_request", [True, False])
async def test_what_waits_beside_its_reversal_leaves_limit_and_claim_to_the_others(
    metro, intake, is_one_request
):
    """Five a day and each ticket once, whichever of these has the first key."""
    for subject in ("card-7", "card-8", "card-9"):
        trips = [metro.event(subject) for _ in range(5)]
        right = metro.event(subject, data=trips[0]["data"] | {"distance_km": 5})
        sent = [*trips, right, metro.reversal(trips[0])]
        for part in [sent] if is_one_request else [[event] for event in sent]:
            assert {result["status"] for result in await metro.send(*part)} == {"parked"}
        person = await linked_person(metro, subject)
        await release_due(intake)
        assert (await person.balances())["ripening_g"] == 260
        assert (await metro.send_one(right))["energy_g"] == 52
    assert await metro.parked() == []
    assert await metro.parked("?state=discarded") == []


async def test_a_reversal_is_not_reversed(metro, alice):
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    event = metro.event("card-1", time=now)
    undo = metro.reversal(event)
    await metro.send(event, undo)
    result = await metro.send_one(metro.reversal(undo))
    assert result["problem"]["code"] == "event-invalid"
    assert result["problem"]["errors"][0]["pointer"] == "#/0/data/event_id"
    assert await metro.parked() == []


async def test_a_reversal_that_waited_in_vain_stays_listed(metro, alice, intake):
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    event = metro.event("card-1", time=now)
    undo = metro.reversal(event)
    vain = metro.reversal(undo)
    assert [r["status"] for r in await metro.send(vain)] == ["parked"]
    assert {r["status"] for r in await metro.send(event, undo)} == {"accepted"}
    await release_due(intake)
    assert await metro.parked() == []
    (told,) = await metro.parked("?state=discarded")
    assert told["id"] == vain["id"]
    assert told["reason"].startswith("event-invalid: data.event_id must be the id of an event")
    # Sent again it is answered at once, and leaves nothing.
    assert (await metro.send_one(vain))["status"] == "rejected"
    assert await metro.parked("?state=discarded") == []


async def test_a_reversals_id_is_used_once(metro, alice):
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    one, two = metro.event("card-1", time=now), metro.event("card-1", time=now)
    await metro.send(one, two)
    undo = metro.reversal(one)
    await metro.send(undo)
    reused = metro.reversal(two, id=undo["id"])
    assert (await metro.send_one(reused))["problem"]["code"] == "event-id-reused"
    as_event = metro.event("card-1", id=undo["id"], time=now)
    assert (await metro.send_one(as_event))["problem"]["code"] == "event-id-reused"
    assert (await metro.send_one(metro.reversal(two, id=one["id"])))["status"] == "rejected"
    assert (await alice.balances())["ripening_g"] == 52


async def test_another_sources_event_is_another_event(metro, alice):
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    event = metro.event("card-1", time=now)
    await metro.send(event)
    elsewhere = metro.reversal(event, source=f"{event['source']}/2")
    assert (await metro.send_one(elsewhere))["status"] == "parked"
    assert (await alice.balances())["ripening_g"] == 52


async def test_a_plain_webhook_takes_back_a_plain_webhook(operator, name):
    plain = await make_sender(operator, f"p-{name}"[:60])
    person = await linked_person(plain, "card-1")
    now = (await plain.client.get("/v1/dev/clock")).json()["now"]
    data = {"subject": "card-1", "ticket_no": uuid.uuid4().hex}
    trip = {"type": "transit.metro_trip", "timestamp": now, "data": data}
    undo = {"event_id": "msg_trip", "reason": "refunded", "subject": "card-1"}
    back = {"type": "action.reversed", "timestamp": now, "data": undo}
    first = await plain.post(trip, PLAIN, message_id="msg_trip")
    assert first.json()["accepted"] == 1
    second = await plain.post(back, PLAIN, message_id="msg_back")
    assert second.json()["results"][0]["energy_g"] == -52
    assert set((await person.balances()).values()) == {0}


@pytest.fixture
async def conflicts(database):
    """The first so many attempts to take something back end in a conflict of transactions."""

    async def make(count):
        await database.pool.execute(_CONFLICT.format(count=count))

    yield make
    await database.pool.execute("DROP TRIGGER conflict ON actions; DROP FUNCTION conflict()")
    await database.pool.execute("DROP SEQUENCE attempts")


# A sequence counts what is rolled back, too.
_CONFLICT = """
CREATE SEQUENCE attempts;
CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.kind = 'reversal' AND nextval('attempts') <= {count} THEN
        RAISE EXCEPTION 'met another' USING ERRCODE = '40001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER conflict BEFORE INSERT ON actions FOR EACH ROW EXECUTE FUNCTION conflict()"""


async def test_a_conflict_is_met_again_and_told_to_operators(metro, alice, conflicts):
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    event = metro.event("card-1", time=now)
    await metro.send(event)
    await conflicts(1)
    with capture_logs() as logs:
        assert (await metro.send_one(metro.reversal(event)))["energy_g"] == -52
    (told,) = [line for line in logs if line["event"] == "batch is run again"]
    assert "met another" in told["error"]


async def test_conflicts_without_end_are_a_fault_of_ours(metro, alice, conflicts):
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    event = metro.event("card-1", time=now)
    await metro.send(event)
    await conflicts(99)
    with capture_logs() as logs:
        assert (await metro.post([metro.reversal(event)])).status_code == 503
    (told,) = [line for line in logs if line["event"] == "request_unavailable"]
    assert "met another" in told["cause"]
    assert (await alice.balances())["ripening_g"] == 52


async def test_many_reversals_at_once(metro, operator, name):
    people = [await linked_person(metro, f"card-{n}") for n in range(4)]
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    events = [metro.event(f"card-{n % 4}", time=now) for n in range(300)]
    await metro.send(*events)
    results = await metro.send(*[metro.reversal(event) for event in events])
    assert {result["status"] for result in results} == {"accepted"}
    for person in people:
        assert set((await person.balances()).values()) == {0}
    results = await metro.send(*[metro.reversal(event) for event in events])
    assert {result["status"] for result in results} == {"duplicate"}
