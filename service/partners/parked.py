"""Parked events: valid, but not decidable yet. They wait for a link, for a type, or for an event.

A parked event is a state of its row in partner_events, with its content and a reason; the same
row binds it later. After 30 days of the programme's time it is forgotten.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct, structs

from service.actions.event_rows import EventRow, hold_rows, set_rows, standing_rows
from service.actions.events import EventIdReusedError
from service.actions.store import Action, read_actions
from service.partners.events import Event
from service.platform.database import Database
from service.platform.errors import SaxaulError

Reason = Literal[
    "not-linked",
    # The card was another's when this happened.
    "before-link",
    "unknown-type",
    "event-not-known",
    "on-hold",
    # What the partner was allowed when it sent the event, and is not any more.
    "event-type-not-granted",
    "source-not-allowed",
    "partner-disabled",
]


Status = Literal["accepted", "duplicate", "parked", "rejected"]


class Outcome(Struct, frozen=True):
    """What became of an event: accepted, duplicate, parked, or rejected with its error.

    `is_undone`: it was accepted and taken back at once, because its reversal had come before it.
    `waits_for`: what it waits for; operators are told, partners are not.
    """

    status: Status
    action: Action | None = None
    error: SaxaulError | None = None
    is_undone: bool = False
    waits_for: str | None = None


PARKED = Outcome("parked")


def waits(reason: Reason) -> Outcome:
    """What must wait, and for what."""
    return Outcome("parked", waits_for=reason)


def parked_row(event: Event, reason: str) -> EventRow:
    """The row of an event that waits; an erasure finds by its subject who is named in it.

    Its time is in UTC: PostgreSQL reads no offset of 16 hours and more, which RFC 3339 allows.
    """
    time = event.content.time and event.content.time.astimezone(UTC)
    return EventRow(
        "parked",
        event.fingerprint,
        target_key=event.target_key,
        reason=reason,
        body=structs.asdict(event.content) | {"time": time},
        subject_key=event.ref.subject_key,
    )


async def park_events(
    database: Database, events: Mapping[Event, str], now: datetime
) -> dict[Event, Outcome]:
    """Park these, unless they were accepted before. Constant number of statements."""
    async with database.transaction() as connection:
        parked = [(event.ref, parked_row(event, reason)) for event, reason in events.items()]
        rows = await hold_rows(connection, parked, now)
        accepted = [row.action for row in rows.values() if row.action is not None]
        actions = await read_actions(connection, accepted) if accepted else {}
        outcomes: dict[Event, Outcome] = {}
        again: dict[bytes, EventRow] = {}
        for event, (_, wanted) in zip(events, parked, strict=True):
            row = rows[event.key]
            if row.action is not None:
                outcomes[event] = known_outcome(event, row, actions[row.action])
                continue
            outcomes[event] = PARKED
            standing = again.get(event.key, row)
            if standing.state != "parked" or standing.fingerprint != event.fingerprint:
                # What came last is parked: the content before was never accepted.
                again[event.key] = wanted
        await set_rows(connection, again, now)
    return outcomes


async def standing_events(database: Database, events: Sequence[Event]) -> set[Event]:
    """Those of these events that were accepted before, or are parked with this very content."""
    rows = await standing_rows(database.pool, [event.key for event in events])
    parked = {key: fingerprint for key, (state, fingerprint) in rows.items() if state == "parked"}
    return {
        e for e in events if e.key in rows and parked.get(e.key, e.fingerprint) == e.fingerprint
    }


async def standing_targets(database: Database, reversals: Sequence[Event]) -> list[Event]:
    """Those of these reversals whose event was accepted and is not taken back."""
    rows = await standing_rows(database.pool, [event.target_key for event in reversals])
    bound = {key for key, (state, _) in rows.items() if state == "bound"}
    return [event for event in reversals if event.target_key in bound]


def known_outcome(event: Event, row: EventRow, action: Action) -> Outcome:
    """The answer for an event that was accepted before."""
    if row.fingerprint != event.fingerprint:
        return Outcome("rejected", error=EventIdReusedError(event.ref.event_id))
    return Outcome("duplicate", action)
