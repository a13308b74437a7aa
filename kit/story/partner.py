"""The partner's scene: a metro operator is let in, a person links her card, signed trips arrive."""

from datetime import timedelta
from hashlib import sha256
from typing import Any

import msgspec

from kit.partner.signing import sign_hmac, signed_headers
from kit.replay.api import members_of
from kit.story.stage import Person, Story, require
from service.partners.signature import read_secret
from service.platform.clock import Clock

_PARTNER, _SOURCE, _CARD = "demo-line-5", "urn:demo-line-5", "demo-card-7"
_BATCH, _JSON = "application/cloudevents-batch+json", "application/json"


async def ride(story: Story, person: Person) -> None:
    """Open a partner, link a person by a code of her own, and send signed events."""
    story.scene("A metro operator sends signed trips, once she has linked her card")
    secret = read_secret(await _open_partner(story))
    code = await story.api.post("/v1/me/links", {"partner_id": _PARTNER}, person.token)
    consent = {"link_code": code["link_code"], "subject": _CARD}
    began = await story.now()
    trips = [_trip(f"trip-{n}", began - timedelta(minutes=40 * n)) for n in (1, 2)]
    waiting = await _send(story, secret, "events", trips[:1], _BATCH)
    await _send(story, secret, "links", consent, _JSON)
    refused = _trip("trip-3", began) | {"data": {"ticket_no": "demo-3", "colour": "blue"}}
    again = await _send(story, secret, "events", [*trips, refused], _BATCH)
    undo = _event("undo-2", "action.reversed", {"event_id": "trip-2", "reason": "refunded"})
    undone = await _send(story, secret, "events", [undo], _BATCH)
    told = [waiting["results"][0], *again["results"], *undone["results"]]
    statuses = [result["status"] for result in told]
    expected = ["parked", "duplicate", "accepted", "rejected", "accepted"]
    require(statuses == expected, f"the events end as {expected}, not as {statuses}")
    why = (
        "her card was not linked yet",
        "recorded when she linked it",
        "",
        told[3]["problem"]["detail"],
        "taken back, nothing is left of trip-2",
    )
    story.table(
        ("event", "status", "energy g", "why"),
        [
            (result["id"], result["status"], str(result.get("energy_g", "-")), reason)
            for result, reason in zip(told, why, strict=True)
        ],
    )


async def _open_partner(story: Story) -> str:
    order = {"subject": "demo-operator", "role": "operator"}
    token = (await story.api.post("/v1/dev/token", order))["access_token"]
    partner = {
        "id": _PARTNER,
        "name": "Line 5",
        "action_types": ["transit.metro_trip"],
        "source_prefix": _SOURCE,
    }
    await story.api.post("/v1/operator/partners", partner, token)
    path = f"/v1/operator/partners/{_PARTNER}/keys"
    secret: str = (await story.api.post(path, {"kind": "hmac"}, token))["secret"]
    return secret


def _trip(event_id: str, began: Any) -> dict[str, Any]:
    data = {"distance_km": 8.4, "duration_min": 22, "ticket_no": f"demo-{event_id}"}
    event = _event(event_id, "transit.metro_trip", data)
    return event | {"subject": _CARD, "time": began}


def _event(event_id: str, type_: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": _SOURCE,
        "type": type_,
        "data": data,
    }


async def _send(story: Story, secret: bytes, path: str, body: object, media: str) -> dict[str, Any]:
    """The answer to a signed call."""
    content = msgspec.json.encode(body)
    clock = Clock()
    at = int(clock.real_now().timestamp())
    message_id = f"msg_{sha256(content).hexdigest()[:32]}"
    signature = sign_hmac(secret, message_id, at, content)
    headers = signed_headers(message_id, at, [signature]) | {"Content-Type": media}
    address = f"/v1/partners/{_PARTNER}/{path}"
    return members_of(await story.api.send("POST", address, content=content, headers=headers))
