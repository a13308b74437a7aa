"""What operators do with a participant: find, look, suspend, resume."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from service.ledger.balances import Balances
from service.ledger.books import BookMissingError, lock_book, suspend_book
from service.ledger.models import Book
from service.participants.identities import subject_key
from service.participants.models import Identity, Participant
from service.participants.queries import (
    ADJUSTED,
    Suspension,
    find_suspensions,
    stored_balances,
)
from service.platform.acts import Act
from service.platform.database import Database

State = Literal["active", "suspended", "erased"]


@dataclass(frozen=True, slots=True)
class ParticipantView:
    """A participant as operators see one. Who was erased has a book and no name."""

    participant_id: UUID
    state: State
    display_name: str | None
    region: str | None
    visibility: str | None
    created_at: datetime | None
    balances: Balances
    earned_g: int
    saved_g: int
    trees: int
    suspension: Suspension | None


async def get_view(session: AsyncSession, participant_id: UUID) -> ParticipantView:
    """One participant, also one who was erased. Raises BookMissingError."""
    views = await _views(session, Book.participant_id == participant_id, limit=1)
    if not views:
        raise BookMissingError(participant_id)
    return views[0]


async def list_by_subject(
    session: AsyncSession, secret_key: str, issuers: Sequence[str], subject: str
) -> list[ParticipantView]:
    """Whom this subject is, by each of these issuers."""
    keys = [subject_key(secret_key, issuer, subject) for issuer in issuers]
    found = (
        await session.scalars(select(Identity.participant_id).where(Identity.subject_key.in_(keys)))
    ).all()
    return await _views(session, Book.participant_id.in_(found), limit=len(keys))


async def list_views(
    session: AsyncSession, *, alias: str | None, after: UUID | None, limit: int
) -> list[ParticipantView]:
    """Participants in the order of their ids, all of them or those with this display name."""
    wanted = true() if alias is None else Participant.display_name == alias
    if after is not None:
        wanted &= Book.participant_id > after
    return await _views(session, wanted, limit=limit)


async def _views(
    session: AsyncSession, wanted: ColumnElement[bool], *, limit: int
) -> list[ParticipantView]:
    found = await session.execute(
        select(Book, Participant, ADJUSTED)
        .outerjoin(Participant, Participant.participant_id == Book.participant_id)
        .where(wanted)
        .order_by(Book.participant_id)
        .limit(limit)
    )
    rows = found.all()
    suspensions = await find_suspensions(session, [row[0] for row in rows])
    return [
        _view(book, person, adjusted_g, suspensions.get(book.participant_id))
        for book, person, adjusted_g in rows
    ]


def _view(
    book: Book, person: Participant | None, adjusted_g: int, suspension: Suspension | None
) -> ParticipantView:
    state: State = "suspended" if book.suspended else "active"
    return ParticipantView(
        participant_id=book.participant_id,
        state="erased" if book.closed else state,
        display_name=person.display_name if person else None,
        region=person.region if person else None,
        visibility=person.visibility if person else None,
        created_at=person.created_at if person else None,
        balances=stored_balances(book),
        earned_g=-book.issuance - int(adjusted_g),
        saved_g=book.saved_g,
        trees=book.trees,
        suspension=suspension,
    )


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
