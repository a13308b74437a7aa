"""Bubbles: where earned energy waits until it is ripe, and how it leaves.

A bubble has no lock of its own: whoever changes one holds its owner's book.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.platform.arrays import Columns
from service.platform.database import Connection, Write
from service.platform.errors import ConflictError


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


class Bubble(Struct):
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

    def is_collectable(self, now: datetime) -> bool:
        """Whether it is ripe, not past its time and not empty."""
        return self.remaining_g > 0 and self.ripens_at <= now < self.expires_at

    def require_collectable(self, now: datetime) -> None:
        """Raise BubbleEmptyError, BubbleNotRipeError or BubbleExpiredError."""
        if self.expired_g or (self.remaining_g and now >= self.expires_at):
            raise BubbleExpiredError(self.expires_at)
        if not self.remaining_g:
            raise BubbleEmptyError
        if now < self.ripens_at:
            raise BubbleNotRipeError(self.ripens_at)


def new_bubbles_write(actions: Iterable[object]) -> Write:
    """Insert the bubbles of these actions that earned energy, as yet untouched."""
    return Write(_ADD, _NEW.values_of(actions))


def changed_bubbles_write(bubbles: Sequence[Bubble]) -> Write:
    """Write back what is left of bubbles and where the rest went."""
    return Write(_CHANGE, _CHANGED.values_of(bubbles))


async def read_bubbles(
    connection: Connection, keys: Sequence[tuple[UUID, UUID]]
) -> dict[tuple[UUID, UUID], Bubble]:
    """Bubbles of locked books, by participant and id; what is not there is left out."""
    if not keys:
        return {}
    owners, ids = [owner for owner, _ in keys], [bubble_id for _, bubble_id in keys]
    rows = await connection.fetch(_READ_THESE, owners, ids)
    return {(row[0], row[1]): Bubble(*row) for row in rows}


async def read_collectable(
    connection: Connection,
    named: Sequence[tuple[UUID, UUID]],
    until: Sequence[tuple[UUID, datetime]],
) -> list[tuple[Bubble, str | None]]:
    """These bubbles, and all that are ripe in these books at these times, oldest first.

    Each comes with the region of its action, which a gift has none of.
    """
    named_columns = [owner for owner, _ in named], [bubble_id for _, bubble_id in named]
    whole_columns = [owner for owner, _ in until], [at for _, at in until]
    rows = await connection.fetch(_READ_COLLECTABLE, *named_columns, *whole_columns)
    return [(Bubble(*row[:-1]), row[-1]) for row in rows]


async def read_expired_bubbles(
    connection: Connection, ids: Iterable[UUID], now: datetime, limit: int
) -> list[Bubble]:
    """What is past its time and not empty, in these locked books."""
    rows = await connection.fetch(_READ_EXPIRED, list(ids), now, limit)
    return [Bubble(*row) for row in rows]


_BUBBLE = ", ".join(Bubble.__struct_fields__)

_READ_THESE = f"""
SELECT {_BUBBLE} FROM bubbles
JOIN unnest($1::uuid[], $2::uuid[]) AS k (participant_id, id) USING (participant_id, id)
WHERE participant_id = ANY($1::uuid[])"""  # noqa: S608 - constant columns

_READ_COLLECTABLE = f"""
WITH found AS (
    SELECT {_BUBBLE} FROM bubbles
    JOIN unnest($1::uuid[], $2::uuid[]) AS k (participant_id, id) USING (participant_id, id)
    WHERE participant_id = ANY($1::uuid[])
    UNION
    SELECT {_BUBBLE} FROM bubbles
    JOIN unnest($3::uuid[], $4::timestamptz[]) AS k (participant_id, at) USING (participant_id)
    WHERE participant_id = ANY($3::uuid[])
        AND remaining_g > 0 AND ripens_at <= k.at AND expires_at > k.at
)
SELECT {", ".join(f"f.{name}" for name in Bubble.__struct_fields__)}, a.region
FROM found f
LEFT JOIN actions a ON a.participant_id = f.participant_id AND a.id = f.id
ORDER BY f.ripens_at, f.id"""  # noqa: S608 - constant columns

_READ_EXPIRED = f"""
SELECT {_BUBBLE} FROM bubbles
WHERE participant_id = ANY($1::uuid[]) AND remaining_g > 0 AND expires_at <= $2
ORDER BY participant_id, id LIMIT $3"""  # noqa: S608 - constant columns

_NEW = Columns(
    "participant_id uuid, id uuid, energy_g bigint, ripens_at timestamptz, expires_at timestamptz"
)

_ADD = f"""
INSERT INTO bubbles ({_NEW.names}, remaining_g, origin, origin_id)
SELECT d.*, d.energy_g, 'action', d.id FROM {_NEW.rows}"""  # noqa: S608 - constant columns

_CHANGED = Columns(
    "participant_id uuid, id uuid, remaining_g bigint, collected_g bigint, taken_g bigint,"
    "expired_g bigint, reversed_g bigint"
)

_CHANGE = f"""
UPDATE bubbles SET
    remaining_g = d.remaining_g, collected_g = d.collected_g, taken_g = d.taken_g,
    expired_g = d.expired_g, reversed_g = d.reversed_g
FROM {_CHANGED.rows}
WHERE bubbles.participant_id = d.participant_id AND bubbles.id = d.id"""  # noqa: S608 - constant columns
