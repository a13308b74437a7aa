"""What the ledger says of boards: everything that counts on one, summed a person.

The sums are put into a temporary table inside one snapshot, which therefore is short, and read from
there in parts of bounded size.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from service.leaderboards.keys import Board, Period, period_of
from service.platform.database import Connection
from service.rules.decide.rulebook import Program

# Periods that ended just now are summed too: clocks of processes differ around midnight.
_GRACE = timedelta(minutes=5)
# The years in which the programme's clock can be.
_EVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
_BOUNDED: tuple[Literal["day", "week", "month"], ...] = ("day", "week", "month")
_ROWS = 2_000


class Span(NamedTuple):
    """A period with its first instant and the next one's."""

    period: Period
    starts_at: datetime
    ends_at: datetime


class Sum(NamedTuple):
    """A person's total on a board; 0 for who is off it again, or was erased."""

    board: Board
    member: bytes
    total: int


def open_spans(program: Program, now: datetime) -> list[Span]:
    """The periods that are open, that ended a moment ago, and that begin next, with their bounds.

    What is booked for the next period already, by a process whose clock is ahead, must be there
    when it begins.
    """
    today = program.local_date(now)
    spans = [Span(period_of("all", today), *_EVER)]
    for kind in _BOUNDED:
        days = [program.local_date(now - _GRACE), today, period_of(kind, today).end or today]
        for period, day in {period_of(kind, day): day for day in days}.items():
            bounds = program.period_bounds(kind, day)
            assert bounds is not None
            spans.append(Span(period, *bounds))
    return spans


@asynccontextmanager
async def snapshot_for_sums(connection: Connection) -> AsyncIterator[None]:
    """A transaction that sees one moment, and whose statements may take long."""
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute(_MAY_TAKE_LONG)
        yield


async def gather_sums(
    connection: Connection,
    spans: Sequence[Span],
    *,
    lane: int = 0,
    lanes: int = 1,
    people: Collection[UUID] | None = None,
) -> None:
    """Sum up what counts for a lane's people, or for some people, for this connection to read."""
    await drop_sums(connection)
    await connection.execute(_MAKE)
    await connection.execute(
        _gather(len(spans)),
        lane,
        lanes,
        people,
        [span.starts_at for span in spans],
        [span.ends_at for span in spans],
    )


async def read_sums(connection: Connection, spans: Sequence[Span]) -> AsyncIterator[list[Sum]]:
    """The gathered sums, some thousands at a time."""
    last = 0
    while rows := await connection.fetch(_READ, last, _ROWS):
        last = rows[-1]["n"]
        yield [
            Sum(Board(row["board"], span.period.name, row["region"]), row["member"].bytes, total)
            for row in rows
            for span, total in zip(spans, row["totals"], strict=True)
            if total is not None
        ]


async def drop_sums(connection: Connection) -> None:
    """Give back the space of gathered sums."""
    await connection.execute("DROP TABLE IF EXISTS pg_temp.board_sums")


def _gather(spans: int) -> str:
    totals = ", ".join(
        f"(sum(change) FILTER (WHERE at >= ($4::timestamptz[])[{n}]"
        f" AND at < ($5::timestamptz[])[{n}]))::bigint"
        for n in range(1, spans + 1)
    )
    return _GATHER.replace("TOTALS", totals)


_MAY_TAKE_LONG = """
SELECT set_config('statement_timeout', '0', true), set_config('work_mem', '64MB', true),
    set_config('idle_in_transaction_session_timeout', '0', true)"""

_MAKE = """
CREATE TEMPORARY TABLE board_sums (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, member uuid NOT NULL, board text NOT NULL,
    region text NOT NULL, totals bigint[] NOT NULL)"""

# Every booking that counts. What a person collected counts where its action was recorded, so a gift
# counts nowhere; a cancellation takes trees back in its own period, where they were pledged.
_GATHER = """
WITH booked AS (
    SELECT t.participant_id, 'energy' AS board, t.at, a.region, t.amount_g AS change
    FROM transfers t JOIN actions a ON a.participant_id = t.participant_id AND a.id = t.cause_id
    WHERE t.cause = 'collect'
    UNION ALL
    SELECT participant_id, board, recorded_at, region, saved_g FROM actions
    JOIN (VALUES ('saved'), ('verified')) AS b (board) ON board = 'saved' OR verified
    WHERE saved_g <> 0
    UNION ALL
    SELECT participant_id, 'trees', created_at, region, trees FROM pledges
    UNION ALL
    SELECT participant_id, 'trees', cancelled_at, region, -trees FROM pledges
    WHERE cancelled_at IS NOT NULL
), counted AS (
    SELECT booked.participant_id, board, at, region, CASE WHEN closed THEN 0 ELSE change END
        AS change
    FROM booked JOIN books ON books.participant_id = booked.participant_id
    WHERE ('x' || left(booked.participant_id::text, 8))::bit(32)::bigint % $2 = $1
        AND ($3::uuid[] IS NULL OR booked.participant_id = ANY($3))
)
INSERT INTO board_sums (member, board, region, totals)
SELECT participant_id, board, CASE WHEN grouping(region) = 0 THEN region ELSE '' END, ARRAY[TOTALS]
FROM counted
GROUP BY GROUPING SETS ((participant_id, board), (participant_id, board, region))
HAVING grouping(region) = 1 OR region <> ''"""

_READ = "SELECT * FROM board_sums WHERE n > $1 ORDER BY n LIMIT $2"
