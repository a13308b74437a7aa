"""Comparing the boards with the ledger, while both move on.

What differs is looked at again, after the relays caught up: what was booked between two reads is
right by then, what is wrong stays as it is.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from service.leaderboards.boards import BoardsAwayError
from service.leaderboards.keys import Board
from service.leaderboards.lane import Shared
from service.leaderboards.sums import (
    Span,
    drop_sums,
    gather_sums,
    open_spans,
    read_sums,
    snapshot_for_sums,
)
from service.platform.database import Connection
from service.platform.errors import PlainError

_ROUNDS_MAX = 20
_CAUGHT_UP_S = 10.0
_POLL_S = 0.1
_CHUNK = 2_000
_BEHIND = "the boards do not catch up with the outbox; is a worker running?"


class Drift(NamedTuple):
    """A score that is not what the ledger says."""

    board: Board
    member: bytes
    in_ledger: int
    on_board: int


class DriftReport(NamedTuple):
    """How many scores were compared, which are wrong, and how many never stood still."""

    compared: int
    wrong: list[Drift]
    moving: int


class RelayBehindError(PlainError):
    """The relays do not catch up; without a worker nobody carries bookings to the boards."""


Scores = dict[tuple[Board, bytes], int]


async def find_drift(shared: Shared) -> DriftReport:
    """Compare every open board with the sums of the ledger.

    Raises RelayBehindError, BoardsAwayError or RedisError.
    """
    # A period that ends meanwhile is still compared: its boards stay for a while.
    spans = open_spans(shared.program(), shared.clock.now())
    async with shared.database.pool.acquire() as connection:
        await _caught_up(shared)
        compared, found = await _compare_all(shared, connection, spans)
        wrong: list[Drift] = []
        for _ in range(_ROUNDS_MAX):
            if found == wrong:
                break
            await _caught_up(shared)
            before, found = found, await _compare_again(shared, connection, spans, found)
            wrong = [drift for drift in found if drift in before]
    return DriftReport(compared, wrong, len(found) - len(wrong))


async def _compare_all(
    shared: Shared, connection: Connection, spans: Sequence[Span]
) -> tuple[int, list[Drift]]:
    """Every score that the ledger knows, then what only Redis knows."""
    generations = await _active_generations(shared)
    async with snapshot_for_sums(connection):
        await gather_sums(connection, spans)
    compared, found = 0, []
    on_boards: Counter[tuple[int, Board]] = Counter()
    async for sums in read_sums(connection, spans):
        in_ledger = {(board, member): total for board, member, total in sums}
        compared += len(in_ledger)
        found += await _differences(shared, generations, in_ledger)
        for board, member, total in sums:
            on_boards[shared.layout.shard_of(member), board] += total != 0
    found += await _strangers(shared, connection, generations, spans, on_boards)
    await drop_sums(connection)
    return compared, found


async def _active_generations(shared: Shared) -> list[int]:
    """What readers use in each shard. Raises BoardsAwayError while one is empty or new."""
    pipeline = shared.redis.pipeline(transaction=False)
    for shard in range(shared.layout.shards):
        pipeline.get(shared.layout.active(shard))
    answers = await pipeline.execute()
    if not all(answers):
        raise BoardsAwayError
    return [int(answer) for answer in answers]


async def _compare_again(
    shared: Shared, connection: Connection, spans: Sequence[Span], suspects: Sequence[Drift]
) -> list[Drift]:
    """Those of these scores that still differ."""
    generations = await _active_generations(shared)
    in_ledger: Scores = {(drift.board, drift.member): 0 for drift in suspects}
    async with snapshot_for_sums(connection):
        people = {UUID(bytes=drift.member) for drift in suspects}
        await gather_sums(connection, spans, people=people)
    async for sums in read_sums(connection, spans):
        for board, member, total in sums:
            if (board, member) in in_ledger:
                in_ledger[board, member] = total
    await drop_sums(connection)
    return await _differences(shared, generations, in_ledger)


async def _differences(
    shared: Shared, generations: Sequence[int], in_ledger: Scores
) -> list[Drift]:
    members: dict[tuple[int, Board], list[bytes]] = defaultdict(list)
    for board, member in in_ledger:
        members[shared.layout.shard_of(member), board].append(member)
    pipeline = shared.redis.pipeline(transaction=False)
    for (shard, board), asked in members.items():
        key = shared.layout.board(shard, generations[shard], board)
        pipeline.zmscore(key, asked)  # type: ignore[arg-type]  # bytes are members too
    on_boards: Scores = {}
    for ((_, board), asked), scores in zip(members.items(), await pipeline.execute(), strict=True):
        on_boards |= {
            (board, member): int(score or 0) for member, score in zip(asked, scores, strict=True)
        }
    return [
        Drift(board, member, total, on_boards[board, member])
        for (board, member), total in in_ledger.items()
        if on_boards[board, member] != total
    ]


async def _strangers(
    shared: Shared,
    connection: Connection,
    generations: Sequence[int],
    spans: Sequence[Span],
    on_boards: Mapping[tuple[int, Board], int],
) -> list[Drift]:
    """Who is on a board without a reason: only looked for where a board has too many."""
    layout, found = shared.layout, []
    periods = [span.period.name for span in spans]
    async for key in shared.redis.scan_iter(match=layout.pattern(), count=1000):
        tag, generation, board = layout.parse(key) or ("", 0, None)
        shard = layout.tags().get(tag)
        if shard is None or board is None or generations[shard] != generation:
            continue
        if board.period not in periods:
            continue
        if await shared.redis.zcard(key) <= on_boards.get((shard, board), 0):
            continue
        at = periods.index(board.period) + 1
        rows = await connection.fetch(_ON_BOARD, board.name, board.region, at)
        known = {row["member"].bytes for row in rows}
        async for member, score in shared.redis.zscan_iter(key, count=_CHUNK):
            if member not in known:
                found.append(Drift(board, member, 0, int(score)))
    return found


async def _caught_up(shared: Shared) -> None:
    """Wait until all that is committed now is on the boards."""
    pool, clock = shared.database.pool, shared.clock
    newest = await pool.fetchval("SELECT coalesce(max(id), 0) FROM outbox")
    try:
        async with asyncio.timeout(_CAUGHT_UP_S):
            while not await pool.fetchval(_IS_APPLIED, newest):
                if not await pool.fetchval(_IS_RELAYED, clock.real_now()):
                    raise RelayBehindError(_BEHIND)
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise RelayBehindError(_BEHIND) from error


_ON_BOARD = """
SELECT member FROM board_sums WHERE board = $1 AND region = $2 AND totals[$3] <> 0"""

_IS_APPLIED = """
SELECT coalesce((SELECT bool_and(generation = wanted) FROM relay_lanes), false) AND NOT EXISTS (
    SELECT FROM outbox LEFT JOIN relay_lanes ON relay_lanes.lane = outbox.lane
    WHERE outbox.id <= $1 AND (position IS NULL OR position > coalesce(applied, 0)))"""

# A relay that sums up the ledger does not renew its lease for as long as that takes.
_IS_RELAYED = """
SELECT coalesce(bool_or(lease_until > $1::timestamptz - interval '1 minute'), false)
FROM relay_lanes"""
