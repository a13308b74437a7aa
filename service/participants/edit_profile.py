"""A person changes what they show of themselves."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from service.participants.models import Participant


async def edit_profile(
    session: AsyncSession, participant_id: UUID, changes: Mapping[str, Any]
) -> None:
    """Set these columns of a participant; one who was erased meanwhile stays erased."""
    wanted = Participant.participant_id == participant_id
    if changes:
        await session.execute(update(Participant).where(wanted).values(dict(changes)))
