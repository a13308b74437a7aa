"""Building boards anew from the ledger, one lane at a time, into a generation of their own.

Sums and the lane's position come from one snapshot, so that rows behind that position are exactly
what the sums lack. Readers stay with the old generation until every lane is there.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from service.leaderboards.keys import Layout, keep_s
from service.leaderboards.lane import Shared, StartOverError, Turns
from service.leaderboards.sums import (
    Span,
    Sum,
    drop_sums,
    gather_sums,
    open_spans,
    read_sums,
    snapshot_for_sums,
)
from service.leaderboards.write import Turn, load_scores
from service.platform.clock import Clock
from service.platform.database import Connection, Database
from service.platform.outbox import drop_rows, position_rows
from service.platform.settings import Settings
from service.rulebooks.publish import Rulebooks


async def request_rebuild(
    connection: Connection, real_now: datetime, *, seen: int | None = None
) -> int:
    """Ask every lane for a new generation; the number of it.

    With `seen`, only if nobody asked since. Numbers grow with real time, so that those of a
    database that was restored or made anew are higher than what Redis may still hold.
    """
    wanted: int = await connection.fetchval(_LOCK_LANES) or 0
    if seen is not None and wanted != seen:
        return wanted
    generation = max(wanted + 1, int(real_now.timestamp() * 1000))
    await connection.execute("UPDATE relay_lanes SET wanted = $1", generation)
    return generation


async def prepare_lanes(connection: Connection, lanes: int, real_now: datetime) -> None:
    """Make the rows of the relay's lanes; when their number changed, have everything built anew.

    Rows of the outbox that stand there then are dropped: the ledger holds what they say, and
    people changed lanes.
    """
    if await _found_lanes(connection) == set(range(lanes)):
        return
    await connection.execute("LOCK TABLE relay_lanes IN SHARE ROW EXCLUSIVE MODE")
    found = await _found_lanes(connection)
    if found == set(range(lanes)):
        return
    if found:
        await drop_rows(connection)
        await connection.execute("DELETE FROM relay_lanes WHERE lane >= $1", lanes)
    await connection.execute(_ADD_LANES, lanes)
    await request_rebuild(connection, real_now)


async def ready_lanes(
    database: Database, redis: Redis, settings: Settings, clock: Clock, rulebooks: Rulebooks
) -> Shared:
    """What relays work with, once the rules are known and every lane has its row."""
    await rulebooks.look()
    async with database.transaction() as connection:
        await prepare_lanes(connection, settings.lanes, clock.real_now())
    layout = Layout(settings.redis_prefix, settings.leaderboard_shards)
    return Shared(database, redis, layout, settings.lanes, clock, lambda: rulebooks.active.program)


async def _found_lanes(connection: Connection) -> set[int]:
    return {row["lane"] for row in await connection.fetch("SELECT lane FROM relay_lanes")}


async def build_lane(shared: Shared, turns: Turns, wanted: int) -> int:
    """Load a lane's part of the wanted generation; the position that it contains.

    Raises StartOverError when the turn is over, asyncpg.SerializationError when the lane's row
    changed meanwhile: then try again.
    """
    now, program = shared.clock.now(), shared.program()
    spans = open_spans(program, now)
    keep = {span.period.name: keep_s(span.period, now.date()) for span in spans}
    turn = Turn(turns.lane, turns.epoch, wanted)

    async def load(shard: int, sums: Sequence[Sum], **more: Any) -> None:
        if not await load_scores(shared.redis, shared.layout, turn, shard, sums, **more):
            raise StartOverError

    async with shared.database.pool.acquire() as connection:
        position = await _take_snapshot(connection, turn, shared.lanes, spans)
        async for sums in read_sums(connection, spans):
            await turns.renew(connection)
            shards: dict[int, list[Sum]] = defaultdict(list)
            for each in sums:
                shards[shared.layout.shard_of(each.member)].append(each)
            for shard, of_shard in shards.items():
                await load(shard, of_shard, keep=keep)
        await drop_sums(connection)
    for shard in range(shared.layout.shards):
        await load(shard, [], complete_at=(position, now))
    await turns.mark_built(position, wanted, program.timezone.key)
    return position


async def _take_snapshot(
    connection: Connection, turn: Turn, lanes: int, spans: Sequence[Span]
) -> int:
    """Gather a lane's sums; the position that they contain."""
    async with snapshot_for_sums(connection):
        positioned: int | None = await connection.fetchval(_LOCK_LANE, turn.lane, turn.epoch)
        if positioned is None:
            raise StartOverError
        positioned += await position_rows(connection, turn.lane, positioned)
        await connection.execute(_SET_POSITIONED, turn.lane, positioned)
        await gather_sums(connection, spans, lane=turn.lane, lanes=lanes)
        return positioned


_ADD_LANES = """
INSERT INTO relay_lanes (lane) SELECT generate_series(0, $1 - 1) ON CONFLICT DO NOTHING"""

_LOCK_LANES = """
SELECT max(wanted) FROM (
    SELECT wanted FROM relay_lanes ORDER BY lane FOR NO KEY UPDATE) AS locked"""

_LOCK_LANE = """
SELECT positioned FROM relay_lanes WHERE lane = $1 AND epoch = $2 FOR NO KEY UPDATE"""

_SET_POSITIONED = "UPDATE relay_lanes SET positioned = $2 WHERE lane = $1"
