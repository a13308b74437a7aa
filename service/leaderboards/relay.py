"""The relay of a lane: carries the outbox into the boards, in order and exactly once.

Ids of the outbox are drawn inside transactions and may commit out of order, so the relay gives
rows positions of its own: whatever has none yet is next, in order of id. A script applies a slice
to a shard together with the lane's position there, if the shard stands where the slice begins.
Whatever dies between those steps, and whoever else believes it is their turn, changes nothing.
"""

import asyncio
from datetime import datetime

import asyncpg
import structlog

from service.leaderboards.fold import Changes, Row, fold
from service.leaderboards.lane import ROWS_MAX, LaneState, Shared, StartOverError, Turns, seconds
from service.leaderboards.rebuild import build_lane, request_rebuild
from service.leaderboards.write import Reply, Slice, Turn, activate, apply_slices, drop_others
from service.platform.beside import pause

# The rows of a fifth of a second are summed up a person: shorter pauses cost Redis more work.
PAUSE_S = 0.2
# Processes switch to a new rulebook within two seconds.
SETTLED_S = 5.0
_VERIFY_S = 1.0
_DELTAS_MAX = 4_000
_READERS_S = 60

_log = structlog.get_logger(__name__)


class Relay:
    """One lane's relay in one process; of several, the one with the lease works."""

    def __init__(self, shared: Shared, lane: int) -> None:
        """Begin without a turn: the first round takes it when nobody else has it."""
        self._shared = shared
        self._lane = lane
        self._turns = Turns(shared, lane)
        # Where each shard stands, as far as this turn knows; None before it has asked.
        self._known: list[int] | None = None
        self._verified_at = 0.0
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
        state = await self._turns.look()
        try:
            return await self._work(state, as_of)
        except (StartOverError, asyncpg.SerializationError):
            self._known = None
            return False

    async def release(self) -> None:
        """Let another relay have the lane at once."""
        await self._turns.release()

    async def _work(self, state: LaneState, as_of: datetime) -> bool:
        if not self._turns.is_mine(state):
            if self._turns.is_others(state):
                return False
            state = await self._turns.take(state)
            self._known, self._active = None, 0
            _log.info("relay_took_lane", lane=self._lane, epoch=state.epoch)
        if state.wanted != state.generation:
            position = await build_lane(self._shared, self._turns, state.wanted)
            self._known = [position] * self._shared.layout.shards
            _log.info("boards_built", lane=self._lane, generation=state.wanted)
            return False
        if self._has_other_days(state):
            await self._lost(state, "with days of another time zone")
        if self._known is None:
            await self._settle(state)
        elif max(self._known) > state.positioned:
            await self._lost(state, "ahead of the database")
        if state.fresh or self._turns.must_renew:
            state = await self._turns.position(state)
        if state.applied != state.positioned or seconds() - self._verified_at > _VERIFY_S:
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
            self._zone, self._zone_since = zone, seconds()
        return zone != state.timezone and seconds() - self._zone_since >= SETTLED_S

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
        self._verified_at = seconds()
        if state.applied != state.positioned:
            await self._turns.mark_applied(state.positioned)

    async def _rows(self, state: LaneState, after: int) -> list[Row]:
        """The next rows, without a gap; a shard that lacks rows no longer kept is built anew."""
        if after >= state.positioned:
            return []
        found = await self._shared.database.pool.fetch(
            _ROWS, self._lane, after, state.positioned, ROWS_MAX
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
        turn = Turn(self._lane, self._turns.epoch, state.generation)
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
            if self._turns.is_mine(await self._turns.look()):
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

    async def _activate(self, state: LaneState) -> None:
        """Let readers have the generation, once every lane is there."""
        shared = self._shared
        if not await activate(shared.redis, shared.layout, state.generation, shared.lanes):
            return
        self._active = state.generation
        if self._lane == 0:
            await drop_others(shared.redis, shared.layout, state.generation, _READERS_S)


_ROWS = """
SELECT position, body FROM outbox WHERE lane = $1 AND position > $2 AND position <= $3
ORDER BY position LIMIT $4"""
