"""The outbox: what views must learn of a commit, written in the commit's own transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, Index, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base, Write


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
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)

    __table_args__ = (
        Index(None, "lane", "id", postgresql_where="position IS NULL"),
        Index(None, "lane", "position"),
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
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    positioned: Mapped[int] = mapped_column(BigInteger, server_default="0")
    applied: Mapped[int] = mapped_column(BigInteger, server_default="0")
    generation: Mapped[int] = mapped_column(BigInteger, server_default="0")
    wanted: Mapped[int] = mapped_column(BigInteger, server_default="0")
    timezone: Mapped[str | None] = mapped_column(Text)

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
    return Write(_INSERT, (deltas[0][0], lane, at, {"day": day, "deltas": entries}))


_INSERT = """
INSERT INTO outbox (participant_id, lane, at, body) VALUES ($1, $2, $3, $4)"""
