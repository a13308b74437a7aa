"""Reversals by partners: an event of theirs takes back what another one of theirs gave.

Event and reversal meet at the event's row: whoever comes second sees the first. A reversal that
comes first leaves its mark there and is parked; the event then is awarded and taken back at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from msgspec import structs

from service.actions.event_rows import EventRow, free_rows, hold_rows, owners_of, set_rows
from service.actions.events import EventIdReusedError
from service.actions.refusals import ActionRefusedError
from service.actions.reverse import Reversal, Undo, Undoing, reverse_actions
from service.actions.store import RowKey, read_actions, reversal_key
from service.http.faults import fault
from service.ledger.books import lock_books
from service.partners.events import Event, EventInvalidError
from service.partners.parked import PARKED, Outcome, Status, parked_row
from service.platform.database import Connection, Database, is_passing
from service.platform.errors import SaxaulError, UnavailableError

CHUNK = 200
_TRIES_MAX = 3

_log = structlog.get_logger(__name__)


class _TargetMovedError(Exception):
    """An event was bound after its owner was looked up; the transaction starts again."""


class PersonGoneError(ActionRefusedError):
    """Whose action it is was erased; nothing moves in that book. Partners are not told of it."""

    reason = "too-late"
    text = "What this event gave can no longer be taken back."


@dataclass(slots=True)
class _Chunk:
    """What one transaction decides on; `changes` are rows as they stand afterwards.

    `given` are the actions that reversals became, now or before.
    """

    rows: dict[bytes, EventRow]
    outcomes: dict[Event, Outcome] = field(default_factory=dict)
    undos: dict[bytes, tuple[Undo, Event]] = field(default_factory=dict)
    given: dict[Event, tuple[Status, RowKey]] = field(default_factory=dict)
    changes: dict[bytes, EventRow] = field(default_factory=dict)
    free: set[bytes] = field(default_factory=set)


async def reverse_events(
    database: Database, events: Sequence[Event], undoing: Undoing
) -> dict[Event, Outcome]:
    """Take back what these reversals name, or park them until their event comes."""
    outcomes: dict[Event, Outcome] = {}
    waiting = list(events)
    while waiting:
        # One that comes twice meets its own row in the next transaction.
        once: dict[bytes, Event] = {}
        for event in waiting:
            if len(once) < CHUNK:
                once.setdefault(event.key, event)
        outcomes |= await _reverse_chunk(database, [*once.values()], undoing)
        waiting = [event for event in waiting if event not in outcomes]
    return outcomes


async def _reverse_chunk(
    database: Database, events: Sequence[Event], undoing: Undoing
) -> dict[Event, Outcome]:
    failed: Exception | None = None
    for attempt in range(1, _TRIES_MAX + 1):
        try:
            async with database.transaction() as connection:
                return await _reverse(connection, events, undoing)
        except Exception as error:
            # What passes by itself undid the whole transaction: the same reversals are run again.
            if not (isinstance(error, _TargetMovedError) or is_passing(error)):
                raise
            failed = error
            _log.warning("reversals_run_again", attempt=attempt, error=repr(error))
    text = "The events to be taken back could not be held; send it again."
    raise UnavailableError(text) from failed


async def _reverse(
    connection: Connection, events: Sequence[Event], undoing: Undoing
) -> dict[Event, Outcome]:
    owners = await owners_of(connection, [event.target_key for event in events])
    books = await lock_books(connection, owners)
    chunk = _Chunk(await _hold(connection, events, undoing.now))
    for event in events:
        _decide(chunk, event, set(books))
    undos = [undo for undo, _ in chunk.undos.values()]
    done = await reverse_actions(connection, books, undos, undoing) if undos else {}
    for target_key, (undo, event) in chunk.undos.items():
        _settle(chunk, target_key, event, done[undo])
    keys = {key for _, key in chunk.given.values()}
    actions = await read_actions(connection, keys) if keys else {}
    for event, (status, key) in chunk.given.items():
        chunk.outcomes[event] = Outcome(status, actions[key])
        chunk.changes[event.key] = EventRow("bound", event.fingerprint, *key, event.target_key)
    await free_rows(connection, chunk.free)
    await set_rows(connection, chunk.changes, undoing.now)
    return {event: chunk.outcomes[event] for event in events}


async def _hold(
    connection: Connection, events: Sequence[Event], now: datetime
) -> dict[bytes, EventRow]:
    """The rows of the reversals, and those of the events that they name, all under lock."""
    wanted = [(event.ref, parked_row(event, "event-not-known")) for event in events]
    for event in events:
        named = event.content.data["event_id"]
        target = structs.replace(event.ref, key=event.target_key, event_id=named)
        wanted.append((target, EventRow("reversed_before")))
    return await hold_rows(connection, wanted, now)


def _decide(chunk: _Chunk, event: Event, owners: set[UUID]) -> None:
    """What becomes of one reversal, as far as its row and the event's tell."""
    assert event.target_key is not None
    row, target = chunk.rows[event.key], chunk.rows[event.target_key]
    if row.action is not None:
        if row.fingerprint == event.fingerprint:
            chunk.given[event] = ("duplicate", row.action)
        else:
            error = EventIdReusedError(event.ref.event_id)
            chunk.outcomes[event] = Outcome("rejected", error=error)
        return
    if event.received_at is not None and not row.is_parked(event.fingerprint):
        # Discarded, forgotten or mended since it was read for its release.
        chunk.outcomes[event] = PARKED
        if row.is_added:
            chunk.free.add(event.key)
    elif target.target_key is not None:
        detail = "must be the id of an event that was no reversal"
        place = "#/attributes/event_id"
        _reject(chunk, event, fault(place, detail, "data.event_id", EventInvalidError))
    elif target.action and (target.state == "reversed" or event.target_key in chunk.undos):
        chunk.given[event] = ("duplicate", reversal_key(target.action))
    elif target.action is None:
        chunk.outcomes[event] = PARKED
        if not row.is_added and (row.state != "parked" or row.fingerprint != event.fingerprint):
            chunk.changes[event.key] = parked_row(event, "event-not-known")
    elif target.action[0] not in owners:
        raise _TargetMovedError
    else:
        undo = Undo(*target.action, event.content.data["reason"])
        chunk.undos[event.target_key] = (undo, event)


def _settle(chunk: _Chunk, target_key: bytes, event: Event, done: Reversal | SaxaulError) -> None:
    target = chunk.rows[target_key]
    if isinstance(done, SaxaulError):
        for refused in [event, *(e for e in chunk.given if e.target_key == target_key)]:
            chunk.given.pop(refused, None)
            _reject(chunk, refused, PersonGoneError())
        return
    chunk.changes[target_key] = target._replace(state="reversed")
    status: Status = "duplicate" if done.is_repeated else "accepted"
    chunk.given[event] = (status, done.row.key)


def _reject(chunk: _Chunk, event: Event, error: SaxaulError) -> None:
    """Final for this content: the reversal's row goes, and the mark that it may just have made.

    Of one that waited nobody hears an answer: its row stays, and tells why.
    """
    assert event.target_key is not None
    chunk.outcomes[event] = Outcome("rejected", error=error)
    if event.received_at is None:
        chunk.free.add(event.key)
    else:
        reason = f"{error.code}: {error.detail}"
        chunk.changes[event.key] = EventRow("discarded", event.fingerprint, reason=reason)
    target = chunk.rows[event.target_key]
    if target.is_added and target.state == "reversed_before":
        chunk.free.add(event.target_key)
