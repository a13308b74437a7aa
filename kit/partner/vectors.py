"""Test vectors: deliveries with their headers and what they are answered, for clients' own tests.

The keys are published here and must never be used for anything else. All is computed by the very
functions that sign and verify; a test sends each vector to a running API.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from kit.partner.signing import (
    PRIVATE_PREFIX,
    read_private_key,
    sign_ed25519,
    sign_hmac,
    signed_headers,
)
from service.partners.signature import public_text, read_secret, secret_text

AT = 1_795_305_600
SECRET = secret_text(bytes(range(32)))
PRIVATE_KEY = PRIVATE_PREFIX + base64.b64encode(bytes(range(32, 64))).decode()
TOLERANCE_S = 300

_CLOUDEVENT = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"
_PLAIN = "application/json"


@dataclass(frozen=True)
class Setting:
    """Who signs, with what, and when it is: seconds since 1970."""

    partner: str = "vectors-transit"
    source: str = "urn:vectors:transit"
    type: str = "transit.metro_trip"
    secret: str = SECRET
    private_key: str = PRIVATE_KEY
    at: int = AT


def vectors_of(setting: Setting) -> dict[str, Any]:
    """Keys, deliveries and what each is answered by an instance that knows nobody's subject."""
    made = _Vectors(setting)
    made.accepted()
    made.unsigned()
    made.malformed()
    made.refused()
    public = read_private_key(setting.private_key).public_key().public_bytes_raw()
    return {
        "about": "Deliveries to POST /v1/partners/{partner}/events as of `at`, in seconds since"
        " 1970. Signed is `{webhook-id}.{webhook-timestamp}.{body}`, the body's bytes in UTF-8."
        " Results are those of subjects that nobody has linked. The keys are public: never use"
        " them.",
        "at": setting.at,
        "tolerance_s": TOLERANCE_S,
        "partner": {
            "id": setting.partner,
            "source_prefix": setting.source,
            "action_types": [setting.type],
        },
        "keys": [
            {"kind": "hmac", "secret": setting.secret},
            {
                "kind": "ed25519",
                "private_key": setting.private_key,
                "public_key": public_text(public),
            },
        ],
        "vectors": made.all,
    }


