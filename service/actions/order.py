"""From what an app or a partner sends to an order: its id is drawn before any lock."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.actions.facts import canonical_facts
from service.actions.record import Recording
from service.actions.report import EventRef, Report, partner_source
from service.platform.canonical import as_stored
from service.platform.ids import derived_uuid, uuid7
from service.rules.decide.judge import Candidate


class RecordOrder(Report):
    """Records the action of a report."""

    work = Recording


def participant_report(
    participant_id: UUID,
    *,
    type_: str,
    occurred_at: datetime,
    attributes: Mapping[str, Any],
    reporter: str,
    key: str | None,
    now: datetime,
) -> RecordOrder:
    """What a person or their device reports.

    With a key the id follows from it: the key is the action's identity for ever. Without one each
    report is an action of its own.
    """
    occurred_at, kept = occurred_at.astimezone(UTC), as_stored(attributes)
    canonical = canonical_facts(type_, occurred_at, reporter, kept)
    return RecordOrder(
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
) -> RecordOrder:
    """What a partner's event tells of a person who is linked to it; it counts as verified."""
    occurred_at, kept = occurred_at.astimezone(UTC), as_stored(attributes)
    return RecordOrder(
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
