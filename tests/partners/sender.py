"""A partner as a test plays it: signs like Standard Webhooks, speaks CloudEvents."""

import itertools
import json
import time
import uuid
from datetime import UTC, datetime, timedelta

from kit.partner.signing import sign_hmac, signed_headers
from service.partners.signature import read_secret
from tests.callers import sign_in

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
PLAIN = "application/json"
_numbers = itertools.count(1)
# One time for all trips: a day that began between two of them would begin new limits.
_BEGAN = datetime.now(UTC) - timedelta(hours=1)


class Sender:
    """One partner with one shared secret."""

    def __init__(self, client, partner_id, secret, source):
        self.client, self.id, self.source = client, partner_id, source
        self.secret = read_secret(secret)

    def stamp(self, body, *, message_id=None, at=None, secret=None):
        message_id = message_id or f"msg_{uuid.uuid4().hex}"
        at = int(time.time()) if at is None else at
        entry = sign_hmac(self.secret if secret is None else secret, message_id, at, body)
        return signed_headers(message_id, at, [entry])

    async def call(self, method, path, body=b"", media=None, headers=None, **stamp):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = self.stamp(body, **stamp) | ({"content-type": media} if media else {})
        return await self.client.request(
            method, f"/v1/partners/{self.id}{path}", content=body, headers=sent | (headers or {})
        )

    async def post(self, body, media=BATCH, **more):
        return await self.call("POST", "/events", body, media, **more)

    async def send(self, *events):
        """The results of these events, sent as a list."""
        answer = await self.post(list(events))
        assert answer.status_code == 200, answer.text
        told = answer.json()
        results = told["results"]
        assert [result["index"] for result in results] == list(range(len(events)))
        for status in ("accepted", "duplicate", "parked", "rejected"):
            assert told[status] == sum(result["status"] == status for result in results)
        assert told["received"] == len(events)
        return results

    async def send_one(self, event):
        (result,) = await self.send(event)
        return result

    def event(self, subject, type_="transit.metro_trip", **changes):
        """A trip an hour ago."""
        number = next(_numbers)
        event = {
            "specversion": "1.0",
            "id": f"trip-{number}",
            "source": self.source,
            "type": type_,
            "subject": subject,
            "time": _BEGAN.isoformat(),
            "data": {"ticket_no": f"{self.id}-{number}"},
        }
        return event | changes

    def reversal(self, event, reason="never happened", **changes):
        number = next(_numbers)
        return {
            "specversion": "1.0",
            "id": f"undo-{number}",
            "source": event["source"],
            "type": "action.reversed",
            "data": {"event_id": event["id"], "reason": reason},
        } | changes

    async def link(self, person, subject):
        """Link this person by the whole way: code from the app, call from the partner."""
        answer = await person.post("/v1/me/links", {"partner_id": self.id})
        assert answer.status_code == 201, answer.text
        order = {"link_code": answer.json()["link_code"], "subject": subject}
        linked = await self.call("POST", "/links", order, PLAIN)
        assert linked.status_code == 201, linked.text

    async def parked(self, query=""):
        answer = await self.call("GET", f"/parked{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]


async def make_sender(operator, partner_id, types=("transit.metro_trip",)):
    """A new partner with a key."""
    body = {
        "id": partner_id,
        "name": partner_id.title(),
        "action_types": list(types),
        "source_prefix": f"urn:{partner_id}",
    }
    made = await operator.post("/v1/operator/partners", body)
    assert made.status_code == 201, made.text
    key = await make_key(operator, partner_id)
    return Sender(operator.client, partner_id, key["secret"], f"urn:{partner_id}:east")


async def make_key(operator, partner_id, **order):
    answer = await operator.post(
        f"/v1/operator/partners/{partner_id}/keys", {"kind": "hmac"} | order
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def linked_person(sender, subject):
    """Somebody with an account, linked under this subject."""
    person = await sign_in(sender.client, f"{subject} {uuid.uuid4()}")
    await sender.link(person, subject)
    return person


async def code_of(person, partner_id):
    answer = await person.post("/v1/me/links", {"partner_id": partner_id})
    assert answer.status_code == 201, answer.text
    return answer.json()["link_code"]


async def link(sender, code, subject):
    order = {"link_code": code, "subject": subject}
    return await sender.call("POST", "/links", order, PLAIN)
