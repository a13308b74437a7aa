"""What partners send is recorded once, each event on its own, whatever form it comes in."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from service.partners.release import release_due
from tests.callers import advance, items_of, sign_in
from tests.partners.sender import BATCH, PLAIN, SINGLE, linked_person, make_sender


async def test_an_event_is_recorded_once(metro, alice):
    event = metro.event("card-1")
    first = await metro.send_one(event)
    assert first["status"] == "accepted"
    assert first["energy_g"] == 52
    again = await metro.send_one(event)
    assert again == first | {"status": "duplicate"}
    assert (await alice.balances())["ripening_g"] == 52
    (action,) = await items_of(alice, "/v1/me/actions")
    assert action["id"] == first["action_id"]
    assert action["source"] == f"partner:{metro.id}"


async def test_a_single_event_answers_like_a_list_of_one(metro, alice):
    answer = await metro.post(metro.event("card-1"), SINGLE)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert (told["received"], told["accepted"]) == (1, 1)
    assert told["results"][0]["index"] == 0


async def test_a_plain_webhook_is_an_event_of_the_partners_own_source(metro, alice):
    body = {
        "type": "transit.metro_trip",
        "timestamp": datetime.now(UTC).isoformat(),
        "data": {"subject": "card-1", "ticket_no": uuid.uuid4().hex},
    }
    answer = await metro.post(body, PLAIN, message_id="msg_plain")
    (result,) = answer.json()["results"]
    assert (result["id"], result["status"]) == ("msg_plain", "accepted")
    # A retry keeps its id, and gets a new time and signature.
    (again,) = (await metro.post(body, PLAIN, message_id="msg_plain")).json()["results"]
    assert again == result | {"status": "duplicate"}
    (action,) = await items_of(alice, "/v1/me/actions")
    assert action["type"] == "transit.metro_trip"


@pytest.mark.parametrize("data", [{}, {"subject": 5}, {"subject": ""}, {"subject": "x" * 257}])
async def test_a_plain_webhooks_subject_is_missed_where_it_stands(metro, data):
    body = {"type": "transit.metro_trip", "timestamp": "2026-11-21T08:00:00Z", "data": data}
    (result,) = (await metro.post(body, PLAIN)).json()["results"]
    assert result["problem"]["code"] == "event-invalid"
    assert result["problem"]["errors"][0]["pointer"] == "#/data/subject"


async def test_a_bad_event_never_harms_its_neighbours(metro, alice):
    good, last = metro.event("card-1"), metro.event("card-1")
    bad = [
        metro.event("card-1", source="urn:somebody"),
        metro.event("card-1", type_="health.registration", data={"visit_no": "v"}),
        metro.event("card-1", data={"ticket_no": "t", "colour": "red"}),
        metro.event("card-1", data={"distance_km": "far"}),
        metro.event("card-1", data={"distance_km": {"km": 3}}),
        metro.event("card-1", time="yesterday"),
        metro.event("card-1", time="2026-11-21T08:00:00"),
        metro.event("card-1", time="1999-11-21T08:00:00Z"),
        metro.event("card-1") | {"subject": None},
        metro.event("card-1", specversion="0.3"),
        metro.event("car\0d"),
        metro.event("card-1", data_base64="AAAA"),
        metro.event("card-1", datacontenttype="text/xml"),
        "an event",
        {"id": "only-an-id"},
    ]
    results = await metro.send(good, *bad, last)
    assert [results[0]["status"], results[-1]["status"]] == ["accepted", "accepted"]
    problems = [result["problem"] for result in results[1:-1]]
    assert [problem["code"] for problem in problems] == [
        "source-not-allowed",
        "event-type-not-granted",
        "invalid-attributes",
        "invalid-attributes",
        "invalid-attributes",
        *["event-invalid"] * 10,
    ]
    pointers = [problem["errors"][0]["pointer"] for problem in problems]
    assert pointers == [
        "#/1/source",
        "#/2/type",
        "#/3/data/colour",
        "#/4/data/distance_km",
        "#/5/data/distance_km",
        "#/6/time",
        "#/7/time",
        "#/8/time",
        "#/9/subject",
        "#/10/specversion",
        "#/11/subject",
        "#/12/data_base64",
        "#/13/datacontenttype",
        "#/14",
        "#/15/specversion",
    ]
    assert results[1]["id"] == bad[0]["id"]
    assert results[14]["id"] is None
    assert results[15]["id"] == "only-an-id"
    assert (await alice.balances())["ripening_g"] == 104


async def test_a_number_out_of_range_does_not_hide_whose_event_it_is(metro, alice):
    event = metro.event("card-1", data={"distance_km": 77})
    body = json.dumps([event]).replace('"distance_km": 77', '"distance_km": 1e999').encode()
    (result,) = (await metro.post(body, BATCH)).json()["results"]
    assert (result["id"], result["status"]) == (event["id"], "rejected")
    assert result["problem"]["errors"][0]["pointer"] == "#/0/data/distance_km"


async def test_unknown_attributes_of_the_envelope_are_ignored(metro, alice):
    event = metro.event("card-1", dataschema="urn:x", traceparent="00-1", comexample={"a": [1]})
    assert (await metro.send_one(event))["status"] == "accepted"


@pytest.mark.parametrize(
    ("suffix", "status"),
    [("", "accepted"), (":a", "accepted"), ("/a/b", "accepted"), ("-east", "rejected")],
)
async def test_a_source_is_the_prefix_or_continues_it(metro, alice, suffix, status):
    result = await metro.send_one(metro.event("card-1", source=f"urn:{metro.id}{suffix}"))
    assert result["status"] == status


async def test_the_same_id_with_other_content_is_refused(metro, alice):
    event = metro.event("card-1")
    assert (await metro.send_one(event))["status"] == "accepted"
    for change in (
        {"data": {"ticket_no": "another"}},
        {"subject": "card-2"},
        {"time": "2026-11-20T08:00:00Z"},
    ):
        result = await metro.send_one(event | change)
        assert result["status"] == "rejected"
        assert result["problem"]["code"] == "event-id-reused"
    # Another source is another event.
    other = event | {"source": f"{event['source']}/2", "data": {"ticket_no": uuid.uuid4().hex}}
    assert (await metro.send_one(other))["status"] == "accepted"


async def test_twins_in_one_request(metro, alice):
    event = metro.event("card-1")
    first, twin, other = await metro.send(event, event, event | {"data": {"ticket_no": "else"}})
    assert [first["status"], twin["status"]] == ["accepted", "duplicate"]
    assert twin["action_id"] == first["action_id"]
    assert other["problem"]["code"] == "event-id-reused"


async def test_a_number_is_the_same_however_it_is_written(metro, alice):
    event = metro.event("card-1", data={"distance_km": 5, "ticket_no": uuid.uuid4().hex})
    again = event | {"data": event["data"] | {"distance_km": 5.0}}
    other = event | {"data": event["data"] | {"distance_km": 5.5}}
    assert (await metro.send_one(event))["status"] == "accepted"
    assert (await metro.send_one(again))["status"] == "duplicate"
    assert (await metro.send_one(other))["problem"]["code"] == "event-id-reused"


async def test_the_same_id_for_two_people_in_one_request(metro, alice):
    await linked_person(metro, "card-2")
    event = metro.event("card-1")
    other = event | {"subject": "card-2", "data": {"ticket_no": uuid.uuid4().hex}}
    # Two people may be of two lanes: whichever binds it first has it, and nobody else.
    results = sorted(await metro.send(event, other), key=lambda result: result["status"])
    assert [result["status"] for result in results] == ["accepted", "rejected"]
    assert results[1]["problem"]["code"] == "event-id-reused"


async def test_a_rejected_id_is_not_kept(metro, alice):
    event = metro.event("card-1", time="2020-01-01T00:00:00Z")
    result = await metro.send_one(event)
    assert (result["status"], result["problem"]["reason"]) == ("rejected", "too-late")
    mended = event | {"time": (datetime.now(UTC) - timedelta(hours=2)).isoformat()}
    assert (await metro.send_one(mended))["status"] == "accepted"


async def test_the_catalogues_refusals_are_told(metro, alice):
    ahead = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    (result,) = await metro.send(metro.event("card-1", time=ahead))
    assert result["problem"]["code"] == "action-refused"
    assert result["problem"]["reason"] == "in-future"
    assert set(result["problem"]) == {"code", "title", "detail", "reason"}


async def test_one_ticket_is_counted_once_for_everybody(metro, alice):
    await linked_person(metro, "card-2")
    event = metro.event("card-1")
    assert (await metro.send_one(event))["status"] == "accepted"
    other = metro.event("card-2", data=event["data"])
    result = await metro.send_one(other)
    assert result["problem"]["reason"] == "already-claimed"
    assert str(alice.participant_id) not in json.dumps(result)


async def test_a_box_is_counted_once_over_all_partners(operator, name):
    first = await make_sender(operator, f"{name}-a"[:60], ["recycling.reusable_box"])
    second = await make_sender(operator, f"{name}-b"[:60], ["recycling.reusable_box"])
    await linked_person(first, "s-1")
    await linked_person(second, "s-2")
    box = {"box_code": uuid.uuid4().hex}
    one = await first.send_one(first.event("s-1", "recycling.reusable_box", data=box))
    two = await second.send_one(second.event("s-2", "recycling.reusable_box", data=box))
    assert one["status"] == "accepted", one
    assert two["problem"]["reason"] == "already-claimed"


async def test_the_daily_limit_holds_for_a_partners_events(metro, alice):
    results = await metro.send(*[metro.event("card-1") for _ in range(7)])
    assert [result["energy_g"] for result in results] == [52] * 5 + [0] * 2
    assert {result["status"] for result in results} == {"accepted"}


async def test_a_relinked_subject_is_not_paid_twice(metro, alice):
    event = metro.event("card-1")
    first = await metro.send_one(event)
    bob = await linked_person(metro, "card-1")
    again = await metro.send_one(event)
    assert again == first | {"status": "duplicate"}
    assert (await bob.balances())["ripening_g"] == 0
    now = (await metro.client.get("/v1/dev/clock")).json()["now"]
    assert (await metro.send_one(metro.event("card-1", time=now)))["status"] == "accepted"
    assert (await bob.balances())["ripening_g"] == 52


async def test_an_unlinked_subject_gets_its_duplicates(metro, alice):
    event = metro.event("card-1")
    first = await metro.send_one(event)
    assert (await alice.delete(f"/v1/me/links/{metro.id}")).status_code == 204
    assert await metro.send_one(event) == first | {"status": "duplicate"}
    changed = await metro.send_one(event | {"data": {"ticket_no": "else"}})
    assert changed["problem"]["code"] == "event-id-reused"


@pytest.mark.parametrize("events", [0, 501])
async def test_a_list_is_neither_empty_nor_too_long(metro, events):
    answer = await metro.post([metro.event("nobody")] * events)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1,]", b'["\xff"]', b"[" * 20_000, b"[NaN]", b"[{}] x"]
)
async def test_what_is_no_json_is_refused_whole(metro, body):
    for media in (BATCH, SINGLE, PLAIN):
        answer = await metro.post(body, media)
        assert answer.status_code == 400, (media, answer.text)
        assert answer.json()["code"] == "malformed-request"


@pytest.mark.parametrize(("depth", "status"), [(32, 200), (33, 400)])
async def test_what_is_ignored_may_nest_32_deep(metro, depth, status):
    for media, levels in ((BATCH, depth - 2), (SINGLE, depth - 1), (PLAIN, depth - 1)):
        nested = '{"[\\"{":' * (levels - 1) + "[]" + "}" * (levels - 1)
        event = metro.event("card-9", **{"comexample": "NESTED", "[": "\\]", "}": [[], {}]})
        body = event | {"timestamp": event["time"]}
        text = json.dumps([body] if media == BATCH else body).replace('"NESTED"', nested)
        answer = await metro.post(text.encode(), media)
        assert answer.status_code == status, (media, answer.text)


async def test_a_batch_is_a_list(metro):
    answer = await metro.post(metro.event("card-1"), BATCH)
    assert answer.status_code == 422


async def test_a_single_event_that_is_none_is_rejected(metro):
    for body in (b"[]", b'"text"', b"{}", b"null", b"7"):
        for media in (SINGLE, PLAIN):
            answer = await metro.post(body, media)
            assert answer.status_code == 200
            (result,) = answer.json()["results"]
            assert result["problem"]["code"] == "event-invalid"


async def test_five_hundred_events_at_once(metro, alice):
    events = [metro.event("card-1") for _ in range(500)]
    results = await metro.send(*events)
    assert {result["status"] for result in results} == {"accepted"}
    again = await metro.send(*events)
    assert {result["status"] for result in again} == {"duplicate"}
    assert (await alice.balances())["ripening_g"] == 260


async def test_a_suspended_person_gets_nothing_until_they_are_back(metro, alice, operator, intake):
    path = f"/v1/operator/participants/{alice.participant_id}"
    assert (await operator.post(f"{path}/suspend", {})).status_code == 200
    event = metro.event("card-1")
    assert (await metro.send_one(event))["status"] == "parked"
    assert (await metro.send_one(event))["status"] == "parked"
    waiting = metro.event("card-1")
    await metro.send(waiting)
    assert await release_due(intake) == 0
    assert len(await metro.parked()) == 2
    assert (await operator.post(f"{path}/resume", {})).status_code == 200
    assert (await metro.send_one(event))["status"] == "accepted"
    assert await release_due(intake) == 1
    assert await metro.parked() == []
    assert (await alice.balances())["ripening_g"] == 104


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"data": {"distance_km": "far"}}, "invalid-attributes"),
        ({"data": {"nothing": 1}}, "invalid-attributes"),
        ({"time": "2001-01-01T00:00:00Z"}, "action-refused"),
    ],
)
async def test_only_valid_events_wait_for_a_suspended_person(metro, alice, operator, changes, code):
    path = f"/v1/operator/participants/{alice.participant_id}"
    assert (await operator.post(f"{path}/suspend", {})).status_code == 200
    result = await metro.send_one(metro.event("card-1", **changes))
    assert (result["status"], result["problem"]["code"]) == ("rejected", code)
    assert await metro.parked() == []


async def test_what_is_parked_outlives_a_bad_copy_under_its_id(metro, alice, operator):
    path = f"/v1/operator/participants/{alice.participant_id}"
    assert (await operator.post(f"{path}/suspend", {})).status_code == 200
    event = metro.event("card-1")
    assert (await metro.send_one(event))["status"] == "parked"
    bad = await metro.send_one(event | {"data": {"distance_km": "far"}})
    assert (bad["status"], bad["problem"]["code"]) == ("rejected", "invalid-attributes")
    assert [parked["id"] for parked in await metro.parked()] == [event["id"]]


async def test_energy_of_events_ripens_and_is_collected(metro, alice):
    await metro.send(metro.event("card-1"))
    await advance(metro.client, days=1, hours=8)
    collected = await alice.post("/v1/me/bubbles/collect")
    assert collected.json()["collected_g"] == 52


async def test_nobody_else_sees_whom_the_partner_means(metro, alice):
    mallory = await sign_in(metro.client, "mallory")
    assert (await mallory.get("/v1/me/links")).json()["items"] == []


@pytest.fixture
async def undigestible(database):
    """What PostgreSQL refuses, whatever is done: values, and something that fails at our side."""
    await database.pool.execute(_REFUSE)
    yield {"ticket_no": "22003"}, {"ticket_no": "P0001"}
    await database.pool.execute("DROP TRIGGER refuse ON actions; DROP FUNCTION refuse()")


_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.attributes ->> 'ticket_no' IN ('22003', 'P0001') THEN
        RAISE EXCEPTION 'no' USING ERRCODE = NEW.attributes ->> 'ticket_no';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON actions FOR EACH ROW EXECUTE FUNCTION refuse()"""


