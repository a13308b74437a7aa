"""Claims: a box, a ticket, a meter's month is paid once, over all people.

Bound in key order before it is known who of a batch gets them, and settled in the same transaction
with whoever was paid; what nobody got is free again. What a partner verified takes a claim over
from what nobody had verified: that one is reversed, under the lock of its own book.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from service.actions.refusals import AlreadyClaimedError
from service.actions.report import Report
from service.actions.reverse import AlreadyReversedError, Reversals, Undo
from service.actions.store import Action, RowKey, read_actions
from service.ledger.books import Book, ParticipantErasedError, book_writes
from service.ledger.orders import Batch
from service.platform.arrays import Columns
from service.platform.database import Connection, write_all
from service.platform.errors import SaxaulError
from service.rules.decide.standing import Standing, stored_uses

_Row = tuple[UUID, UUID, bytes | None]
"""What a claim holds: a row of `actions`, and the key that it names where that is another one."""

REASON = "A partner verified this; what was only typed does not count beside it."


class Held(NamedTuple):
    """Who holds a claim, and since when."""

    participant_id: UUID
    action_id: UUID
    bound_at: datetime


@dataclass(slots=True)
class Claims:
    """Claims of a batch: bound for the first report that wants one, settled with whoever got it.

    The first key of a report is the one that its action names. `rivals` are actions which hold what
    is wanted and which nobody verified.
    """

    keys: Mapping[Report, Sequence[bytes]] = field(default_factory=dict)
    bound: dict[bytes, Report] = field(default_factory=dict)
    held: dict[bytes, Held] = field(default_factory=dict)
    rivals: dict[bytes, Action] = field(default_factory=dict)
    taken: dict[bytes, Report] = field(default_factory=dict)
    beaten: dict[RowKey, str] = field(default_factory=dict)

    def main_key(self, report: Report) -> bytes:
        """What its action names; nothing when it wants nothing."""
        keys = self.keys.get(report)
        return keys[0] if keys else b""

    def rows_of(self, claimed: Mapping[bytes, Report]) -> dict[bytes, _Row]:
        """What the claims of these reports hold."""
        named = {report: self.main_key(report) for report in claimed.values()}
        return {k: (*r.row, named[r] if named[r] != k else None) for k, r in claimed.items()}

    def refusal(self, report: Report) -> SaxaulError | None:
        """Why this report is not paid: what it claims was, and that cannot be taken over."""
        holder = self.held.get(self.main_key(report)) if self.held else None
        if holder is None or (report.candidate.verified and self.main_key(report) in self.rivals):
            return None
        return AlreadyClaimedError(holder.bound_at)

    def rivals_of(self, report: Report) -> list[Action]:
        """What is taken back when this report is accepted."""
        if not self.rivals or not report.candidate.verified:
            return []
        return [self.rivals[key] for key in self.keys.get(report, ()) if key in self.rivals]

    def must_wait(self, report: Report, books: Mapping[UUID, Book]) -> bool:
        """Whether another transaction decides: a twin of the batch may be paid, or not, before it.

        Or the book of a rival is not locked; the report then remembers whose it is.
        """
        if report not in self.keys:
            return False
        owners = {rival.participant_id for rival in self.rivals_of(report)}
        report.rivals = tuple(owners.difference(books))
        return bool(report.rivals) or any(key in self.taken for key in self.keys.get(report, ()))

    def take(self, report: Report, standings: Mapping[UUID, Standing]) -> None:
        """This report is accepted, and its rules give something.

        What the rivals had used of limits, and their minutes, are free from here on.
        """
        for key in self.keys.get(report, ()):
            if key not in self.held or key in self.rivals:
                self.taken[key] = report
        for rival in self.rivals_of(report):
            self.beaten[rival.participant_id, rival.id] = report.source
            if standing := standings.get(rival.participant_id):
                standing.forget(rival.occurred_at, rival.id)
                for award in rival.awards:
                    standing.give_back(stored_uses(award["counters"]))

    async def take_over(self, connection: Connection, batch: Batch) -> None:
        """Take back what was beaten, before anything is posted; in a closed book nothing moves."""
        if not self.beaten:
            return
        reversals = Reversals(batch)
        await reversals.read(connection, self.beaten)
        for row, source in self.beaten.items():
            with suppress(ParticipantErasedError, AlreadyReversedError):
                reversals.take_back(Undo(*row, REASON, source, "partner"))
        books = {owner: batch.books[owner] for owner, _ in self.beaten}
        await write_all(connection, [*reversals.writes(), *book_writes([*books.values()])])
        for book in books.values():
            # It is written: what the batch posts from here on goes behind it.
            book.posted.clear()

    async def settle(
        self, connection: Connection, actions: Mapping[RowKey, Action], now: datetime
    ) -> None:
        """Free what nobody got or was paid for; give the rest to whom it went."""
        paid = {k: r for k, r in self.taken.items() if actions[r.row].claim_key is not None}
        free = [key for key in self.bound if key not in paid and key not in self.held]
        if free:
            await connection.execute("DELETE FROM claims WHERE claim_key = ANY($1::bytea[])", free)
        moved = {k: r for k, r in paid.items() if self.bound[k] is not r or k in self.held}
        if moved:
            await connection.execute(_MOVE, *_values(self.rows_of(moved)), now)


async def bind_claims(
    connection: Connection, wanted: Mapping[Report, Sequence[bytes]], now: datetime
) -> Claims:
    """Bind each claim for the first report that wants it; `wanted` in order of arrival."""
    claims = Claims(wanted)
    for report, keys in wanted.items():
        for key in keys:
            claims.bound.setdefault(key, report)
    if not claims.bound:
        return claims
    claims.held = await hold_claims(connection, claims.rows_of(claims.bound), now)
    asked = {
        key: claims.held[key][:2]
        for report, keys in wanted.items()
        for key in keys
        if report.candidate.verified and key in claims.held
    }
    if asked:
        holders = await read_actions(connection, set(asked.values()))
        claims.rivals = {
            key: rival
            for key, row in asked.items()
            if (rival := holders.get(row)) and not rival.verified
        }
    return claims


async def hold_claims(
    connection: Connection, wanted: Mapping[bytes, _Row], now: datetime
) -> dict[bytes, Held]:
    """Bind in key order, in one statement; give back what others hold."""
    held: dict[bytes, Held] = {}
    missing = sorted(wanted)
    while missing:
        values = _values({key: wanted[key] for key in missing})
        await connection.execute(_BIND + "DO NOTHING", *values, now)
        rows = await connection.fetch(_READ, missing)
        held |= {row[0]: Held(*row[1:]) for row in rows if tuple(row[1:3]) != wanted[row[0]][:2]}
        # A holder that was reversed between the two statements has freed its claim: bind again.
        missing = sorted(set(missing) - {row[0] for row in rows})
    return held


def _values(rows: Mapping[bytes, _Row]) -> tuple[object, ...]:
    return _CLAIMS.values([(key, *row) for key, row in rows.items()])


_CLAIMS = Columns("claim_key bytea, participant_id uuid, action_id uuid, of_key bytea")

_BIND = f"""
INSERT INTO claims ({_CLAIMS.names}, bound_at)
SELECT d.*, $5 FROM {_CLAIMS.rows} ORDER BY d.claim_key
ON CONFLICT (claim_key) """  # noqa: S608 - constant columns

_MOVE = (
    _BIND
    + """DO UPDATE SET participant_id = excluded.participant_id, action_id = excluded.action_id,
    of_key = excluded.of_key, bound_at = excluded.bound_at"""
)

_READ = """
SELECT claim_key, participant_id, action_id, bound_at FROM claims
WHERE claim_key = ANY($1::bytea[])"""
