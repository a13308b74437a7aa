"""Reads of one person: what they show of themselves, what they hold."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.http.decode import Time
from service.ledger.accounts import Account
from service.ledger.balances import Balances
from service.ledger.models import Book, Transfer
from service.participants.models import Participant
from service.platform.acts import AuditEntry


class Suspension(msgspec.Struct, frozen=True):
    """Since when nothing moves in somebody's book, and why, if an operator said so."""

    reason: str | None
    at: Time


@dataclass(frozen=True, slots=True)
class Profile:
    """A participant with balances and totals. `earned_g` leaves out adjustments and gifts."""

    participant_id: UUID
    display_name: str
    region: str | None
    visibility: str
    created_at: datetime
    balances: Balances
    earned_g: int
    saved_g: int
    trees: int
    suspension: Suspension | None


async def find_profile(session: AsyncSession, participant_id: UUID) -> Profile | None:
    """One person's profile; None when there is none, or no more."""
    found = await session.execute(_PROFILE, {"participant_id": participant_id})
    row = found.one_or_none()
    if row is None:
        return None
    person, book, adjusted_g = row
    suspensions = await find_suspensions(session, [book])
    return Profile(
        participant_id=participant_id,
        display_name=person.display_name,
        region=person.region,
        visibility=person.visibility,
        created_at=person.created_at,
        balances=stored_balances(book),
        earned_g=-book.issuance - int(adjusted_g),
        saved_g=book.saved_g,
        trees=book.trees,
        suspension=suspensions.get(participant_id),
    )


async def find_suspensions(
    session: AsyncSession, books: Collection[Book]
) -> dict[UUID, Suspension]:
    """Why those of these people who are suspended are: as the last act on each tells."""
    wanted = [str(book.participant_id) for book in books if book.suspended]
    if not wanted:
        return {}
    entry = AuditEntry
    query = (
        select(entry)
        .where(entry.object.in_(wanted), entry.act == "participant.suspend")
        .order_by(entry.seq)
    )
    acts = await session.scalars(query)
    return {UUID(act.object): Suspension(act.detail["reason"], act.at) for act in acts}


async def find_region(session: AsyncSession, participant_id: UUID) -> str | None:
    """The region that this person lives in, if it was told."""
    query = select(Participant.region).where(Participant.participant_id == participant_id)
    found: str | None = await session.scalar(query)
    return found


def stored_balances(book: Book) -> Balances:
    """The balances of a book as it stands in its table."""
    return Balances(
        ripening_g=book.ripening,
        available_g=book.available,
        pledged_g=book.pledged,
        planted_g=book.planted,
        expired_g=book.expired,
        arrears_g=book.arrears,
    )


# What operators added less what they took back, in grams.
ADJUSTED = (
    select(
        func.coalesce(
            func.sum(
                case(
                    (Transfer.debit == int(Account.ISSUANCE), Transfer.amount_g),
                    else_=-Transfer.amount_g,
                )
            ),
            0,
        )
    )
    .where(Transfer.participant_id == Book.participant_id, Transfer.cause == "adjust")
    .correlate(Book)
    .scalar_subquery()
)

_PROFILE = (
    select(Participant, Book, ADJUSTED)
    .join(Book, Book.participant_id == Participant.participant_id)
    .where(
        Participant.participant_id
        == bindparam("participant_id", type_=Participant.participant_id.type)
    )
)
