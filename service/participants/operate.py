"""What operators do with a participant: find, suspend, resume."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, true
from sqlalchemy.ext.asyncio import AsyncSession

from service.ledger.books import lock_book, suspend_book
from service.ledger.models import Book
from service.participants.identities import subject_key
from service.participants.models import Identity, Participant
from service.participants.queries import ParticipantAnswer, list_participants
from service.platform.acts import Act
from service.platform.database import Database


async def list_by_subject(
    session: AsyncSession, secret_key: str, issuers: Sequence[str], subject: str
) -> list[ParticipantAnswer]:
    """Whom this subject is, by each of these issuers."""
    keys = [subject_key(secret_key, issuer, subject) for issuer in issuers]
    query = select(Identity.participant_id).where(Identity.subject_key.in_(keys))
    found = (await session.scalars(query)).all()
    return await list_participants(session, Book.participant_id.in_(found), limit=len(keys))


async def list_by_alias(
    session: AsyncSession, *, alias: str | None, after: UUID | None, limit: int
) -> list[ParticipantAnswer]:
    """Participants in the order of their ids, all of them or those with this display name."""
    wanted = true() if alias is None else Participant.display_name == alias
    if after is not None:
        wanted &= Book.participant_id > after
    return await list_participants(session, wanted, limit=limit)


async def set_suspended(
    database: Database,
    participant_id: UUID,
    suspended: bool,  # noqa: FBT001 - the one fact that this sets
    *,
    reason: str | None,
    act: Act,
) -> None:
    """Suspend or resume somebody; what is so already stays so, without an entry in the log.

    Raises BookMissingError, ParticipantErasedError.
    """
    async with database.transaction() as connection:
        book = await lock_book(connection, participant_id)
        book.require_not_erased()
        if book.suspended == suspended:
            return
        await suspend_book(connection, participant_id, suspended)
        before, after = {"suspended": book.suspended}, {"suspended": suspended}
        detail = {"reason": reason, "before": before, "after": after}
        what = "participant.suspend" if suspended else "participant.resume"
        await act.log(connection, what, participant_id, detail)
