"""Auditing: recompute every book, bubble, counter and chain from what was written down.

Books are read in pages of at most 1,000, each in a short REPEATABLE READ transaction of its own:
inside a page book, transfers and bubbles agree, and no long snapshot keeps the hot tables from
being cleaned up. A full audit recomputes all of it. An incremental one looks only at books that
moved since they were last found clean (`books.audited_seq`) and recomputes their chains from there.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

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
Notes = Annotated[
    Counter[str],
    Meta(extra_json_schema={"type": "object", "additionalProperties": {"type": "integer"}}),
]


class AuditDifference(Struct, frozen=True):
    """One thing that is off."""

    check: str
    participant_id: UUID | None
    what: str
    expected: str
    found: str


class AuditAnswer(Struct):
    """What was audited and what is off: of each check how many, and the first differences.

    `notes` counts by check what is as an earlier version wrote it, in that version's form.
    When time was up, `complete` is false and `next_after` tells where to go on.
    """

    is_clean: bool = field(name="clean")
    complete: bool
    mode: Mode
    books: int
    transfers: int
    actions: int
    log_entries: int
    found: dict[str, int]
    differences: list[AuditDifference]
    notes: Notes
    after: UUID | None = field(name="next_after")

    @property
    def part_done(self) -> float:
        """How far it is, 0 to 1: participant ids are random, so they measure the way."""
        return self.after.int / _LAST.int if self.after else 1.0

    def add(self, check: str, rows: Sequence[Any]) -> None:
        """Take up what a check found; only the first differences are kept, all are counted."""
        if rows:
            self.is_clean = False
            self.found[check] = self.found.get(check, 0) + len(rows)
            room = DIFFERENCES_MAX - len(self.differences)
            self.differences += [AuditDifference(check, *row) for row in rows[:room]]


class _Page(Struct, frozen=True):
    """The books of one page: ids, and from which transfer on their chains are recomputed."""

    ids: list[UUID]
    since: list[int]
    seqs: list[int]
    after: UUID
    last: UUID


async def audit(
    database: Database,
    *,
    mode: Mode | None,
    now: datetime,
    participant_id: UUID | None = None,
    after: UUID = _FIRST,
    seconds_max: float | None = None,
    on_page: Callable[[AuditAnswer], None] | None = None,
    more: Sequence[Compare] = (),
    whole: Sequence[CompareAll] = (),
) -> AuditAnswer:
    """Audit the ledger, or one participant's book, and the log of the operators' acts.

    Unless a `mode` is asked for it is full while that takes about a minute, for larger ledgers
    incremental. `more` and `whole` are comparisons with what the ledger does not know of. With
    `seconds_max` it stops after the page that took longer, with `complete` False; `after` tells
    where to go on.
    """
    if mode is None:
        transfers = 0 if participant_id else await database.pool.fetchval(_ESTIMATE)
        mode = "full" if transfers <= FULL_UP_TO_TRANSFERS else "incremental"
    none = dict.fromkeys(("books", "transfers", "actions", "log_entries"), 0)
    report = AuditAnswer(
        is_clean=True, complete=False, mode=mode, **none, found={}, differences=[], notes=Counter(),
        after=after,
    )  # fmt: skip
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
    report: AuditAnswer,
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
        values = {"since": page.since, "today": now.date(), "after": page.after, "last": page.last}
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
    report.complete = page.last == _LAST
    report.after = None if report.complete else page.last
    return page


async def _finish(
    connection: Connection, report: AuditAnswer, ends: Sequence[Sum] | Sequence[CompareAll]
) -> None:
    for end in ends:
        async with connection.transaction(readonly=True):
            await connection.execute(SLOWLY)
            compare = end.off if isinstance(end, CompareAll) else end.finish
            report.add(end.name, await compare(connection))


async def _next_page(
    connection: Connection, report: AuditAnswer, participant_id: UUID | None
) -> _Page:
    after = report.after or _FIRST
    if participant_id is not None:
        rows = await connection.fetch(_ONE_BOOK, participant_id)
        last = _LAST
    else:
        text = _MOVED_BOOKS if report.mode == "incremental" else _ALL_BOOKS
        rows = await connection.fetch(text, after, BOOKS_MAX)
        # As many books as make a page of bearable size, and at least one.
        sizes = accumulate(seq + action_seq for _, seq, action_seq, _ in rows)
        kept = sum(size <= ROWS_A_PAGE for size in sizes) or len(rows[:1])
        last = _LAST if kept == len(rows) < BOOKS_MAX else rows[kept - 1][0]
        rows = rows[:kept]
    report.books += len(rows)
    since = [audited if report.mode == "incremental" else 0 for _, _, _, audited in rows]
    report.transfers += sum(row[1] for row in rows) - sum(since)
    report.actions += sum(row[2] for row in rows)
    ids, seqs = [row[0] for row in rows], [row[1] for row in rows]
    return _Page(ids, since, seqs, after, last)


_ESTIMATE = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'transfers'::regclass"

_BOOKS = "SELECT participant_id, seq, action_seq, audited_seq FROM books WHERE participant_id"
_ALL_BOOKS = f"{_BOOKS} > $1 ORDER BY participant_id LIMIT $2"
_MOVED_BOOKS = f"{_BOOKS} > $1 AND seq > audited_seq ORDER BY participant_id LIMIT $2"
_ONE_BOOK = f"{_BOOKS} = $1"
