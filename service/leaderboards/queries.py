"""Who may be named on a board."""

from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.participants.models import Participant


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
