"""Reversals by partners: an event of theirs takes back what another one of theirs gave.

Event and reversal meet at the event's row: whoever comes second sees the first. A reversal that
comes first leaves its mark there and is parked; the event then is awarded and taken back at once.
"""

from collections.abc import Sequence
from uuid import UUID

from msgspec import structs

from service.actions.event_rows import EventRow, free_rows, hold_rows, set_rows
from service.actions.refusals import ActionRefusedError
from service.actions.report import partner_source
from service.actions.reverse import ActionMissingError, AlreadyReversedError, Reversals, Undo
from service.actions.store import reversal_key
from service.http.faults import fault
from service.ledger.books import ParticipantErasedError
from service.ledger.orders import Order, Work
from service.partners.events import Event, EventInvalidError
from service.partners.parked import PARKED, Outcome, Status, known_outcome, parked_row
from service.platform.database import Connection, Write
from service.platform.errors import SaxaulError, UnavailableError


class TargetMovedError(UnavailableError):
    """An event was bound after its owner was looked up."""

    text = "The events to be taken back could not be held; send it again."


class PersonGoneError(ActionRefusedError):
    """Whose action it is was erased; nothing moves in that book. Partners are not told of it."""

    reason = "too-late"
    text = "What this event gave can no longer be taken back."


class TakingBack(Work):
    """Decides on the reversals of one batch; rows of events are locked behind the books."""

    rank = 0
    mixes = False

    async def read(self, connection: Connection, orders: Sequence["TakeBackOrder"]) -> None:
        """The rows of the reversals, those of the events that they name, and what these gave."""
        self._reversals = Reversals(self.batch)
        self._changed: dict[bytes, EventRow] = {}
        self._free: set[bytes] = set()
        events = [order.event for order in orders]
        wanted = [(event.ref, parked_row(event, "event-not-known")) for event in events]
        for event in events:
            named = event.content.data["event_id"]
            target = structs.replace(event.ref, key=event.target_key, event_id=named)
            wanted.append((target, EventRow("reversed_before")))
        self._rows = await hold_rows(connection, wanted, self.batch.now)
        given = {row.action for row in self._rows.values() if row.action is not None}
        await self._reversals.read(connection, given)

    def decide(self, order: "TakeBackOrder") -> Outcome:
        """Take back what the event gave, or wait for it. Raises TargetMovedError."""
        event = order.event
        assert event.target_key is not None
        row, target = self._rows[event.key], self._rows[event.target_key]
        if row.action is not None:
            return known_outcome(event, row, self._reversals.known[row.action])
        if event.received_at is not None and not row.is_parked(event.fingerprint):
            # Discarded, forgotten or mended since it was read for its release.
            if row.is_added:
                self._free.add(event.key)
            return PARKED
        if target.target_key is not None:
            detail = "must be the id of an event that was no reversal"
            place = "#/attributes/event_id"
            return self._reject(event, fault(place, detail, "data.event_id", EventInvalidError))
        if target.action is None:
            if row.state != "parked" or row.fingerprint != event.fingerprint:
                self._set(event.key, parked_row(event, "event-not-known"))
            return PARKED
        return self._take_back(event, target)

    def _take_back(self, event: Event, target: EventRow) -> Outcome:
        assert event.target_key is not None
        assert target.action is not None
        status: Status = "duplicate"
        if target.state == "reversed":
            reversal = self._reversals.known[reversal_key(target.action)]
        elif target.action[0] not in self.batch.books:
            raise TargetMovedError
        else:
            source, reason = partner_source(event.ref.partner_id), event.content.data["reason"]
            try:
                undo = Undo(*target.action, reason, source, "partner")
                status, reversal = "accepted", self._reversals.take_back(undo).row
            except AlreadyReversedError as error:
                reversal = error.earlier
            except (ActionMissingError, ParticipantErasedError):
                return self._reject(event, PersonGoneError())
            self._set(event.target_key, target._replace(state="reversed"))
        bound = EventRow("bound", event.fingerprint, *reversal.key, event.target_key)
        self._set(event.key, bound)
        return Outcome(status, reversal)

    def _reject(self, event: Event, error: SaxaulError) -> Outcome:
        """Final for this content: the reversal's row goes.

        Of one that waited nobody hears an answer: its row stays, and tells why.
        """
        if event.received_at is None:
            self._free.add(event.key)
        else:
            reason = f"{error.code}: {error.detail}"
            self._set(event.key, EventRow("discarded", event.fingerprint, reason=reason))
        return Outcome("rejected", error=error)

    def _set(self, key: bytes, row: EventRow) -> None:
        self._rows[key] = self._changed[key] = row
        self._free.discard(key)

    async def finish(self, connection: Connection) -> list[Write]:
        """Let the events stand as they were decided."""
        await free_rows(connection, self._free)
        await set_rows(connection, self._changed, self.batch.now)
        return self._reversals.writes()


class TakeBackOrder(Order):
    """Takes back what a partner's event gave to this person; to nobody, as far as was known."""

    work = TakingBack
    event: Event
    is_nobodys: bool = False

    @property
    def people(self) -> tuple[UUID, ...]:
        """Whose book is locked."""
        return () if self.is_nobodys else (self.participant_id,)
