"""The relay of a lane: carries the outbox into the boards, in order and exactly once.

Ids of the outbox are drawn inside transactions and may commit out of order, so the relay gives
rows positions of its own: whatever has none yet is next, in order of id. A script applies a slice
to a shard together with the lane's position there, if the shard stands where the slice begins.
Whatever dies between those steps, and whoever else believes it is their turn, changes nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg
import structlog
from redis.asyncio import Redis

from service.leaderboards.fold import Changes, Row, fold
from service.leaderboards.keys import Layout
from service.leaderboards.rebuild import (
    request_rebuild,
    scores_by_shard,
    take_snapshot,
)
from service.leaderboards.sums import drop_sums, open_spans, read_sums
from service.leaderboards.write import (
    Reply,
    Score,
    Slice,
    Turn,
    activate,
    apply_slices,
    drop_others,
    load_scores,
)
from service.platform.beside import pause
from service.platform.clock import Clock
from service.platform.database import Connection, Database
from service.platform.outbox import position_rows
from service.rules.decide.rulebook import Program

LEASE = timedelta(seconds=3)
# The rows of a fifth of a second are summed up a person: shorter pauses cost Redis more work.
PAUSE_S = 0.2
# Processes switch to a new rulebook within two seconds.
SETTLED_S = 5.0
_VERIFY_S = 1.0
_ROWS_MAX = 500
_DELTAS_MAX = 4_000
_READERS_S = 60

_log = structlog.get_logger(__name__)


class StartOverError(Exception):
    """This round cannot go on: the turn is over, or boards are lost. The next look decides."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all relays of a process work with; `program` gives the active rulebook's."""

    database: Database
    redis: Redis
    layout: Layout
    lanes: int
    clock: Clock
    program: Callable[[], Program]


class LaneState(NamedTuple):
    """The lane's row, and whether rows of the outbox wait for a position."""

    epoch: int
    owner: UUID | None
    lease_until: datetime | None
    positioned: int
    applied: int
    generation: int
    wanted: int
    timezone: str | None
    fresh: bool


