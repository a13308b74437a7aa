"""The outbox: what views must learn of a commit, written in the commit's own transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.clock import Clock
from service.platform.database import Base, Connection, Database, Write, row_count
from service.platform.persons import of_persons
from service.platform.settings import Settings


class OutboxRow(Base):
    """The deltas of one transaction. `position` is given by the lane's relay, gapless a lane.

    Ids may commit out of order, so a relay never reads above a high-water mark: it positions what
    has none yet, in order of id.
    """

    __tablename__ = "outbox"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    lane: Mapped[int] = mapped_column(SmallInteger)
    position: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime]
    body: Mapped[dict[str, Any]]

    __table_args__ = (
        Index(None, "lane", "id", postgresql_where="position IS NULL"),
        Index(None, "lane", "position"),
        of_persons(
            kept="tells the boards whom to take off, and is deleted after an hour",
            not_exported="one row tells of many people, and is deleted after an hour",
        ),
    )


class RelayLane(Base):
    """How far a lane's rows are positioned and applied, and whose turn (`epoch`, `owner`) it is.

    `generation` is the one of the boards that the lane has built, `wanted` the one it should have;
    `timezone` is where the days of that generation begin.
    """

    __tablename__ = "relay_lanes"

    lane: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(BigInteger, server_default="0")
    owner: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    positioned: Mapped[int] = mapped_column(BigInteger, server_default="0")
    applied: Mapped[int] = mapped_column(BigInteger, server_default="0")
    generation: Mapped[int] = mapped_column(BigInteger, server_default="0")
    wanted: Mapped[int] = mapped_column(BigInteger, server_default="0")
    timezone: Mapped[str | None]

    __table_args__ = (CheckConstraint("applied <= positioned", name="applied_is_positioned"),)


def lane_of(participant_id: UUID, lanes: int) -> int:
    """The lane of a person: participant ids are random, so their first bytes spread evenly."""
    return (participant_id.int >> 96) % lanes


def outbox_write(
    lane: int, at: datetime, day: str, deltas: Sequence[tuple[UUID, str, int, str]]
) -> Write:
    """One outbox row for a transaction of one lane.

    `deltas` are (participant, board, change, region); `day` is the programme's date on which all of
    them were booked, from which a relay derives week and month: a batch over midnight writes two
    rows. `region` is that of the row that counts (the action, the pledge), so that boards can be
    built anew from those rows. The row carries a participant of its lane as its key.
    """
    entries = [
        [participant_id.hex, board, change, region]
        for participant_id, board, change, region in deltas
    ]
    return row_write(deltas[0][0], lane, at, {"day": day, "deltas": entries})


def row_write(participant_id: UUID, lane: int, at: datetime, body: dict[str, Any]) -> Write:
    """A row of whatever the lane's relay understands; its key is a participant of the lane."""
    return Write(_INSERT, (participant_id, lane, at, body))


async def position_rows(
    connection: Connection, lane: int, positioned: int, limit: int | None = None
) -> int:
    """Give rows of the lane that have none the next positions, by id; how many got one.

    The lane's row must be locked by an earlier statement: rows read together with the lock could
    be from before it.
    """
    return row_count(await connection.execute(_POSITION, lane, positioned, limit))


async def drop_rows(connection: Connection) -> None:
    """Forget all that the boards have not seen; they are built anew from what it says."""
    await connection.execute("DELETE FROM outbox")


async def purge_outbox(database: Database, clock: Clock, _settings: Settings) -> int:
    """Delete rows that were applied: a shard that lost its tail is mended from the last hour's."""
    before = clock.now() - _KEEP
    return row_count(await database.pool.execute(_PURGE, before, _PURGED_MAX))


async def unknown_lane(database: Database, lanes: int) -> int | None:
    """A lane that waits and that nobody relays: some process has another number of lanes."""
    lane = await database.pool.fetchval("SELECT max(lane) FROM outbox WHERE position IS NULL")
    return lane if lane is not None and lane >= lanes else None


_KEEP = timedelta(hours=1)
_PURGED_MAX = 5_000

_INSERT = """
INSERT INTO outbox (participant_id, lane, at, body) VALUES ($1, $2, $3, $4)"""

_POSITION = """
UPDATE outbox SET position = $2 + fresh.n
FROM (
    SELECT participant_id, id, row_number() OVER (ORDER BY id) AS n FROM outbox
    WHERE lane = $1 AND position IS NULL ORDER BY id LIMIT $3
) AS fresh
WHERE outbox.participant_id = fresh.participant_id AND outbox.id = fresh.id"""

_PURGE = """
DELETE FROM outbox WHERE (participant_id, id) IN (
    SELECT participant_id, id FROM outbox JOIN relay_lanes USING (lane)
    WHERE position <= applied AND at < $1 LIMIT $2 FOR UPDATE OF outbox SKIP LOCKED)"""
