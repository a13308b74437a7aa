"""A partner's time may have any offset; what is digested of it is what the database gives back."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from tests.partners.sender import BATCH, PLAIN, SINGLE, linked_person

OFFSETS = [timedelta(hours=8), timedelta(hours=5, minutes=45), -timedelta(hours=23, minutes=59)]
DATA = {"distance_km": 5.0, "duration_min": 12}


def shifted(event, offset):
    """The same event as a partner in another zone writes it."""
    at = datetime.fromisoformat(event["time"]).astimezone(timezone(offset))
    return event | {"time": at.isoformat()}


@pytest.fixture
async def audited(operator):
    async def audited(person):
        order = {"mode": "full", "participant_id": str(person.participant_id)}
        told = (await operator.post("/v1/operator/ledger/audit", order)).json()
        assert (told["clean"], told["differences"], told["notes"]) == (True, [], {})
        return told["actions"]

    return audited


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("media", [SINGLE, BATCH, PLAIN])
async def test_an_event_with_an_offset_keeps_the_audit_clean(metro, alice, audited, media, offset):
    event = shifted(metro.event("card-1", data=DATA), offset)
    body = event
    if media == BATCH:
        body = [event]
    if media == PLAIN:
        data = event["data"] | {"subject": event["subject"]}
        body = {"type": event["type"], "timestamp": event["time"], "data": data}
    answer = await metro.post(json.dumps(body).encode(), media)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1), answer.text
    assert await audited(alice) == 1
    listed = (await alice.get("/v1/me/actions")).json()["items"]
    at = datetime.fromisoformat(listed[0]["occurred_at"])
    assert listed[0]["occurred_at"].endswith("Z")
    assert at == datetime.fromisoformat(event["time"])


@pytest.mark.parametrize("offset", OFFSETS)
async def test_one_that_waited_for_its_link_does_too(metro, audited, offset):
    event = shifted(metro.event("card-7", data=DATA), offset)
    assert (await metro.send_one(event))["status"] == "parked"
    person = await linked_person(metro, "card-7")
    assert await audited(person) == 1


async def test_one_whose_reversal_came_first_does_too(metro, alice, audited):
    event = shifted(metro.event("card-1", data=DATA), OFFSETS[0])
    assert (await metro.send_one(metro.reversal(event)))["status"] == "parked"
    assert (await metro.send_one(event))["status"] == "accepted"
    assert await audited(alice) == 2


async def test_the_same_instant_with_another_offset_is_the_same_event(metro, alice):
    event = metro.event("card-1", data=DATA)
    sent = [shifted(event, offset) for offset in OFFSETS]
    assert [(await metro.send_one(one))["status"] for one in sent] == [
        "accepted",
        "duplicate",
        "duplicate",
    ]