class Relay:
    """One lane's relay in one process; of several, the one with the lease works."""

    def __init__(self, shared: Shared, lane: int) -> None:
        """Begin without a turn: the first round takes it when nobody else has it."""
        self._shared = shared
        self._lane = lane
        self._owner = uuid4()
        self._epoch = -1
        # Where each shard stands, as far as this turn knows; None before it has asked.
        self._known: list[int] | None = None
        self._verified_at = 0.0
        self._renewed_at = 0.0
        self._active = 0
        self._zone = ""
        self._zone_since = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; then give the lane free for the next."""
        try:
            while not stop.is_set():
                if await self.round():
                    continue
                await pause(stop, PAUSE_S)
        finally:
            await self.release()

    async def round(self) -> bool:
        """One look at the lane and what follows from it; whether more waits than a round can do.

        Raises RedisError and asyncpg errors: the next round goes on where this one stopped.
        """
        as_of = self._shared.clock.now()
        state = await self._look()
        try:
            return await self._work(state, as_of)
        except (StartOverError, asyncpg.SerializationError):
            self._known = None
            return False

    async def release(self) -> None:
        """Let another relay have the lane at once."""
        if self._epoch >= 0:
            await self._shared.database.pool.execute(_RELEASE, *self._turn_key())

    async def _work(self, state: LaneState, as_of: datetime) -> bool:
        if not self._is_mine(state):
            if self._is_others(state):
                return False
            state = await self._take(state)
        if state.wanted != state.generation:
            await self._rebuild(state)
            return False
        if self._has_other_days(state):
            await self._lost(state, "with days of another time zone")
        if self._known is None:
            await self._settle(state)
        elif max(self._known) > state.positioned:
            await self._lost(state, "ahead of the database")
        if state.fresh or self._seconds_since(self._renewed_at) > LEASE.total_seconds() / 3:
            state = await self._position(state)
        if state.applied != state.positioned or self._seconds_since(self._verified_at) > _VERIFY_S:
            await self._apply(state, as_of)
        if self._active != state.generation:
            await self._activate(state)
        return state.fresh

    def _has_other_days(self, state: LaneState) -> bool:
        """Whether the programme's days begin elsewhere than those of the boards, for good.

        Not at once: for a moment some processes still book by the rulebook before.
        """
        zone = self._shared.program().timezone.key
        if zone != self._zone:
            self._zone, self._zone_since = zone, self._seconds()
        return zone != state.timezone and self._seconds_since(self._zone_since) >= SETTLED_S

    def _is_mine(self, state: LaneState) -> bool:
        return (state.owner, state.epoch) == (self._owner, self._epoch)

    def _is_others(self, state: LaneState) -> bool:
        now = self._shared.clock.real_now()
        return state.owner is not None and state.lease_until is not None and state.lease_until > now

    async def _look(self) -> LaneState:
        row = await self._shared.database.pool.fetchrow(_LOOK, self._lane)
        assert row is not None
        return LaneState(*row)

    async def _take(self, seen: LaneState) -> LaneState:
        """Begin a turn. Raises StartOverError when another relay was quicker."""
        row = await self._shared.database.pool.fetchrow(
            _TAKE, self._lane, seen.epoch, self._owner, self._lease()
        )
        if row is None:
            raise StartOverError
        self._epoch, self._known, self._active = seen.epoch + 1, None, 0
        self._renewed_at = self._seconds()
        _log.info("relay_took_lane", lane=self._lane, epoch=self._epoch)
        taken = dict(row)
        return seen._replace(epoch=self._epoch, owner=self._owner, **taken)

    async def _position(self, state: LaneState) -> LaneState:
        """Give what has none the next positions, durably, before anything is applied."""
        async with self._shared.database.transaction() as connection:
            row = await connection.fetchrow(_LOCK, *self._turn_key())
            if row is None:
                raise StartOverError
            found = await position_rows(connection, self._lane, row["positioned"], _ROWS_MAX)
            positioned = row["positioned"] + found
            await connection.execute(_POSITIONED, self._lane, positioned, self._lease())
        self._renewed_at = self._seconds()
        return state._replace(positioned=positioned, fresh=found == _ROWS_MAX)

    async def _settle(self, state: LaneState) -> None:
        """Ask every shard where it stands; nothing may be positioned before that.

        Positions are durable before they are applied: a shard that is ahead of them holds what a
        database, restored from a backup, never saw.
        """
        self._known = [state.applied] * self._shared.layout.shards
        await self._send(state, [], state.applied, None)

    async def _apply(self, state: LaneState, as_of: datetime) -> None:
        """Bring every shard up to the last position, in slices."""
        assert self._known is not None
        while True:
            lowest = min(self._known)
            rows = await self._rows(state, lowest)
            end = rows[-1].position if rows else lowest
            caught_up = end == state.positioned and not state.fresh
            await self._send(state, rows, end, as_of if caught_up else None)
            if min(self._known) >= state.positioned:
                break
        self._verified_at = self._seconds()
        if state.applied != state.positioned:
            await self._mark(state.positioned)

    async def _rows(self, state: LaneState, after: int) -> list[Row]:
        """The next rows, without a gap; a shard that lacks rows no longer kept is built anew."""
        if after >= state.positioned:
            return []
        found = await self._shared.database.pool.fetch(
            _ROWS, self._lane, after, state.positioned, _ROWS_MAX
        )
        rows: list[Row] = []
        deltas = 0
        for row in map(Row._make, found):
            if row.position != after + len(rows) + 1:
                break
            rows.append(row)
            deltas += len(row.body["deltas"])
            if deltas >= _DELTAS_MAX:
                break
        if not rows:
            await self._lost(state, "behind what the outbox still holds")
        return rows

    async def _send(
        self, state: LaneState, rows: list[Row], end: int, as_of: datetime | None
    ) -> None:
        """Send each shard what it lacks of these rows, and learn where it stands."""
        assert self._known is not None
        layout = self._shared.layout
        folded: dict[int, list[Changes]] = {}
        slices = []
        for shard, start in enumerate(self._known):
            if start > end:
                continue
            if start not in folded:
                folded[start] = fold([row for row in rows if row.position > start], layout)
            slices.append(Slice(shard, start, end, folded[start][shard], as_of))
        turn = Turn(self._lane, self._epoch, state.generation)
        today = self._shared.clock.now().date()
        replies = await apply_slices(self._shared.redis, layout, turn, slices, today)
        for part, reply in zip(slices, replies, strict=True):
            await self._learn(state, part, reply)

    async def _learn(self, state: LaneState, part: Slice, reply: Reply) -> None:
        assert self._known is not None
        if reply.what == "missing":
            # A start that finds none is no fault: the embedded Redis keeps nothing between runs.
            await self._lost(state, "without this lane", is_fault=self._verified_at > 0)
        if reply.what == "stale":
            if self._is_mine(await self._look()):
                await self._lost(state, "of a later turn than the database")
            raise StartOverError
        self._known[part.shard] = reply.position
        if reply.position > state.positioned:
            await self._lost(state, "ahead of the database")
        if reply.active != state.generation:
            self._active = 0

    async def _lost(self, state: LaneState, how: str, *, is_fault: bool = True) -> None:
        """Have all boards built anew: a shard does not hold what it should, nor can be mended."""
        say = _log.warning if is_fault else _log.info
        event = "boards_lost" if is_fault else "boards_missing"
        say(event, lane=self._lane, generation=state.generation, shard=how)
        async with self._shared.database.transaction() as connection:
            now = self._shared.clock.real_now()
            await request_rebuild(connection, now, seen=state.wanted)
        raise StartOverError

    async def _mark(self, applied: int) -> None:
        await self._shared.database.pool.execute(_MARK, *self._turn_key(), applied)

    async def _rebuild(self, state: LaneState) -> None:
        """Load the lane's part of the wanted generation."""
        shared, now = self._shared, self._shared.clock.now()
        program = shared.program()
        spans = open_spans(program, now)
        turn = Turn(self._lane, self._epoch, state.wanted)
        async with shared.database.pool.acquire() as connection:
            position = await take_snapshot(
                connection, (self._lane, self._epoch), shared.lanes, spans
            )
            if position is None:
                raise StartOverError
            async for sums in read_sums(connection, spans):
                await self._renew(connection)
                shards = scores_by_shard(sums, spans, shared.layout, now.date())
                for shard, scores in enumerate(shards):
                    await self._load(turn, shard, scores)
            await drop_sums(connection)
        for shard in range(shared.layout.shards):
            await self._load(turn, shard, [], complete_at=(position, now))
        done = await shared.database.pool.execute(
            _BUILT, *self._turn_key(), position, state.wanted, program.timezone.key
        )
        if done == "UPDATE 0":
            raise StartOverError
        self._known = [position] * shared.layout.shards
        _log.info("boards_built", lane=self._lane, generation=state.wanted)

    async def _load(
        self,
        turn: Turn,
        shard: int,
        scores: list[Score],
        complete_at: tuple[int, datetime] | None = None,
    ) -> None:
        shared = self._shared
        if not (scores or complete_at):
            return
        if not await load_scores(
            shared.redis, shared.layout, turn, shard, scores, complete_at=complete_at
        ):
            raise StartOverError

    async def _renew(self, connection: Connection) -> None:
        done = await connection.execute(_RENEW, *self._turn_key(), self._lease())
        if done == "UPDATE 0":
            raise StartOverError
        self._renewed_at = self._seconds()

    async def _activate(self, state: LaneState) -> None:
        """Let readers have the generation, once every lane is there."""
        shared = self._shared
        if not await activate(shared.redis, shared.layout, state.generation, shared.lanes):
            return
        self._active = state.generation
        if self._lane == 0:
            await drop_others(shared.redis, shared.layout, state.generation, _READERS_S)

    def _turn_key(self) -> tuple[int, int, UUID]:
        return self._lane, self._epoch, self._owner

    def _lease(self) -> datetime:
        return self._shared.clock.real_now() + LEASE

    def _seconds(self) -> float:
        return asyncio.get_running_loop().time()

    def _seconds_since(self, then: float) -> float:
        return self._seconds() - then


