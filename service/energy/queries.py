"""What people ask about their bubbles."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from service.energy.models import Bubble


async def list_bubbles(
    session: AsyncSession,
    participant_id: UUID,
    *,
    now: datetime,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Bubble]:
    """Bubbles that still hold grams and have not expired, the first to ripen first."""
    query = (
        select(Bubble)
        .where(
            Bubble.participant_id == participant_id,
            Bubble.remaining_g > 0,
            Bubble.expires_at > now,
        )
        .order_by(Bubble.ripens_at, Bubble.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(Bubble.ripens_at, Bubble.id) > tuple_(*after))
    return (await session.scalars(query)).all()
