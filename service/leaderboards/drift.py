"""Comparing the boards with the ledger, while both move on.

A difference counts when it is still there after the relays caught up and everything was read
again: what was booked between the two reads is gone by then, what is wrong stays.
"""

import asyncio
from collections import defaultdict
from typing import NamedTuple

from redis.asyncio import Redis

from service.leaderboards.boards import BoardsAwayError
from service.leaderboards.keys import Board, Layout
from service.leaderboards.queries import read_sums
from service.leaderboards.rebuild import open_spans, snapshot_of, totals
from service.leaderboards.relay import Shared

_ROUNDS_MAX = 20
_CAUGHT_UP_S = 10.0
_POLL_S = 0.1
_CHUNK = 10_000

Scores = dict[tuple[Board, bytes], int]


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


class RelayBehindError(Exception):
    """The relays do not catch up; without a worker nobody carries bookings to the boards."""

    def __init__(self) -> None:
        """One sentence."""
        super().__init__("the boards do not catch up with the outbox; is a worker running?")


async def find_drift(shared: Shared) -> DriftReport:
    """Compare every open board with the sums of the ledger.

    Raises RelayBehindError, BoardsAwayError or RedisError.
    """
    compared, before = 0, None
    wrong: list[Drift] = []
    for _ in range(_ROUNDS_MAX):
        await _caught_up(shared)
        compared, found = await _differences(shared)
        wrong = [drift for drift in found if before is not None and drift in before]
        if len(wrong) == len(found):
            return DriftReport(compared, wrong, 0)
        before = set(found)
    return DriftReport(compared, wrong, len(before or ()) - len(wrong))


async def _differences(shared: Shared) -> tuple[int, list[Drift]]:
    spans = open_spans(shared.program(), shared.clock.now())
    async with snapshot_of(shared.database) as connection:
        in_ledger = totals(await read_sums(connection, spans, lane=0, lanes=1))
    periods = {span.period.name for span in spans}
    on_boards = await _read_boards(shared.redis, shared.layout, periods)
    names = sorted(in_ledger.keys() | on_boards.keys())
    return len(names), [
        Drift(board, member, in_ledger.get((board, member), 0), on_boards.get((board, member), 0))
        for board, member in names
        if in_ledger.get((board, member), 0) != on_boards.get((board, member), 0)
    ]


async def _read_boards(redis: Redis, layout: Layout, periods: set[str]) -> Scores:
    """Every score of the active generation's boards of these periods."""
    scores: Scores = defaultdict(int)
    tags = layout.tags()
    active = {}
    for tag, shard in tags.items():
        generation = await redis.get(layout.active(shard))
        if generation is None:
            raise BoardsAwayError
        active[tag] = int(generation)
    async for key in redis.scan_iter(match=layout.pattern(), count=1000):
        parsed = layout.parse(key)
        if parsed is None or active.get(parsed[0]) != parsed[1]:
            continue
        board = parsed[2]
        if board is not None and board.period in periods:
            async for member, score in redis.zscan_iter(key, count=_CHUNK):
                scores[board, member] = int(score)
    return scores


async def _caught_up(shared: Shared) -> None:
    """Wait until all that is committed now is on the boards."""
    pool, clock = shared.database.pool, shared.clock
    newest = await pool.fetchval("SELECT coalesce(max(id), 0) FROM outbox")
    try:
        async with asyncio.timeout(_CAUGHT_UP_S):
            while not await pool.fetchval(_IS_APPLIED, newest):
                if not await pool.fetchval(_IS_RELAYED, clock.real_now()):
                    raise RelayBehindError
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise RelayBehindError from error


_IS_APPLIED = """
SELECT coalesce((SELECT bool_and(generation = wanted) FROM relay_lanes), false) AND NOT EXISTS (
    SELECT FROM outbox LEFT JOIN relay_lanes ON relay_lanes.lane = outbox.lane
    WHERE outbox.id <= $1 AND (position IS NULL OR position > coalesce(applied, 0)))"""

_IS_RELAYED = "SELECT coalesce(bool_or(lease_until > $1), false) FROM relay_lanes"
