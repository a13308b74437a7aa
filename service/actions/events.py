"""Partners' events: each is bound to one person for ever before anything is awarded for it.

A row of `partner_events` is inserted first, then read under its lock, after the books and before
the claims, all in key order: whoever meets it - the event again, the event after its subject was
linked to somebody else, its reversal - waits and then sees how it stands. Runs inside the batch's
transaction, so that what is refused leaves no row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from service.actions.refusals import UnknownActionTypeError
from service.actions.report import EventRef, Report
from service.actions.store import Action, reversal_id
from service.ledger.books import SuspendedError
from service.platform.arrays import uuids
from service.platform.database import Connection
from service.platform.errors import BookClosedError, ConflictError, SaxaulError, UnavailableError

RowKey = tuple[UUID, UUID]
"""A row of `actions`: the participant's id and the action's."""

Links = dict[tuple[str, bytes], tuple[UUID, datetime | None]]
"""Partner and subject -> the person; what happened before the time beside was another's."""

# What refuses an event now and may not tomorrow: it says nothing of the event's content.
_PASSING = (SuspendedError, BookClosedError, UnknownActionTypeError)


class EventIdReusedError(SaxaulError):
    """The event's id was accepted with other content."""

    code = "event-id-reused"
    text = "Event {event_id:.200} was accepted with other content; use a new id."
    event_id: str


class LinkChangedError(UnavailableError):
    """The subject is not linked to this person any more; nothing was stored."""

    text = "The link was changed meanwhile; send the event again."


class StillParkedError(ConflictError):
    """The same event is parked, and its release decides."""

    text = "The event is parked."


class _Row(NamedTuple):
    """How an event stands, read under its lock."""

    key: bytes
    state: str
    fingerprint: bytes
    participant_id: UUID | None
    action_id: UUID | None

    @property
    def is_bound(self) -> bool:
        return self.state in {"bound", "reversed"}

    @property
    def action(self) -> RowKey:
        """Whose action it became."""
        assert self.participant_id is not None
        assert self.action_id is not None
        return self.participant_id, self.action_id


@dataclass(slots=True)
class BoundEvents:
    """The events of a batch; without any, it does nothing."""

    now: datetime
    rows: dict[bytes, _Row] = field(default_factory=dict)
    added: dict[bytes, RowKey] = field(default_factory=dict)
    links: Links = field(default_factory=dict)
    reasons: dict[bytes, str] = field(default_factory=dict)
    taken: dict[bytes, Report] = field(default_factory=dict)
    discarded: dict[bytes, str] = field(default_factory=dict)

    def actions(self, reports: Sequence[Report]) -> set[RowKey]:
        """The rows that tell of events which were accepted before, and of their reversals."""
        bound = [row.action for report in reports if (row := self._bound(report)) is not None]
        return {*bound, *[(owner, reversal_id(action_id)) for owner, action_id in bound]}

    def outcome(
        self, report: Report, known: Mapping[RowKey, Action]
    ) -> tuple[Action, Action | None] | SaxaulError | None:
        """The action of an event that was accepted before, and what reversed it since.

        Or why it is not accepted; None when it must be judged.
        """
        event = report.event
        if event is None:
            return None
        row = self._bound(report)
        if row is not None:
            if row.fingerprint != report.fingerprint:
                return EventIdReusedError(event.event_id)
            bound_to, action_id = row.action
            return known[row.action], known.get((bound_to, reversal_id(action_id)))
        if report.received_at is not None and not self._is_waiting(report):
            return StillParkedError()
        first = self.taken.get(event.key)
        if first is not None and first.row != report.row:
            return EventIdReusedError(event.event_id)
        owner, since = linked_to(self.links, event)
        happened = report.candidate.occurred_at
        if owner != report.participant_id or (since is not None and happened < since):
            return LinkChangedError()
        return None

    def refused(self, report: Report, error: SaxaulError) -> SaxaulError:
        """What a refusal means for an event: one that is parked is decided by its release alone."""
        if report.event is None:
            return error
        key = report.event.key
        row = self.rows[key]
        if row.state != "parked":
            return error
        if report.received_at is not None:
            if not isinstance(error, _PASSING):
                self.discarded[key] = f"{error.code}: {error.detail}"
        elif row.fingerprint == report.fingerprint:
            return StillParkedError()
        return error

    def take(self, report: Report) -> None:
        """This report is accepted."""
        if report.event is not None:
            self.taken[report.event.key] = report

    def reversal_reason(self, report: Report) -> str | None:
        """Why the event is taken back at once: its reversal came before it."""
        return self.reasons.get(report.event.key) if report.event is not None else None

    def _bound(self, report: Report) -> _Row | None:
        """The row of an event that was accepted by an earlier transaction."""
        row = self.rows.get(report.event.key) if report.event is not None else None
        if row is None or row.key in self.added or not row.is_bound:
            return None
        return row

    def _is_waiting(self, report: Report) -> bool:
        """Whether what is to be released still is what is parked.

        Since it was read it may have been discarded, forgotten, or replaced by mended content.
        """
        assert report.event is not None
        row = self.rows[report.event.key]
        return row.state == "parked" and row.fingerprint == report.fingerprint

    async def settle(self, connection: Connection) -> None:
        """Leave each row as its event stands now; what nobody got is free again."""
        free = [key for key in self.added if key not in self.taken]
        if free:
            await connection.execute(_FREE, free)
        # Its row may have been made for other content of the batch under its id, which was refused.
        changed = [
            r
            for key, r in self.taken.items()
            if self.added.get(key) != r.row or self.rows[key].fingerprint != r.fingerprint
        ]
        if changed:
            keys = [report.event.key for report in changed if report.event]
            await connection.execute(
                _REBIND,
                keys,
                ["reversed" if key in self.reasons else "bound" for key in keys],
                [report.fingerprint for report in changed],
                [report.participant_id for report in changed],
                [report.id for report in changed],
            )
        gone = {key: why for key, why in self.discarded.items() if key not in self.taken}
        if gone:
            await connection.execute(_DISCARD, list(gone), list(gone.values()))


