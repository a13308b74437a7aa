"""Bubbles: where earned energy waits until it is ripe, and how it leaves.

A bubble has no lock of its own: whoever changes one holds its owner's book.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.platform.arrays import integers, times, uuids
from service.platform.database import Connection, Write
from service.platform.errors import ConflictError, NotFoundError


class BubbleNotRipeError(ConflictError):
    """It ripens later."""

    code = "bubble-not-ripe"
    text = "The bubble ripens at {ripens_at:%FT%TZ}."
    ripens_at: datetime


class BubbleExpiredError(ConflictError):
    """Nobody collected it in time."""

    code = "bubble-expired"
    text = "The bubble expired at {expires_at:%FT%TZ}."
    expires_at: datetime


class BubbleEmptyError(ConflictError):
    """All of it was collected, taken or reversed."""

    code = "bubble-empty"
    text = "There is nothing left in this bubble."


@dataclass(slots=True)
class Bubble:
    """The working copy of a bubble whose owner's book is locked; amounts in grams."""

    participant_id: UUID
    id: UUID
    energy_g: int
    remaining_g: int
    collected_g: int
    taken_g: int
    expired_g: int
    reversed_g: int
    ripens_at: datetime
    expires_at: datetime
    origin: str
    origin_id: UUID

    def require_collectable(self, now: datetime) -> None:
        """Raise BubbleEmptyError, BubbleNotRipeError or BubbleExpiredError."""
        if self.expired_g or (self.remaining_g and now >= self.expires_at):
            raise BubbleExpiredError(self.expires_at)
        if not self.remaining_g:
            raise BubbleEmptyError
        if now < self.ripens_at:
            raise BubbleNotRipeError(self.ripens_at)


def new_bubbles_write(bubbles: Sequence[Bubble]) -> Write:
    """Insert bubbles that are full."""
    return Write(
        _ADD,
        (
            uuids([bubble.participant_id for bubble in bubbles]),
            uuids([bubble.id for bubble in bubbles]),
            integers([bubble.energy_g for bubble in bubbles]),
            times([bubble.ripens_at for bubble in bubbles]),
            times([bubble.expires_at for bubble in bubbles]),
            [bubble.origin for bubble in bubbles],
            uuids([bubble.origin_id for bubble in bubbles]),
        ),
    )


def changed_bubbles_write(bubbles: Sequence[Bubble]) -> Write:
    """Write back what is left of bubbles and where the rest went."""
    return Write(
        _CHANGE,
        (
            uuids([bubble.participant_id for bubble in bubbles]),
            uuids([bubble.id for bubble in bubbles]),
            integers([bubble.remaining_g for bubble in bubbles]),
            integers([bubble.collected_g for bubble in bubbles]),
            integers([bubble.taken_g for bubble in bubbles]),
            integers([bubble.expired_g for bubble in bubbles]),
            integers([bubble.reversed_g for bubble in bubbles]),
        ),
    )


async def read_bubble(connection: Connection, participant_id: UUID, bubble_id: UUID) -> Bubble:
    """One bubble of a locked book. Raises NotFoundError."""
    row = await connection.fetchrow(_READ_ONE, participant_id, bubble_id)
    if row is None:
        raise NotFoundError("You have no such bubble.")
    return Bubble(*row)


async def read_bubbles(
    connection: Connection, keys: Sequence[tuple[UUID, UUID]]
) -> dict[tuple[UUID, UUID], Bubble]:
    """Bubbles of locked books, by participant and id; what is not there is left out."""
    if not keys:
        return {}
    owners, ids = [owner for owner, _ in keys], [bubble_id for _, bubble_id in keys]
    rows = await connection.fetch(_READ_THESE, owners, ids)
    return {(row[0], row[1]): Bubble(*row) for row in rows}


async def read_ripe_bubbles(
    connection: Connection, participant_id: UUID, now: datetime, limit: int
) -> list[Bubble]:
    """What a locked book's owner can collect now, oldest first."""
    rows = await connection.fetch(_READ_RIPE, participant_id, now, limit)
    return [Bubble(*row) for row in rows]


async def read_expired_bubbles(
    connection: Connection, ids: Iterable[UUID], now: datetime, limit: int
) -> list[Bubble]:
    """What is past its time and not empty, in these locked books."""
    rows = await connection.fetch(_READ_EXPIRED, list(ids), now, limit)
    return [Bubble(*row) for row in rows]


async def owners_of_expired(
    connection: Connection, after: datetime, now: datetime, limit: int
) -> list[UUID]:
    """People with a bubble that ended in this time and still holds grams, found without a lock."""
    return [row[0] for row in await connection.fetch(_FIND_EXPIRED, after, now, limit)]


_BUBBLE = """participant_id, id, energy_g, remaining_g, collected_g, taken_g, expired_g,
    reversed_g, ripens_at, expires_at, origin, origin_id"""

_READ_ONE = f"""
SELECT {_BUBBLE} FROM bubbles WHERE participant_id = $1 AND id = $2"""  # noqa: S608

_READ_THESE = f"""
SELECT {_BUBBLE} FROM bubbles
JOIN unnest($1::uuid[], $2::uuid[]) AS k (participant_id, id) USING (participant_id, id)
WHERE participant_id = ANY($1::uuid[])"""  # noqa: S608 - constant columns

_READ_RIPE = f"""
SELECT {_BUBBLE} FROM bubbles
WHERE participant_id = $1 AND remaining_g > 0 AND ripens_at <= $2 AND expires_at > $2
ORDER BY ripens_at, id LIMIT $3"""  # noqa: S608 - constant columns

_READ_EXPIRED = f"""
SELECT {_BUBBLE} FROM bubbles
WHERE participant_id = ANY($1::uuid[]) AND remaining_g > 0 AND expires_at <= $2
ORDER BY participant_id, id LIMIT $3"""  # noqa: S608 - constant columns

_FIND_EXPIRED = """
SELECT DISTINCT participant_id FROM bubbles
WHERE expires_at > $1 AND expires_at <= $2 AND remaining_g > 0 LIMIT $3"""

_ADD = """
INSERT INTO bubbles
    (participant_id, id, energy_g, remaining_g, ripens_at, expires_at, origin, origin_id)
SELECT d.participant_id, d.id, d.energy_g, d.energy_g, d.ripens_at, d.expires_at,
    d.origin, d.origin_id
FROM unnest(
    $1::text::uuid[], $2::text::uuid[], $3::text::bigint[], $4::text::timestamptz[],
    $5::text::timestamptz[], $6::text[],
    $7::text::uuid[]
) AS d (participant_id, id, energy_g, ripens_at, expires_at, origin, origin_id)"""

_CHANGE = """
UPDATE bubbles SET
    remaining_g = d.remaining_g, collected_g = d.collected_g, taken_g = d.taken_g,
    expired_g = d.expired_g, reversed_g = d.reversed_g
FROM unnest(
    $1::text::uuid[], $2::text::uuid[], $3::text::bigint[], $4::text::bigint[],
    $5::text::bigint[], $6::text::bigint[], $7::text::bigint[]
) AS d (participant_id, id, remaining_g, collected_g, taken_g, expired_g, reversed_g)
WHERE bubbles.participant_id = d.participant_id AND bubbles.id = d.id
    AND bubbles.participant_id = ANY($1::text::uuid[])"""
