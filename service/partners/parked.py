"""Parked events: valid, but not decidable yet. They wait for a link, for a type, or for an event.

A parked event is a state of its row in partner_events, with its content and a reason; the same
row binds it later. After 30 days of the programme's time it is forgotten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from service.actions.events import EventIdReusedError
from service.actions.store import Action, read_actions
from service.partners.events import Event, content_json
from service.platform.arrays import documents
from service.platform.database import Connection, Database
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

KEPT = timedelta(days=30)
_PURGED_MAX = 2_000


class Outcome(msgspec.Struct, frozen=True):
    """What became of an event: accepted, duplicate, parked, or rejected with its error.

    `is_undone`: it was accepted and taken back at once, because its reversal had come before it.
    `waits_for`: what an operator is told of one that stays parked.
    """

    status: Literal["accepted", "duplicate", "parked", "rejected"]
    action: Action | None = None
    error: SaxaulError | None = None
    is_undone: bool = False
    waits_for: str | None = None


PARKED = Outcome("parked")


@dataclass(frozen=True, slots=True)
class Row:
    """How an event stands, read under its lock; `is_added`: its row was made a moment ago."""

    key: bytes
    state: str
    fingerprint: bytes
    participant_id: UUID | None
    action_id: UUID | None
    target_key: bytes | None
    is_added: bool

    @property
    def action(self) -> tuple[UUID, UUID] | None:
        """The key of the action that an accepted event became."""
        if self.state not in {"bound", "reversed"}:
            return None
        assert self.participant_id is not None
        assert self.action_id is not None
        return self.participant_id, self.action_id

    def holds(self, event: Event) -> bool:
        """Whether this very content was parked before this transaction."""
        is_parked = self.state == "parked" and not self.is_added
        return is_parked and self.fingerprint == event.fingerprint


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row to be made where none is: an event that is parked, or the mark of its reversal."""

    key: bytes
    event: Event
    event_id: str
    state: Literal["parked", "reversed_before"]
    reason: str | None


async def park_events(
    database: Database, events: Mapping[Event, Reason], now: datetime
) -> dict[Event, Outcome]:
    """Park these, unless they were accepted before. Constant number of statements."""
    async with database.transaction() as connection:
        rows = await hold_rows(
            connection,
            [NewRow(e.key, e, e.ref.event_id, "parked", reason) for e, reason in events.items()],
            now,
        )
        accepted = [row.action for row in rows.values() if row.action is not None]
        actions = await read_actions(connection, accepted) if accepted else {}
        outcomes: dict[Event, Outcome] = {}
        again: dict[bytes, Event] = {}
        for event in events:
            row = rows[event.key]
            standing = again[event.key].fingerprint if event.key in again else row.fingerprint
            if row.action is not None:
                outcomes[event] = known_outcome(event, row, actions[row.action])
                continue
            outcomes[event] = PARKED
            if row.state != "parked" or standing != event.fingerprint:
                again[event.key] = event
        await _park_again(connection, {e: events[e] for e in again.values()}, now)
    return outcomes


async def standing_events(database: Database, events: Sequence[Event]) -> set[Event]:
    """Those of these events that were accepted before, or are parked with this very content."""
    rows = await database.pool.fetch(_STANDING, [event.key for event in events])
    parked = {row[0]: row[1] for row in rows if row[2] == "parked"}
    accepted = {row[0] for row in rows if row[2] != "parked"}
    return {e for e in events if e.key in accepted or parked.get(e.key) == e.fingerprint}


async def standing_targets(database: Database, reversals: Sequence[Event]) -> list[Event]:
    """Those of these reversals whose event was accepted and is not taken back."""
    rows = await database.pool.fetch(_STANDING, [event.target_key for event in reversals])
    bound = {row[0] for row in rows if row[2] == "bound"}
    return [event for event in reversals if event.target_key in bound]


def known_outcome(event: Event, row: Row, action: Action) -> Outcome:
    """The answer for an event that was accepted before."""
    if row.fingerprint != event.fingerprint:
        return Outcome("rejected", error=EventIdReusedError(event.ref.event_id))
    return Outcome("duplicate", action)


async def hold_rows(
    connection: Connection, wanted: Sequence[NewRow], now: datetime
) -> dict[bytes, Row]:
    """Insert what is missing, in key order, then read all rows under their locks."""
    by_key: dict[bytes, NewRow] = {}
    for new in wanted:
        by_key.setdefault(new.key, new)
    rows: dict[bytes, Row] = {}
    missing = sorted(by_key)
    while missing:
        added = await _add(connection, [by_key[key] for key in missing], now)
        for row in await connection.fetch(_LOCK, missing):
            key, state, fingerprint, owner, action_id, target_key = row
            is_added = key in added
            rows[key] = Row(key, state, fingerprint, owner, action_id, target_key, is_added)
        # What was freed between the two statements is made again.
        missing = [key for key in missing if key not in rows]
    return rows