async def bind_events(
    connection: Connection, reports: Sequence[Report], now: datetime
) -> BoundEvents:
    """Bind the events among these reports, whose books are locked, and read how they stand."""
    bound = BoundEvents(now)
    wanted: dict[bytes, Report] = {}
    for report in reports:
        if report.event is not None:
            wanted.setdefault(report.event.key, report)
    if not wanted:
        return bound
    # A link is changed under its person's book only, and these are locked.
    bound.links = await read_links(connection, [r.event for r in reports if r.event is not None])
    missing = sorted(wanted)
    while missing:
        added = await _add(connection, [wanted[key] for key in missing], now)
        bound.added |= {key: wanted[key].row for key in added}
        bound.rows |= {key: _new_row(key, wanted[key]) for key in added}
        # Nobody else sees what was just added, so it needs no lock.
        there = [key for key in missing if key not in bound.rows]
        rows = await connection.fetch(_LOCK, there) if there else []
        bound.rows |= {row[0]: _Row(*row) for row in rows}
        # What was freed between the two statements is bound again.
        missing = [key for key in there if key not in bound.rows]
    before = [key for key, row in bound.rows.items() if row.state == "reversed_before"]
    if before:
        bound.reasons = {row[0]: row[1] for row in await connection.fetch(_REASONS, before)}
    return bound


def _new_row(key: bytes, report: Report) -> _Row:
    """The row as `_ADD` makes it."""
    return _Row(key, "bound", report.fingerprint, *report.row)


async def _add(connection: Connection, reports: Sequence[Report], now: datetime) -> list[bytes]:
    events = [report.event for report in reports if report.event is not None]
    rows = await connection.fetch(
        _ADD,
        [event.key for event in events],
        [event.partner_id for event in events],
        [event.source for event in events],
        [event.event_id for event in events],
        [report.fingerprint for report in reports],
        uuids([report.participant_id for report in reports]),
        uuids([report.id for report in reports]),
        now,
    )
    return [row[0] for row in rows]


async def read_links(connection: Connection | asyncpg.Pool, events: Sequence[EventRef]) -> Links:
    """Who these subjects are now, and since when."""
    subjects = list({(event.partner_id, event.subject_key) for event in events})
    rows = await connection.fetch(_LINKS, [s[0] for s in subjects], [s[1] for s in subjects])
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


def linked_to(links: Links, event: EventRef) -> tuple[UUID | None, datetime | None]:
    """Who this event's subject is, and before when it was another's."""
    return links.get((event.partner_id, event.subject_key), (None, None))


_LINKS = """
SELECT l.partner_id, l.subject_key, l.participant_id, l.since
FROM unnest($1::text[], $2::bytea[]) AS k (partner_id, subject_key)
JOIN links l ON l.partner_id = k.partner_id AND l.subject_key = k.subject_key
    AND l.ended_at IS NULL"""

_ADD = """
INSERT INTO partner_events (event_key, partner_id, source, event_id, fingerprint,
    participant_id, action_id, state, received_at)
SELECT k.*, 'bound', $8 FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bytea[],
    $6::text::uuid[], $7::text::uuid[])
    AS k (event_key, partner_id, source, event_id, fingerprint, participant_id, action_id)
ORDER BY k.event_key
ON CONFLICT DO NOTHING
RETURNING event_key"""

_LOCK = """
SELECT event_key, state, fingerprint, participant_id, action_id FROM partner_events
WHERE event_key = ANY($1::bytea[]) ORDER BY event_key FOR NO KEY UPDATE"""

_REASONS = """
SELECT target_key, min(body -> 'data' ->> 'reason') FROM partner_events
WHERE target_key = ANY($1::bytea[]) AND state = 'parked' GROUP BY 1"""

_FREE = "DELETE FROM partner_events WHERE event_key = ANY($1::bytea[])"

_REBIND = """
UPDATE partner_events SET state = k.state, fingerprint = k.fingerprint,
    participant_id = k.participant_id, action_id = k.action_id,
    reason = NULL, body = NULL, subject_key = NULL, target_key = NULL
FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::uuid[], $5::uuid[])
    AS k (event_key, state, fingerprint, participant_id, action_id)
WHERE partner_events.event_key = k.event_key"""

_DISCARD = """
UPDATE partner_events SET state = 'discarded', reason = k.reason, body = NULL, subject_key = NULL
FROM unnest($1::bytea[], $2::text[]) AS k (event_key, reason)
WHERE partner_events.event_key = k.event_key"""
