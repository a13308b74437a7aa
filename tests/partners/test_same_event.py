"""What tells events apart: no name twice, and instants as they are kept."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.callers import items_of
from tests.partners.sender import BATCH, PLAIN, SINGLE


def doubled(event, name, first, inside=None):
    """The event as bytes, with this member a second time, before the other."""
    place = event[inside] if inside else event
    marked = json.dumps(event | ({inside: {"@": 0} | place} if inside else {"@": 0}))
    return marked.replace('"@": 0', f"{json.dumps(name)}: {json.dumps(first)}").encode()


@pytest.mark.parametrize("media", [SINGLE, BATCH])
@pytest.mark.parametrize(
    ("member", "inside"),
    [("subject", None), ("id", None), ("comment", None), ("ticket_no", "data")],
)
async def test_a_name_that_stands_twice_refuses_its_event(metro, alice, media, member, inside):
    other, event = metro.event("card-1"), metro.event("card-1", comment="which one?")
    body = doubled(event, member, "another", inside)
    if media == BATCH:
        body = b"[%b,%b]" % (json.dumps(other).encode(), body)
    answer = await metro.post(body, media)
    assert answer.status_code == 200, answer.text
    *neighbours, result = answer.json()["results"]
    assert [each["status"] for each in neighbours] == ["accepted"] * (media == BATCH)
    assert result["status"] == "rejected"
    assert result["problem"]["code"] == ("invalid-attributes" if inside else "event-invalid")
    (error,) = result["problem"]["errors"]
    at = "#/1" if media == BATCH else "#"
    assert error["pointer"] == at + (f"/{inside}/{member}" if inside else f"/{member}")
    assert error["detail"] == "is given more than once"
    assert len(await items_of(alice, "/v1/me/actions")) == len(neighbours)


async def test_a_name_is_the_same_however_it_is_escaped(metro, alice):
    body = json.dumps(metro.event("card-1")).replace('"id"', '"i\\u0064": "another", "id"')
    (result,) = (await metro.post(body.encode(), SINGLE)).json()["results"]
    assert result["problem"]["errors"][0]["pointer"] == "#/id"


@pytest.mark.parametrize("inside", [None, "data"])
async def test_a_plain_webhook_names_nothing_twice(metro, alice, inside):
    event = metro.event("card-1")
    body = {"type": event["type"], "timestamp": event["time"], "data": {"subject": "card-1"}}
    name, first = ("subject", "card-2") if inside else ("type", "mobility.walk")
    (result,) = (await metro.post(doubled(body, name, first, inside), PLAIN)).json()["results"]
    assert result["status"] == "rejected"
    assert result["problem"]["errors"][0]["detail"] == "is given more than once"


async def test_a_link_names_nobody_twice(metro, alice):
    body = b'{"link_code": "x", "subject": "card-1", "subject": "card-2"}'
    answer = await metro.call("POST", "/links", body, PLAIN)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/subject"


@pytest.mark.parametrize("media", [SINGLE, BATCH])
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("23:59:60Z", "00:00:00Z"),
        ("23:59:60.25Z", "00:00:00.250000Z"),
        ("23:59:60.123456789Z", "00:00:00.123456Z"),
    ],
)
async def test_a_leap_second_is_the_second_that_follows(metro, alice, media, text, kept):
    today = datetime.now(UTC).date()
    event = metro.event("card-1", time=f"{today - timedelta(days=1)}T{text}")
    answer = await metro.post(event if media == SINGLE else [event], media)
    assert answer.json()["results"][0]["status"] == "accepted", answer.text
    (action,) = await items_of(alice, "/v1/me/actions")
    assert action["occurred_at"] == f"{today}T{kept}"
    (again,) = await metro.send(event | {"time": f"{today}T{kept}"})
    assert again["status"] == "duplicate"


@pytest.mark.parametrize("media", [SINGLE, PLAIN])
async def test_a_leap_second_elsewhere_than_in_greenwich(metro, media):
    day = datetime.now(UTC).date()
    body = metro.event("card-9", time=f"{day}T07:59:60+08:00")
    if media == PLAIN:
        data = {"subject": "card-9"}
        body = {"type": body["type"], "timestamp": body["time"], "data": data}
    (result,) = (await metro.post(body, media)).json()["results"]
    assert result["status"] == "parked"
    (parked,) = await metro.parked()
    assert datetime.fromisoformat(parked["time"]) == datetime(
        day.year, day.month, day.day, tzinfo=UTC
    )


@pytest.mark.parametrize("time", ["T12:30:60Z", "T23:59:61Z", "T23:59:60", "T23:59:60+08:00"])
async def test_no_other_minute_has_61_seconds(metro, alice, time):
    day = datetime.now(UTC).date() - timedelta(days=1)
    result = await metro.send_one(metro.event("card-1", time=f"{day}{time}"))
    assert result["problem"]["errors"][0]["pointer"] == "#/0/time"


@pytest.mark.parametrize("media", [SINGLE, BATCH])
@pytest.mark.parametrize(
    ("first", "again"),
    [
        (".123456789Z", ".123456Z"),
        (".123456789Z", ".1234567Z"),
        (".999999999Z", ".999999Z"),
        (".120000000Z", ".12Z"),
        (".000000000Z", "Z"),
        (".123456789Z", ".123456+00:00"),
    ],
)
async def test_an_instant_with_fewer_digits_is_the_same_event(metro, alice, media, first, again):
    second = (datetime.now(UTC) - timedelta(hours=1)).isoformat()[:19]
    event = metro.event("card-1", time=second + first)
    assert (await metro.send_one(event))["status"] == "accepted"
    event["time"] = second + again
    answer = await metro.post(event if media == SINGLE else [event], media)
    assert answer.json()["results"][0]["status"] == "duplicate", answer.text
    event["time"] = second + ".123455Z"
    assert (await metro.send_one(event))["problem"]["code"] == "event-id-reused"


async def test_what_is_parked_is_the_same_with_fewer_digits(metro):
    second = (datetime.now(UTC) - timedelta(hours=1)).isoformat()[:19]
    event = metro.event("card-9", time=second + ".999999999Z")
    assert (await metro.send_one(event))["status"] == "parked"
    (parked,) = await metro.parked()
    assert parked["time"] == second + ".999999Z"
