"""Auditing: recompute every book, bubble, counter and chain from what was written down.

Books are read in pages of at most 1,000, each in a short REPEATABLE READ transaction of its own:
inside a page book, transfers and bubbles agree, and no long snapshot keeps the hot tables from
being cleaned up. A full audit recomputes all of it. An incremental one looks only at books that
moved since they were last found clean (`books.audited_seq`) and recomputes their chains from there.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from service.audit.across import STRANGERS
from service.audit.checks import PAGE_CHECKS, SUMS
from service.audit.whole import SLOWLY, limited, read_log, walk_whole
from service.ledger.books import mark_audited
from service.platform.checks import Compare, CompareAll, Sum
from service.platform.database import Connection, Database

BOOKS_MAX = 1_000
ROWS_A_PAGE = 200_000
DIFFERENCES_MAX = 100
FULL_UP_TO_TRANSFERS = 2_000_000
_FIRST, _LAST = UUID(int=0), UUID(int=2**128 - 1)
# Longer than any transaction lives: what carries an older time is committed.
_CUT = timedelta(seconds=60)
Mode = Literal["full", "incremental"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is off: in whose book, what, and how it should be."""

    check: str
    participant_id: UUID | None
    what: str
    expected: str
    found: str


@dataclass(slots=True)
class AuditReport:
    """What an audit looked at and what it found; `after` is the last participant it looked at.

    `notes`: of each check how many rows are as they were written, in a form of earlier versions.
    """

    mode: Mode
    books: int = 0
    transfers: int = 0
    actions: int = 0
    log_entries: int = 0
    differences: list[Difference] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    after: UUID = _FIRST
    complete: bool = False

    @property
    def is_clean(self) -> bool:
        """True when nothing was off in all that was looked at."""
        return not self.found

    @property
    def part_done(self) -> float:
        """How far it is, 0 to 1: participant ids are random, so they measure the way."""
        return 1.0 if self.complete else self.after.int / _LAST.int

    def add(self, check: str, rows: Sequence[Any]) -> None:
        """Take up what a check found; only the first differences are kept, all are counted."""
        if rows:
            self.found[check] = self.found.get(check, 0) + len(rows)
            room = DIFFERENCES_MAX - len(self.differences)
            self.differences += [Difference(check, *row) for row in rows[:room]]


@dataclass(frozen=True, slots=True)
class _Page:
    """The books of one page: ids, and from which transfer on their chains are recomputed."""

    ids: list[UUID]
    since: list[int]
    seqs: list[int]
    after: UUID
    last: UUID


async def choose_mode(database: Database) -> Mode:
    """Full while that takes about a minute; for larger ledgers incremental, unless asked."""
    async with database.pool.acquire() as connection:
        transfers = await connection.fetchval(_ESTIMATE)
    return "full" if transfers <= FULL_UP_TO_TRANSFERS else "incremental"


async def audit(
    database: Database,
    *,
    mode: Mode,
    now: datetime,
    participant_id: UUID | None = None,
    after: UUID = _FIRST,
    seconds_max: float | None = None,
    on_page: Callable[[AuditReport], None] | None = None,
    more: Sequence[Compare] = (),
    whole: Sequence[CompareAll] = (),
) -> AuditReport:
    """Audit the ledger, or one participant's book, and the log of the operators' acts.

    `more` and `whole` are comparisons with what the ledger does not know of. With `seconds_max` it
    stops after the page that took longer, with `complete` False; `after` tells where to go on.
    """
    report = AuditReport(mode, after=after)
    time = asyncio.get_running_loop().time
    began = time()
    sums: list[Sum] = []
    if participant_id is None and mode == "full" and after == _FIRST:
        async with database.pool.acquire() as connection:
            sums = [await kind.begin(connection, now - _CUT) for kind in SUMS]
    while True:
        found_before = sum(report.found.values())
        page = await _audit_page(database, report, participant_id, now, more=more, sums=sums)
        if sum(report.found.values()) == found_before:
            await mark_audited(database, dict(zip(page.ids, page.seqs, strict=True)))
        if on_page is not None:
            on_page(report)
        if report.complete:
            break
        if seconds_max is not None and time() - began >= seconds_max:
            return report
    if participant_id is None:
        async with database.pool.acquire() as connection:
            await _finish(connection, report, sums)
            if mode == "full":
                await walk_whole(connection, report.add)
                await _finish(connection, report, whole)
            report.log_entries = await read_log(connection, report.add, report.notes)
    return report


async def _audit_page(
    database: Database,
    report: AuditReport,
    participant_id: UUID | None,
    now: datetime,
    *,
    more: Sequence[Compare],
    sums: Sequence[Sum],
) -> _Page:
    """Run every check over the next page, and take it up into the sums."""
    async with (
        database.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await connection.execute(SLOWLY)
        page = await _next_page(connection, report, participant_id)
        values = {
            "since": page.since,
            "today": now.date(),
            "after": page.after,
            "last": page.last,
        }
        for check in PAGE_CHECKS:
            if check is STRANGERS and (report.mode != "full" or participant_id is not None):
                continue
            chosen = (values[name] for name in check.parameters)
            rows = await connection.fetch(limited(check.sql, "a, b"), page.ids, *chosen)
            report.add(check.name, rows)
        for compare in more:
            report.add(compare.name, await compare.off(connection, page.ids, report.notes))
        for each in sums:
            await each.add_page(connection, page.ids)
    report.after = page.last
    report.complete = page.last == _LAST
    return page


async def _finish(
    connection: Connection, report: AuditReport, ends: Sequence[Sum] | Sequence[CompareAll]
) -> None:
    for end in ends:
        async with connection.transaction(readonly=True):
            await connection.execute(SLOWLY)
            compare = end.off if isinstance(end, CompareAll) else end.finish
            report.add(end.name, await compare(connection))


async def _next_page(
    connection: Connection, report: AuditReport, participant_id: UUID | None
) -> _Page:
    if participant_id is not None:
        rows = await connection.fetch(_ONE_BOOK, participant_id)
        last = _LAST
    else:
        text = _MOVED_BOOKS if report.mode == "incremental" else _ALL_BOOKS
        rows = await connection.fetch(text, report.after, BOOKS_MAX)
        kept = _how_many(rows)
        last = _LAST if kept == len(rows) < BOOKS_MAX else rows[kept - 1][0]
        rows = rows[:kept]
    report.books += len(rows)
    since = [audited if report.mode == "incremental" else 0 for _, _, _, audited in rows]
    report.transfers += sum(row[1] for row in rows) - sum(since)
    report.actions += sum(row[2] for row in rows)
    ids, seqs = [row[0] for row in rows], [row[1] for row in rows]
    return _Page(ids, since, seqs, report.after, last)


def _how_many(rows: Sequence[Any]) -> int:
    """As many books as make a page of bearable size, and at least one."""
    size = 0
    for count, (_, seq, action_seq, _) in enumerate(rows):
        size += seq + action_seq
        if count and size > ROWS_A_PAGE:
            return count
    return len(rows)


_ESTIMATE = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'transfers'::regclass"

_ALL_BOOKS = """
SELECT participant_id, seq, action_seq, audited_seq FROM books
WHERE participant_id > $1 ORDER BY participant_id LIMIT $2"""

_MOVED_BOOKS = """
SELECT participant_id, seq, action_seq, audited_seq FROM books
WHERE participant_id > $1 AND seq > audited_seq ORDER BY participant_id LIMIT $2"""

_ONE_BOOK = """
SELECT participant_id, seq, action_seq, audited_seq FROM books WHERE participant_id = $1"""