async def _add(connection: Connection, rows: Sequence[NewRow], now: datetime) -> set[bytes]:
    parked = [row.state == "parked" for row in rows]
    pairs = list(zip(rows, parked, strict=True))
    added = await connection.fetch(
        _ADD,
        [row.key for row in rows],
        [row.event.ref.partner_id for row in rows],
        [row.event.ref.source for row in rows],
        [row.event_id for row in rows],
        [row.event.fingerprint if is_event else b"" for row, is_event in pairs],
        [row.state for row in rows],
        [row.reason for row in rows],
        documents(
            [content_json(row.event.content) if is_event else None for row, is_event in pairs]
        ),
        [row.event.ref.subject_key if is_event else None for row, is_event in pairs],
        [row.event.target_key if is_event else None for row, is_event in pairs],
        now,
    )
    return {row[0] for row in added}


async def _park_again(
    connection: Connection, events: Mapping[Event, Reason], now: datetime
) -> None:
    """Park the content that came last: the one before was never accepted."""
    if events:
        await connection.execute(
            _PARK_AGAIN,
            [event.key for event in events],
            [event.fingerprint for event in events],
            list(events.values()),
            documents([content_json(event.content) for event in events]),
            [event.ref.subject_key for event in events],
            now,
        )


async def discard_event(connection: Connection, key: bytes) -> bool:
    """Forget a parked event's content; False when there is none. Sent again it is judged anew.

    A reversal whose event came meanwhile has taken it back, and is no longer to be discarded.
    """
    await connection.execute(_HOLD_BOTH, key)
    found: bool | None = await connection.fetchval(_DISCARD, key)
    return found is not None


async def purge_parked(connection: Connection, now: datetime) -> int:
    """Delete what was parked or discarded 30 days ago, a bounded part; how many went.

    The mark of a reversal that still waits stays with it: several may name the same event.
    """
    status = await connection.execute(_PURGE, now - KEPT, _PURGED_MAX)
    return int(status.rpartition(" ")[2])


_ADD = """
INSERT INTO partner_events (event_key, partner_id, source, event_id, fingerprint, state, reason,
    body, subject_key, target_key, received_at)
SELECT k.*, $11 FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bytea[],
    $6::text[], $7::text[], $8::text::jsonb[], $9::bytea[], $10::bytea[])
    AS k (event_key, partner_id, source, event_id, fingerprint, state, reason, body, subject_key,
        target_key)
ORDER BY k.event_key
ON CONFLICT DO NOTHING
RETURNING event_key"""

_LOCK = """
SELECT event_key, state, fingerprint, participant_id, action_id, target_key FROM partner_events
WHERE event_key = ANY($1::bytea[]) ORDER BY event_key FOR NO KEY UPDATE"""

_STANDING = """
SELECT event_key, fingerprint, state FROM partner_events
WHERE event_key = ANY($1::bytea[]) AND state IN ('parked', 'bound', 'reversed')"""

_PARK_AGAIN = """
UPDATE partner_events SET state = 'parked', fingerprint = k.fingerprint, reason = k.reason,
    body = k.body, subject_key = k.subject_key, target_key = NULL, participant_id = NULL,
    action_id = NULL, received_at = $6
FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::text::jsonb[], $5::bytea[])
    AS k (event_key, fingerprint, reason, body, subject_key)
WHERE partner_events.event_key = k.event_key"""

_HOLD_BOTH = """
SELECT FROM partner_events
WHERE event_key = $1
    OR event_key = (SELECT target_key FROM partner_events WHERE event_key = $1)
ORDER BY event_key FOR NO KEY UPDATE"""

_DISCARD = """
UPDATE partner_events e SET state = 'discarded', reason = 'by an operator', body = NULL,
    subject_key = NULL, target_key = NULL
WHERE event_key = $1 AND state = 'parked' AND NOT EXISTS (SELECT FROM partner_events t
    WHERE t.event_key = e.target_key AND t.state = 'reversed')
RETURNING true"""

_PURGE = """
DELETE FROM partner_events WHERE event_key IN (
    SELECT event_key FROM partner_events e
    WHERE received_at < $1 AND state NOT IN ('bound', 'reversed')
        AND (state <> 'reversed_before' OR NOT EXISTS (SELECT FROM partner_events r
            WHERE r.target_key = e.event_key AND r.state = 'parked'))
    LIMIT $2 FOR UPDATE SKIP LOCKED)"""
