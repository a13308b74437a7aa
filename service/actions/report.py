"""From what an app sends to a report: its id and its fingerprint, both drawn before any lock."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from service.actions.facts import canonical_facts
from service.participants.links import Subject
from service.platform.canonical import as_stored
from service.platform.ids import derived_uuid, uuid7
from service.rules.decide.judge import Candidate

_PARTNER = "partner:"


# What is made for each action is a Struct: a dataclass takes five to twenty times as long to make.
class EventRef(Struct, frozen=True):
    """The partner's event that a report came as; `key` is that of its row in partner_events."""

    key: bytes
    partner_id: str
    source: str
    event_id: str
    subject_key: bytes

    @property
    def subject(self) -> Subject:
        """Whom it tells of, as links know it."""
        return self.partner_id, self.subject_key


class Report(Struct, eq=False):
    """One action on its way in.

    Its id is drawn before any transaction, so that a lost answer to a COMMIT can be looked up.
    `keyed` says that the id follows from a key, so that a row with it may be there already.
    `written` is when its row was booked by a transaction whose COMMIT may have got no answer.
    `received_at` is set for what was parked: whether it came too late is decided by its arrival.
    `rivals` are people whose report it takes the claim from: their books are locked with its own.
    """

    participant_id: UUID
    id: UUID
    candidate: Candidate
    source: str
    fingerprint: bytes
    canonical: bytes
    keyed: bool
    key: str = ""
    written: datetime | None = None
    event: EventRef | None = None
    received_at: datetime | None = None
    rivals: tuple[UUID, ...] = ()

    @property
    def row(self) -> tuple[UUID, UUID]:
        """The primary key that its row of `actions` has."""
        return self.participant_id, self.id


def partner_source(partner_id: str) -> str:
    """The source of what a partner told, as its row keeps it."""
    return _PARTNER + partner_id


def partner_of(source: str) -> str | None:
    """The partner who told; None for others."""
    return source.removeprefix(_PARTNER) if source.startswith(_PARTNER) else None


def participant_report(
    participant_id: UUID,
    *,
    type_: str,
    occurred_at: datetime,
    attributes: Mapping[str, Any],
    reporter: str,
    key: str | None,
    now: datetime,
) -> Report:
    """What a person or their device reports.

    With a key the id follows from it: the key is the action's identity for ever. Without one each
    report is an action of its own.
    """
    occurred_at, kept = occurred_at.astimezone(UTC), as_stored(attributes)
    canonical = canonical_facts(type_, occurred_at, reporter, kept)
    return Report(
        participant_id,
        derived_uuid(participant_id.bytes, b"participant", key.encode()) if key else uuid7(now),
        Candidate(type_, kept, occurred_at, reporter, False, None),
        "participant",
        hashlib.blake2b(canonical, digest_size=16).digest(),
        canonical,
        key is not None,
        key or "",
    )


def partner_report(
    participant_id: UUID,
    event: EventRef,
    *,
    type_: str,
    occurred_at: datetime,
    attributes: Mapping[str, Any],
    fingerprint: bytes,
    received_at: datetime | None = None,
) -> Report:
    """What a partner's event tells of a person who is linked to it; it counts as verified."""
    occurred_at, kept = occurred_at.astimezone(UTC), as_stored(attributes)
    return Report(
        participant_id,
        derived_uuid(participant_id.bytes, b"partner", event.key),
        Candidate(type_, kept, occurred_at, "partner", True, event.partner_id),
        partner_source(event.partner_id),
        fingerprint,
        canonical_facts(type_, occurred_at, "partner", kept),
        False,
        event.event_id,
        event=event,
        received_at=received_at,
    )