async def test_one_that_cannot_be_recorded_harms_no_other(metro, alice, undigestible):
    """It answers 503, but what was sent beside it is recorded, parked and taken back."""
    _, fault = undigestible
    before = metro.event("card-1")
    await metro.send(before)
    bad, waiting = metro.event("card-1", data=fault), metro.event("card-9")
    answer = await metro.post([metro.event("card-1"), bad, waiting, metro.reversal(before)])
    assert answer.status_code == 503
    assert [item["id"] for item in await metro.parked()] == [waiting["id"]]
    assert (await alice.balances())["ripening_g"] == 52


async def test_values_that_cannot_be_stored_refuse_their_event_only(metro, alice, undigestible):
    """503 would make the partner send them for ever."""
    values, _ = undigestible
    bad = metro.event("card-1", data=values)
    results = await metro.send(metro.event("card-1"), bad, metro.event("card-9"))
    assert [result["status"] for result in results] == ["accepted", "rejected", "parked"]
    assert results[1]["problem"]["code"] == "event-invalid"
    mended = bad | {"data": {"ticket_no": uuid.uuid4().hex}}
    assert (await metro.send_one(mended))["status"] == "accepted"


async def test_one_parked_that_cannot_be_recorded_holds_up_no_other(metro, undigestible, intake):
    event, (values, fault) = metro.event("card-9"), undigestible
    bad, worse = metro.event("card-9", data=values), metro.event("card-9", data=fault)
    await metro.send(event, bad, worse)
    person = await linked_person(metro, "card-9")
    undo = metro.reversal(bad)
    assert (await metro.send_one(metro.reversal(event)))["status"] == "accepted"
    assert (await metro.send_one(undo))["status"] == "parked"
    assert await release_due(intake) == 0
    assert {item["id"] for item in await metro.parked()} == {bad["id"], worse["id"], undo["id"]}
    assert (await person.balances())["ripening_g"] == 0


async def test_half_a_character_in_one_event_harms_no_other(metro):
    whole = "\N{SAXOPHONE}, and an escape that is none: \\ud800"
    good, bad, other = metro.event(whole), metro.event("card-9"), metro.event("card-9")
    body = json.dumps([good, bad | {"id": "BAD"}, other]).replace('"BAD"', '"\\ud800"').encode()
    answer = await metro.post(body, BATCH)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["parked", "rejected", "parked"]
    assert results[1]["problem"]["code"] == "event-invalid"
    assert results[1]["problem"]["errors"][0]["pointer"] == "#/1/id"
    assert {item["subject"] for item in await metro.parked()} == {whole, "card-9"}


async def test_what_is_mended_beside_its_faulty_copy_is_what_was_accepted(metro, alice):
    good = metro.event("card-1")
    bad = good | {"data": good["data"] | {"distance_km": -4}}
    first, second = await metro.send(bad, good)
    assert (first["status"], second["status"]) == ("rejected", "accepted")
    assert (await metro.send_one(good))["status"] == "duplicate"
    assert (await metro.send_one(bad))["problem"]["code"] == "event-id-reused"
    assert (await alice.balances())["ripening_g"] == 52
