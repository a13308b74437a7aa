"""A partner's event as a plain value: its identity, its content, and whether it may be sent at all.

An event is the same when partner, source and id are; what it says is compared by a keyed
fingerprint over type, subject, time and data, from which nobody can guess a subject.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from msgspec import Struct, structs

from service.actions.refusals import InvalidAttributesError
from service.actions.report import EventRef
from service.http.faults import fault
from service.http.texts import TextError, cleaned, prose
from service.partners.keys import Partner
from service.platform.canonical import as_stored, encoded
from service.platform.errors import SaxaulError
from service.platform.ids import derived_uuid
from service.rules.told import Told

REVERSAL = "action.reversed"

# Below this a double is exactly the whole number that it shows.
_EXACT = 2**53


class EventInvalidError(SaxaulError):
    """The event is not what an event must be."""

    code = "event-invalid"


class SourceNotAllowedError(SaxaulError):
    """The source is another's."""

    code = "source-not-allowed"


class TypeNotGrantedError(SaxaulError):
    """The partner may not send events of this type."""

    code = "event-type-not-granted"


class Content(Struct, frozen=True):
    """What a partner said, in any form, and is parked. Only reversals lack subject or time."""

    id: str
    source: str
    type: str
    subject: str | None
    time: datetime | None
    data: Mapping[str, Any]


class Event(Struct, eq=False):
    """An event that this partner may send. `received_at` is set for one that was parked."""

    ref: EventRef
    content: Content
    fingerprint: bytes
    target_key: bytes | None
    received_at: datetime | None = None

    @property
    def key(self) -> bytes:
        """The key of its row."""
        return self.ref.key


SUBJECTS_MAX = 8_192


class Identifier:
    """Gives events their keys and fingerprints, by the secret of this installation."""

    def __init__(self, secret_key: str) -> None:
        """The secret never changes, or events would be taken for new ones."""
        self._secret = secret_key.encode()
        self._fingerprint_key = hashlib.sha256(b"event fingerprint" + self._secret).digest()
        # Who is told of once is told of again: a hash of this kind costs more than judging does.
        self.subject_key = lru_cache(SUBJECTS_MAX)(self._subject_key)

    def _subject_key(self, partner_id: str, subject: str) -> bytes:
        """Where a partner's reference of a person is found: an HMAC, so that it tells nothing."""
        message = f"partner subject\0{partner_id}\0{subject}".encode()
        return hmac.digest(self._secret, message, "sha256")

    def code_key(self, link_code: str) -> bytes:
        """Where a link code is found."""
        return hmac.digest(self._secret, b"link code\0" + link_code.encode(), "sha256")

    def event(self, partner: Partner, content: Content, *, is_parked: bool = False) -> Event:
        """The event of this content; what a reversal that is parked says why is cleaned.

        Raises SourceNotAllowedError, TypeNotGrantedError, EventInvalidError, and
        InvalidAttributesError for the data of a reversal.
        """
        if not partner.owns(content.source):
            text, prefix = "must be {prefix}, or continue it with : or /", partner.source_prefix
            raise fault("#/source", text, "The source", SourceNotAllowedError, prefix=prefix)
        key = event_key(partner.id, content.source, content.id)
        said, target_key = content, None
        if content.type == REVERSAL:
            content = _checked(content, cleaned if is_parked else prose)
            target_key = event_key(partner.id, content.source, content.data["event_id"])
            if target_key == key:
                raise _reversal_invalid("event_id", "must be the id of another event")
        elif content.type not in partner.action_types:
            text, shown = "{type} is not granted to this partner", content.type[:128]
            raise fault("#/type", text, "The type", TypeNotGrantedError, type=shown)
        else:
            for name in ("subject", "time"):
                if getattr(content, name) is None:
                    raise fault(f"#/{name}", "is required", name, EventInvalidError)
        subject_key = self.subject_key(partner.id, content.subject or "")
        ref = EventRef(key, partner.id, content.source, content.id, subject_key)
        return Event(ref, content, self._fingerprint(said), target_key)

    def _fingerprint(self, content: Content) -> bytes:
        data = as_stored({name: _number(value) for name, value in content.data.items()})
        time = content.time and content.time.astimezone(UTC)
        said = encoded((content.type, content.subject, time, data))
        return hashlib.blake2b(said, digest_size=16, key=self._fingerprint_key).digest()


def _number(value: Any) -> Any:
    """The same for a number however it was written: a sender's library may make 5 of 5.0."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    return int(value) if is_whole else value


def event_key(partner_id: str, source: str, event_id: str) -> bytes:
    """What names an event for ever: 16 bytes that are also the UUID of its row."""
    parts = (b"event", partner_id.encode(), source.encode(), event_id.encode())
    return derived_uuid(*parts).bytes


_REVERSAL_DATA = {"event_id": 256, "reason": 500}


def _checked(content: Content, shown: Callable[[str], str]) -> Content:
    """A reversal whose data are what they must be, with its reason as people are shown it."""
    data = content.data
    for name in data:
        if name not in _REVERSAL_DATA:
            raise _reversal_invalid(name, "is not an attribute here; allowed are event_id, reason")
    for name, longest in _REVERSAL_DATA.items():
        value = data.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            detail = Told("must be a text of 1 to {most} characters", most=longest)
            raise _reversal_invalid(name, detail)
    try:
        reason = shown(data["reason"])
    except TextError as error:
        raise _reversal_invalid("reason", error.told) from error
    return structs.replace(content, data={**data, "reason": reason})


def _reversal_invalid(name: str, detail: str) -> SaxaulError:
    place = name[:80].replace("~", "~0").replace("/", "~1")
    detail = Told("{at} {fault}", at=name[:80], fault=detail)
    return fault(f"#/attributes/{place}", detail, f"{REVERSAL}:", InvalidAttributesError)
