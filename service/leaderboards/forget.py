"""Taking a person off the boards, for erasure: through the lane's relay, like everything else."""

from datetime import date, datetime
from uuid import UUID

from service.platform.database import Connection, Write
from service.platform.outbox import row_write


async def forget_write(
    connection: Connection, participant_id: UUID, lane: int, at: datetime, day: date
) -> Write:
    """A row of the outbox that takes this person off all open boards.

    It belongs into the transaction that closes the book, whose lock it needs: what the person
    booked before has a lower id then, and nothing is booked afterwards. `day` is the programme's.
    """
    regions = await connection.fetch(_REGIONS, participant_id)
    forget = [[participant_id.hex, [region for (region,) in regions]]]
    body = {"day": day.isoformat(), "deltas": [], "forget": forget}
    return row_write(participant_id, lane, at, body)


_REGIONS = """
SELECT region FROM (
    SELECT region FROM actions WHERE participant_id = $1
    UNION SELECT region FROM pledges WHERE participant_id = $1) AS regions
WHERE region <> ''"""
