"""What PostgreSQL knows of boards: everything that counts on one, and who may be named."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database import Connection
from service.leaderboards.keys import Period
from service.participants.models import Participant


class Span(NamedTuple):
    """A period with its first instant and the next one's."""

    period: Period
    starts_at: datetime
    ends_at: datetime


class Sum(NamedTuple):
    """What a person has on a board in a period, of what was booked in a region ("" for none)."""

    member: bytes
    board: str
    period: str
    region: str
    total: int


async def read_sums(
    connection: Connection, spans: Sequence[Span], *, lane: int, lanes: int
) -> list[Sum]:
    """Everything that people of a lane have on the boards of these periods, from the ledger.

    Who is off the boards again, or was erased, comes with 0.
    """
    rows = await connection.fetch(
        _SUMS,
        [span.period.name for span in spans],
        [span.starts_at for span in spans],
        [span.ends_at for span in spans],
        lane,
        lanes,
    )
    return [Sum(row[0].bytes, *row[1:]) for row in map(tuple, rows)]


async def names_to_show(
    session: AsyncSession, ids: Collection[UUID], viewer: UUID
) -> Mapping[UUID, str]:
    """The display names of those of these people whom the viewer may see: public ones, and himself.

    `friends` is not public: it opens the scope of friends, not a board of strangers.
    """
    rows = await session.execute(
        select(Participant.participant_id, Participant.display_name).where(
            Participant.participant_id.in_(ids),
            or_(Participant.visibility == "public", Participant.participant_id == viewer),
        )
    )
    return {row.participant_id: row.display_name for row in rows}


# Every booking that counts. What a person collected counts where and from what action it came, so a
# gift does not; a cancellation takes trees back in its own period, where they were pledged.
_SUMS = """
WITH booked AS (
    SELECT t.participant_id, 'energy' AS board, t.at, a.region, t.amount_g AS change
    FROM transfers t JOIN actions a ON a.participant_id = t.participant_id AND a.id = t.cause_id
    WHERE t.cause = 'collect'
    UNION ALL
    SELECT participant_id, 'saved', recorded_at, region, saved_g FROM actions WHERE saved_g <> 0
    UNION ALL
    SELECT participant_id, 'trees', created_at, region, trees FROM pledges
    UNION ALL
    SELECT participant_id, 'trees', cancelled_at, region, -trees FROM pledges
    WHERE cancelled_at IS NOT NULL
)
SELECT booked.participant_id, board, span.name, region,
    CASE WHEN closed THEN 0 ELSE sum(change)::bigint END
FROM booked
    JOIN books ON books.participant_id = booked.participant_id
    JOIN unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS span (name, starts_at, ends_at)
        ON booked.at >= span.starts_at AND booked.at < span.ends_at
WHERE ('x' || left(booked.participant_id::text, 8))::bit(32)::bigint % $5 = $4
GROUP BY booked.participant_id, board, span.name, region, closed"""