class _Vectors:
    """All vectors of one setting."""

    def __init__(self, setting: Setting) -> None:
        self.all: list[dict[str, Any]] = []
        self._setting = setting
        self._secret = read_secret(setting.secret)
        self._private = read_private_key(setting.private_key)

    def accepted(self) -> None:
        """What every client must be able to send."""
        one, two = self._event("trip-1"), self._event("trip-2", note="地铁 🚇")
        parked = {"status": 200, "results": ["parked"]}
        self._add("one event, HMAC", _encode(one), parked)
        self._add("one event, ed25519", _encode(self._event("trip-3")), parked, version="v1a")
        self._add(
            "signed with the old and the new key while rotating",
            _encode(one),
            parked,
            also=[sign_hmac(bytes(32), "msg_vector-3", self._setting.at, _encode(one))],
        )
        batch = {"status": 200, "results": ["parked", "parked"]}
        self._add("a batch, in characters beyond ASCII", _encode([one, two]), batch, kind=_BATCH)
        spaced = msgspec.json.format(_encode(self._event("trip-4")), indent=4)
        self._add("the bytes are signed, with their white space", spaced, parked)
        data = {"subject": "nobody-1", "distance_km": 8.2}
        plain = {"type": self._setting.type, "timestamp": self._time(), "data": data}
        self._add("a plain Standard Webhooks body", _encode(plain), parked, kind=_PLAIN)
        reversal = self._event("reversal-1", "action.reversed")
        reversal["data"] = {"event_id": "trip-unknown", "reason": "the ticket was refunded"}
        self._add("a reversal before its event", _encode(reversal), parked)

    def unsigned(self) -> None:
        """What is not signed as it should be: 401, without a word on why."""
        body = _encode(self._event("trip-5"))
        refused, at = {"status": 401, "code": "unauthenticated"}, self._setting.at
        self._add("a body that was changed", body, refused, sent=body.replace(b"8.2", b"9.2"))
        self._add("an id other than the signed one", body, refused, change={"webhook-id": "other"})
        late, early = at - TOLERANCE_S - 30, at + TOLERANCE_S + 30
        self._add("a time too long ago", body, refused, at=late)
        self._add("a time too far ahead", body, refused, at=early)
        wrong = sign_hmac(bytes(32), "msg", at, body)
        self._add("another key", body, refused, change={"webhook-signature": wrong})
        unknown = "v9,c2lnbmF0dXJl"
        self._add(
            "only a version that nobody knows", body, refused, change={"webhook-signature": unknown}
        )

    def malformed(self) -> None:
        """Headers that no signature can mend: 400, with what is wrong."""
        body = _encode(self._event("trip-6"))
        refused = {"status": 400, "code": "signature-malformed"}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            self._add(f"no {name}", body, refused, change={name: None})
        for what, name, text in (
            ("a dot in the id", "webhook-id", "msg.1"),
            ("an id of 65 characters", "webhook-id", "m" * 65),
            ("a time with a fraction", "webhook-timestamp", f"{self._setting.at}.5"),
            ("a time with a sign", "webhook-timestamp", f"+{self._setting.at}"),
            ("a signature without its version", "webhook-signature", "c2lnbmF0dXJl"),
            ("a signature that is no base64", "webhook-signature", "v1,?"),
            ("a signature that is too short", "webhook-signature", "v1,c2lnbmF0dXJl"),
        ):
            self._add(what, body, refused, change={name: text})
        unparsable = {"status": 400, "code": "malformed-request"}
        self._add("signed bytes that are no JSON", b'{"id": ', unparsable)

    def refused(self) -> None:
        """Media types, and items that are rejected alone."""
        one = self._event("trip-7")
        body = _encode(one)
        media = {"status": 415, "code": "unsupported-media-type"}
        self._add("text instead of JSON", body, media, kind="text/plain")
        self._add(
            "binary mode: ce-* headers are not signed",
            body,
            media,
            kind=_PLAIN,
            change={"ce-id": "a"},
        )
        self._add("a compressed body", body, media, change={"content-encoding": "gzip"})
        empty = {"status": 422, "code": "invalid-request"}
        self._add("an empty batch", b"[]", empty, kind=_BATCH)
        mixed = [
            one,
            {**self._event("trip-8"), "source": "urn:somebody-else"},
            self._event("trip-9", "mobility.carpool"),
            {name: value for name, value in self._event("").items() if name != "id"},
        ]
        results = ["parked", "source-not-allowed", "event-type-not-granted", "event-invalid"]
        self._add(
            "bad items harm no others",
            _encode(mixed),
            {"status": 200, "results": results},
            kind=_BATCH,
        )

    def _event(self, event_id: str, type_: str = "", note: str = "") -> dict[str, Any]:
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": self._setting.source,
            "type": type_ or self._setting.type,
            "subject": "nobody-1",
            "time": self._time(),
            "data": {"distance_km": 8.2},
        }
        return {**event, "note": note} if note else event

    def _time(self) -> str:
        return datetime.fromtimestamp(self._setting.at - 3_600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _add(self, name: str, body: bytes, expect: Mapping[str, Any], **how: Any) -> None:
        """A vector; `sent` and `change` spoil what was signed, `at` moves when."""
        message_id = f"msg_vector-{len(self.all) + 1}"
        at = how.get("at", self._setting.at)
        if how.get("version") == "v1a":
            signature = sign_ed25519(self._private, message_id, at, body)
        else:
            signature = sign_hmac(self._secret, message_id, at, body)
        signatures = [*how.get("also", ()), signature]
        headers: dict[str, str | None] = {
            "content-type": how.get("kind", _CLOUDEVENT),
            **signed_headers(message_id, at, signatures),
            **how.get("change", {}),
        }
        self.all.append(
            {
                "name": name,
                "headers": {key: value for key, value in headers.items() if value is not None},
                "body": how.get("sent", body).decode(),
                "expect": dict(expect),
            }
        )


_encode = msgspec.json.encode
