"""Auditing: recompute every book, bubble, counter and chain from what was written down.

Books are read in pages of at most 1,000, each in a short REPEATABLE READ transaction of its own:
inside a page book, transfers and bubbles agree, and no long snapshot keeps the hot tables from
being cleaned up. A full audit recomputes all of it. An incremental one looks only at books that
moved since they were last found clean (`books.audited_seq`) and recomputes their chains from there.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from service.audit.pages import PAGE_CHECKS, ROWS_MAX, STRANGERS, Check
from service.audit.sums import Sums, begin_sums
from service.audit.whole import SLOWLY, walk_whole
from service.ledger.books import lock_free_books
from service.platform.acts import earlier_zeros, entry_digest
from service.platform.database import Connection, Database

BOOKS_MAX = 1_000
ROWS_A_PAGE = 200_000
DIFFERENCES_MAX = 100
FULL_UP_TO_TRANSFERS = 2_000_000
_MARK_MAX = 200
_FIRST, _LAST = UUID(int=0), UUID(int=2**128 - 1)
# Longer than any transaction lives: what carries an older time is committed.
_CUT = timedelta(seconds=60)
_NONE: Mapping[str, "Compare"] = {}
_NOTHING: Mapping[str, "CompareAll"] = {}

Mode = Literal["full", "incremental"]
# Compares what lies above the ledger, inside a page's snapshot: (participant_id, what, expected,
# found) of what is off in the books of these people. The counter takes up what is to be noted.
Compare = Callable[
    [Connection, Sequence[UUID], Counter[str]], Awaitable[Sequence[tuple[UUID, str, str, str]]]
]
# The same for what is in nobody's book.
CompareAll = Callable[[Connection], Awaitable[Sequence[tuple[None, str, str, str]]]]


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
    more: Mapping[str, Compare] = _NONE,
    whole: Mapping[str, CompareAll] = _NOTHING,
) -> AuditReport:
    """Audit the ledger, or one participant's book, and the log of the operators' acts.

    `more` and `whole` name comparisons with what the ledger does not know of. With `seconds_max` it
    stops after the page that took longer, with `complete` False; `after` tells where to go on.
    """
    report = AuditReport(mode, after=after)
    time = asyncio.get_running_loop().time
    began, sums = time(), None
    if participant_id is None and mode == "full" and after == _FIRST:
        sums = await begin_sums(database, now - _CUT)
    while True:
        found_before = sum(report.found.values())
        page = await _audit_page(database, report, participant_id, now, more=more, sums=sums)
        if sum(report.found.values()) == found_before:
            await _mark(database, page)
        if on_page is not None:
            on_page(report)
        if report.complete:
            break
        if seconds_max is not None and time() - began >= seconds_max:
            return report
    if participant_id is None:
        if sums is not None:
            await sums.finish(database, report.add)
        if mode == "full":
            await _audit_whole(database, report, whole)
        await _audit_log(database, report)
    return report


async def _audit_page(
    database: Database,
    report: AuditReport,
    participant_id: UUID | None,
    now: datetime,
    *,
    more: Mapping[str, Compare],
    sums: Sums | None,
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
        checks = [*PAGE_CHECKS]
        if report.mode == "full" and participant_id is None:
            checks.append(STRANGERS)
        for check in checks:
            rows = await connection.fetch(_limited(check), page.ids, *_chosen(check, values))
            report.add(check.name, rows)
        for name, compare in more.items():
            report.add(name, await compare(connection, page.ids, report.notes))
        if sums is not None:
            await sums.add_page(connection, page.ids)
    report.after = page.last
    report.complete = page.last == _LAST
    return page


async def _audit_whole(
    database: Database, report: AuditReport, whole: Mapping[str, CompareAll]
) -> None:
    await walk_whole(database, report.add)
    for name, compare in whole.items():
        async with database.pool.acquire() as connection, connection.transaction(readonly=True):
            await connection.execute(SLOWLY)
            report.add(name, await compare(connection))


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


def _limited(check: Check) -> str:
    return f"SELECT * FROM (\n{check.sql}\n) AS off (a, b, c, d) ORDER BY a, b LIMIT {ROWS_MAX}"  # noqa: S608


def _chosen(check: Check, values: dict[str, Any]) -> list[Any]:
    return [values[name] for name in check.parameters]


async def _mark(database: Database, page: _Page) -> None:
    """Remember how far these books were found clean. Who is held by somebody waits for the next."""
    audited = dict(zip(page.ids, page.seqs, strict=True))
    for first in range(0, len(page.ids), _MARK_MAX):
        ids = page.ids[first : first + _MARK_MAX]
        async with database.transaction() as connection:
            books = [*await lock_free_books(connection, ids)]
            await connection.execute(_MARK, books, [audited[book] for book in books])


async def _audit_log(database: Database, report: AuditReport) -> None:
    """Recompute the chain of the operators' acts, a thousand at a time, up to its present head."""
    async with database.pool.acquire() as connection:
        head = await connection.fetchrow(_LOG_HEAD)
        seq, digest = 0, bytes(32)
        while True:
            rows = await connection.fetch(_LOG_ENTRIES, seq, head["seq"] if head else _EVERY)
            for entry in rows:
                seq += 1
                if entry["seq"] != seq:
                    what = f"entry {seq} of the operators' log"
                    report.add("log", [(None, what, "there", "missing")])
                    seq = entry["seq"]
                *facts, found = entry
                expected = entry_digest(digest, facts)
                if expected != found:
                    signed = earlier_zeros(digest, facts, found)
                    if signed is None:
                        what = f"hash of entry {seq} of the operators' log"
                        report.add("log", [(None, what, expected.hex(), found.hex())])
                    elif signed:
                        report.notes["log"] += 1
                digest = found
            report.log_entries += len(rows)
            if len(rows) < BOOKS_MAX:
                break
    ends = (seq, digest.hex())
    found_head = (head["seq"], head["hash"].hex()) if head else (0, bytes(32).hex())
    if ends != found_head:
        report.add("log", [(None, "head of the operators' log", f"{ends}", f"{found_head}")])


_EVERY = 2**63 - 1
_ESTIMATE = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'transfers'::regclass"

_ALL_BOOKS = """
SELECT participant_id, seq, action_seq, audited_seq FROM books
WHERE participant_id > $1 ORDER BY participant_id LIMIT $2"""

_MOVED_BOOKS = """
SELECT participant_id, seq, action_seq, audited_seq FROM books
WHERE participant_id > $1 AND seq > audited_seq ORDER BY participant_id LIMIT $2"""

_ONE_BOOK = """
SELECT participant_id, seq, action_seq, audited_seq FROM books WHERE participant_id = $1"""

_MARK = """
UPDATE books SET audited_seq = m.seq
FROM unnest($1::uuid[], $2::bigint[]) AS m (participant_id, seq)
WHERE books.participant_id = m.participant_id AND books.participant_id = ANY($1::uuid[])
    AND books.audited_seq < m.seq"""

_LOG_HEAD = "SELECT seq, hash FROM audit_head WHERE id = 1"

_LOG_ENTRIES = """
SELECT seq, at, actor, act, object, detail, request_id, hash FROM audit_log
WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT 1000"""
