"""A lane's row: how far the outbox is positioned and applied, and whose turn it is to carry it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg
from msgspec import Struct
from redis.asyncio import Redis

from service.leaderboards.keys import Layout
from service.platform.clock import Clock
from service.platform.database import Connection, Database
from service.platform.outbox import position_rows
from service.rules.decide.rulebook import Program

ROWS_MAX = 500
_LEASE = timedelta(seconds=3)


class StartOverError(Exception):
    """This round cannot go on: the turn is over, or boards are lost. The next look decides."""


class Shared(Struct, frozen=True):
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


class Turns:
    """What one relay does with its lane's row; it changes nothing once another one has the turn."""

    def __init__(self, shared: Shared, lane: int) -> None:
        """Begin without a turn."""
        self._database, self._clock, self.lane = shared.database, shared.clock, lane
        self._owner = uuid4()
        self._renewed_at = 0.0
        self.epoch = -1

    @property
    def must_renew(self) -> bool:
        """Whether a third of the lease is over."""
        return seconds() - self._renewed_at > _LEASE.total_seconds() / 3

    def is_mine(self, state: LaneState) -> bool:
        """Whether it is this relay's turn."""
        return (state.owner, state.epoch) == (self._owner, self.epoch)

    def is_others(self, state: LaneState) -> bool:
        """Whether another relay has the turn, and a lease."""
        now = self._clock.real_now()
        return state.owner is not None and state.lease_until is not None and state.lease_until > now

    async def look(self) -> LaneState:
        """How the lane is now."""
        row = await self._database.pool.fetchrow(_LOOK, self.lane)
        assert row is not None
        return LaneState(*row)

    async def take(self, seen: LaneState) -> LaneState:
        """Begin a turn. Raises StartOverError when another relay was quicker."""
        row = await self._database.pool.fetchrow(
            _TAKE, self.lane, seen.epoch, self._owner, self._lease()
        )
        if row is None:
            raise StartOverError
        self.epoch, self._renewed_at = seen.epoch + 1, seconds()
        return seen._replace(epoch=self.epoch, owner=self._owner, **dict(row))

    async def position(self, state: LaneState) -> LaneState:
        """Give what has none the next positions, durably, before anything is applied."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_LOCK, *self._key)
            if row is None:
                raise StartOverError
            found = await position_rows(connection, self.lane, row["positioned"], ROWS_MAX)
            positioned = row["positioned"] + found
            await connection.execute(_POSITIONED, self.lane, positioned, self._lease())
        self._renewed_at = seconds()
        return state._replace(positioned=positioned, fresh=found == ROWS_MAX)

    async def renew(self, connection: Connection) -> None:
        """Keep the turn for longer. Raises StartOverError when it is over."""
        await self._update(connection, _RENEW, self._lease())
        self._renewed_at = seconds()

    async def mark_applied(self, applied: int) -> None:
        """Remember that every shard is so far."""
        await self._database.pool.execute(_MARK, *self._key, applied)

    async def mark_built(self, position: int, generation: int, timezone: str) -> None:
        """Remember what was built. Raises StartOverError when the turn is over."""
        await self._update(self._database.pool, _BUILT, position, generation, timezone)

    async def release(self) -> None:
        """Let another relay have the lane at once."""
        if self.epoch >= 0:
            await self._database.pool.execute(_RELEASE, *self._key)

    async def _update(self, door: Connection | asyncpg.Pool, sql: str, *values: object) -> None:
        if await door.execute(sql, *self._key, *values) == "UPDATE 0":
            raise StartOverError

    @property
    def _key(self) -> tuple[int, int, UUID]:
        return self.lane, self.epoch, self._owner

    def _lease(self) -> datetime:
        return self._clock.real_now() + _LEASE


def seconds() -> float:
    """The time by which leases and pauses are measured."""
    return asyncio.get_running_loop().time()


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

_MARK = """
UPDATE relay_lanes SET applied = $4
WHERE lane = $1 AND epoch = $2 AND owner = $3 AND applied < $4 AND positioned >= $4"""

_BUILT = """
UPDATE relay_lanes SET applied = $4, generation = $5, timezone = $6
WHERE lane = $1 AND epoch = $2 AND owner = $3"""
