"""Claims: a box, a ticket, a meter's month is paid once, over all people.

Bound in key order before it is known who of a batch gets them, and settled in the same transaction
with whoever was paid; what nobody got is free again. What a partner verified takes a claim over
from what nobody had verified: that one is reversed, under the lock of its own book.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from service.actions.refusals import AlreadyClaimedError
from service.actions.report import Report
from service.actions.reverse import Undo, Undoing, reverse_actions
from service.actions.store import Action, RowKey, read_actions
from service.ledger.books import Book
from service.platform.database import Connection
from service.platform.errors import SaxaulError
from service.rules.decide.standing import Standing, stored_uses

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

    def main_key(self, report: Report) -> bytes | None:
        """What its action names; None when it wants nothing."""
        return next(iter(self.keys.get(report, ())), None)

    def refusal(self, report: Report) -> SaxaulError | None:
        """Why this report is not paid: what it claims was, and that cannot be taken over."""
        for key in self.keys.get(report, ())[:1]:
            if key in self.held and not (report.candidate.verified and key in self.rivals):
                return AlreadyClaimedError(self.held[key].bound_at)
        return None

    def rivals_of(self, report: Report) -> list[Action]:
        """What is taken back when this report is accepted."""
        if not report.candidate.verified:
            return []
        return [self.rivals[key] for key in self.keys.get(report, ()) if key in self.rivals]

    def must_wait(self, report: Report, books: Mapping[UUID, Book]) -> bool:
        """Whether another transaction decides: a twin of the batch may be paid, or not, before it.

        Or the book of a rival is not locked; the report then remembers whose it is.
        """
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

    async def take_over(
        self, connection: Connection, books: Mapping[UUID, Book], undoing: Undoing
    ) -> None:
        """Take back what was beaten, before anything is posted; in a closed book nothing moves."""
        by_source: dict[str, list[Undo]] = {}
        for row, source in self.beaten.items():
            by_source.setdefault(source, []).append(Undo(*row, REASON))
        for source, undos in by_source.items():
            await reverse_actions(connection, books, undos, replace(undoing, source=source))
        for owner, _ in self.beaten:
            # It is written: what the batch posts from here on goes behind it.
            books[owner].posted.clear()

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
            rows = {key: report.row for key, report in moved.items()}
            mains = {key: self.keys[report][0] for key, report in moved.items()}
            await connection.execute(_MOVE, *_columns(rows, mains), now)


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
    mains = {key: wanted[report][0] for key, report in claims.bound.items()}
    rows = {key: report.row for key, report in claims.bound.items()}
    claims.held = await hold_claims(connection, rows, now, mains)
    asked = {
        key: claims.held[key][:2]
        for report, keys in wanted.items()
        for key in keys
        if report.candidate.verified and key in claims.held
    }
    if asked:
        holders = await read_actions(connection, set(asked.values()))
        claims.rivals = {key: holders[row] for key, row in asked.items() if _is_typed(row, holders)}
    return claims


def _is_typed(row: RowKey, holders: Mapping[RowKey, Action]) -> bool:
    return row in holders and not holders[row].verified


async def hold_claims(
    connection: Connection,
    wanted: Mapping[bytes, RowKey],
    now: datetime,
    mains: Mapping[bytes, bytes] = MappingProxyType({}),
) -> dict[bytes, Held]:
    """Bind in key order, in one statement; give back what others hold.

    `mains` has the key that the action itself names, where that is another one.
    """
    held: dict[bytes, Held] = {}
    missing = sorted(wanted)
    while missing:
        columns = _columns({key: wanted[key] for key in missing}, mains)
        await connection.execute(_BIND + "DO NOTHING", *columns, now)
        rows = await connection.fetch(_READ, missing)
        held |= {row[0]: Held(*row[1:]) for row in rows if tuple(row[1:3]) != wanted[row[0]]}
        # A holder that was reversed between the two statements has freed its claim: bind again.
        missing = sorted(set(missing) - {row[0] for row in rows})
    return held


def _columns(
    rows: Mapping[bytes, RowKey], mains: Mapping[bytes, bytes]
) -> tuple[list[bytes], list[UUID], list[UUID], list[bytes | None]]:
    others = [main if (main := mains.get(key, key)) != key else None for key in rows]
    return [*rows], [row[0] for row in rows.values()], [row[1] for row in rows.values()], others


_BIND = """
INSERT INTO claims (claim_key, participant_id, action_id, of_key, bound_at)
SELECT k.claim_key, k.participant_id, k.action_id, k.of_key, $5
FROM unnest($1::bytea[], $2::uuid[], $3::uuid[], $4::bytea[])
    AS k (claim_key, participant_id, action_id, of_key)
ORDER BY k.claim_key
ON CONFLICT (claim_key) """

_MOVE = (
    _BIND
    + """DO UPDATE SET participant_id = excluded.participant_id, action_id = excluded.action_id,
    of_key = excluded.of_key, bound_at = excluded.bound_at"""
)

_READ = """
SELECT claim_key, participant_id, action_id, bound_at FROM claims
WHERE claim_key = ANY($1::bytea[])"""
