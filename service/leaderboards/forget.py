"""Taking a person off the boards, for erasure: through the lane's relay, like everything else."""

from datetime import date, datetime
from uuid import UUID

from service.platform.database import Write


def forget_write(participant_id: UUID, lane: int, at: datetime, day: date) -> Write:
    """A row of the outbox that takes this person off all open boards.

    It belongs into the transaction that closes the book, whose lock it needs: what the person
    booked before has a lower id then, and nothing is booked afterwards. `day` is the programme's.
    """
    return Write(_FORGET, (participant_id, lane, at, day.isoformat()))


_FORGET = """
INSERT INTO outbox (participant_id, lane, at, body)
SELECT $1::uuid, $2::smallint, $3::timestamptz, jsonb_build_object(
    'day', $4::text, 'deltas', '[]'::jsonb, 'forget',
    jsonb_build_array(jsonb_build_array(replace($1::uuid::text, '-', ''), coalesce(
        (SELECT jsonb_agg(region) FROM (
            SELECT region FROM actions WHERE participant_id = $1
            UNION SELECT region FROM pledges WHERE participant_id = $1) AS regions
        WHERE region <> ''), '[]'::jsonb))))"""
