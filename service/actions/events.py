"""Partners' events: each is bound to one person for ever before anything is awarded for it.

A row of `partner_events` is inserted first, then read under its lock, after the books and before
the claims, all in key order: whoever meets it - the event again, the event after its subject was
linked to somebody else, its reversal - waits and then sees how it stands. Runs inside the batch's
transaction, so that what is refused leaves no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from service.actions.event_rows import EventRow, free_rows, hold_rows, reversal_reasons, set_rows
from service.actions.refusals import UnknownActionTypeError
from service.actions.report import Report
from service.actions.store import RowKey
from service.ledger.books import SuspendedError
from service.participants.links import Links, read_links
from service.platform.database import Connection
from service.platform.errors import BookClosedError, ConflictError, SaxaulError, UnavailableError

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


@dataclass(slots=True)
class BoundEvents:
    """The events of a batch; without any, it does nothing."""

    now: datetime
    rows: dict[bytes, EventRow] = field(default_factory=dict)
    links: Links = field(default_factory=dict)
    reasons: dict[bytes, str] = field(default_factory=dict)
    taken: dict[bytes, Report] = field(default_factory=dict)
    discarded: dict[bytes, str] = field(default_factory=dict)

    def actions(self, reports: Sequence[Report]) -> set[RowKey]:
        """The rows of events which were accepted before."""
        return {key for report in reports if (key := self._accepted_as(report)) is not None}

    def outcome(self, report: Report) -> RowKey | SaxaulError | None:
        """The action of an event that was accepted before, or why it is not accepted.

        None when it must be judged.
        """
        event = report.event
        if event is None:
            return None
        row = self.rows[event.key]
        accepted = self._accepted_as(report)
        if accepted is not None:
            if row.fingerprint != report.fingerprint:
                return EventIdReusedError(event.event_id)
            return accepted
        if report.received_at is not None and not row.is_parked(report.fingerprint):
            # Since it was read it was discarded, forgotten, or replaced by mended content.
            return StillParkedError()
        first = self.taken.get(event.key)
        if first is not None and first.row != report.row:
            return EventIdReusedError(event.event_id)
        owner, since = self.links[event.subject]
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

    def _accepted_as(self, report: Report) -> RowKey | None:
        """The action of an event that was accepted by an earlier transaction."""
        row = self.rows[report.event.key] if report.event is not None else None
        return row.action if row is not None and not row.is_added else None

    async def settle(self, connection: Connection) -> None:
        """Leave each row as its event stands now; what nobody got is free again."""
        await free_rows(
            connection, [k for k, row in self.rows.items() if row.is_added and k not in self.taken]
        )
        changed = {
            key: self.rows[key]._replace(state="discarded", reason=why)
            for key, why in self.discarded.items()
        }
        for key, report in self.taken.items():
            row = _accepted(report, "reversed" if key in self.reasons else "bound")
            # It may have been made for other content of the batch under its id, which was refused.
            if self.rows[key] != row:
                changed[key] = row
        await set_rows(connection, changed, self.now)


def _accepted(report: Report, state: str) -> EventRow:
    return EventRow(state, report.fingerprint, *report.row, None, None, None, None, True)


async def bind_events(
    connection: Connection, reports: Sequence[Report], now: datetime
) -> BoundEvents:
    """Bind the events among these reports, whose books are locked, and read how they stand."""
    bound = BoundEvents(now)
    events = {report: report.event for report in reports if report.event is not None}
    if not events:
        return bound
    # A link is changed under its person's book only, and these are locked.
    bound.links = await read_links(connection, [event.subject for event in events.values()])
    bound.rows = await hold_rows(
        connection,
        [(e, _accepted(report, "bound")) for report, e in events.items()],
        now,
    )
    before = [key for key, row in bound.rows.items() if row.state == "reversed_before"]
    bound.reasons = await reversal_reasons(connection, before)
    return bound
