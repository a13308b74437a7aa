"""The only place that asks what time it is.

The programme's clock (`now`) drives what people see: occurred, ripens, expires, days, seasons. In
development it can be moved forward; the offset lives in PostgreSQL, so that every process and
command shares it. Security (`real_now`) always goes by real time.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base, Connection
from service.platform.errors import ConflictError

CLOCK_CHANNEL = "saxaul_clock"


class DevelopmentClock(Base):
    """How far the programme's clock is ahead of real time; one row, only in development."""

    __tablename__ = "development_clock"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    offset_us: Mapped[int] = mapped_column(BigInteger)


class ClockMovesForwardOnlyError(ConflictError):
    """The clock was asked to go back: grams already counted in days would move."""

    code = "clock-moves-forward-only"
    text = "It is {now:%FT%TZ} already, and {wanted:%FT%TZ} is past."
    now: datetime
    wanted: datetime


class Clock:
    """Real time plus the development offset."""

    def __init__(self) -> None:
        """Start with real time; `follow` or `refresh` bring the stored offset."""
        self.offset = timedelta()

    def now(self) -> datetime:
        """The programme's time, in UTC."""
        return datetime.now(UTC) + self.offset

    def real_now(self) -> datetime:
        """The wall's time, in UTC: token expiry, signatures, stored answers."""
        return datetime.now(UTC)

    async def refresh(self, connection: Connection) -> None:
        """Read the stored offset; production has none."""
        offset_us = await connection.fetchval(
            "SELECT offset_us FROM development_clock WHERE id = 1"
        )
        self.offset = timedelta(microseconds=offset_us or 0)

    async def follow(self, connection: Connection) -> None:
        """Learn of every move at once, for as long as this connection lives."""
        await connection.add_listener(CLOCK_CHANNEL, self._on_move)
        await self.refresh(connection)

    def _on_move(self, _connection: Any, _pid: int, _channel: str, offset_us: object) -> None:
        self.offset = timedelta(microseconds=int(str(offset_us)))

    async def move(self, connection: Connection, to: datetime | timedelta) -> None:
        """Move forward to a time, or by so much, for all. Raises ClockMovesForwardOnlyError."""
        await connection.execute(
            "INSERT INTO development_clock (id, offset_us) VALUES (1, 0) ON CONFLICT DO NOTHING"
        )
        offset_us = await connection.fetchval(
            "SELECT offset_us FROM development_clock WHERE id = 1 FOR NO KEY UPDATE"
        )
        stored = timedelta(microseconds=offset_us)
        now = self.real_now() + stored
        wanted = to if isinstance(to, datetime) else now + to
        if wanted < now:
            raise ClockMovesForwardOnlyError(now=now, wanted=wanted)
        moved = stored + (wanted - now)
        moved_us = moved // timedelta(microseconds=1)
        await connection.execute(
            "UPDATE development_clock SET offset_us = $1 WHERE id = 1", moved_us
        )
        await connection.execute("SELECT pg_notify($1, $2)", CLOCK_CHANNEL, str(moved_us))
        self.offset = moved