_LOOK = """
SELECT epoch, owner, lease_until, positioned, applied, generation, wanted, timezone,
    EXISTS (SELECT FROM outbox WHERE outbox.lane = $1 AND position IS NULL)
FROM relay_lanes WHERE lane = $1"""

_TAKE = """
UPDATE relay_lanes SET epoch = epoch + 1, owner = $3, lease_until = $4
WHERE lane = (
    SELECT lane FROM relay_lanes WHERE lane = $1 AND epoch = $2 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING positioned, applied, generation, wanted, timezone"""

_LOCK = """
SELECT positioned FROM relay_lanes WHERE lane = $1 AND epoch = $2 AND owner = $3
FOR NO KEY UPDATE SKIP LOCKED"""

_POSITIONED = "UPDATE relay_lanes SET positioned = $2, lease_until = $3 WHERE lane = $1"

_RENEW = """
UPDATE relay_lanes SET lease_until = $4 WHERE lane = $1 AND epoch = $2 AND owner = $3"""

_RELEASE = """
UPDATE relay_lanes SET owner = NULL, lease_until = NULL
WHERE lane = $1 AND epoch = $2 AND owner = $3"""

_ROWS = """
SELECT position, body FROM outbox WHERE lane = $1 AND position > $2 AND position <= $3
ORDER BY position LIMIT $4"""

_MARK = """
UPDATE relay_lanes SET applied = $4
WHERE lane = $1 AND epoch = $2 AND owner = $3 AND applied < $4 AND positioned >= $4"""

_BUILT = """
UPDATE relay_lanes SET applied = $4, generation = $5, timezone = $6
WHERE lane = $1 AND epoch = $2 AND owner = $3"""
