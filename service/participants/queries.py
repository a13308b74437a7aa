"""Reads of people: what they show of themselves, what they hold."""

from collections.abc import Collection, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Result, bindparam, case, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from service.http.decode import Time
from service.ledger.accounts import Account
from service.ledger.balances import Balances, stored_balances
from service.ledger.models import Book, Transfer
from service.participants.identities import subject_key
from service.participants.models import Identity, Participant
from service.platform.acts import AuditEntry


class Suspension(msgspec.Struct, frozen=True):
    """Since when nothing moves in somebody's book, and why, if an operator said so."""

    reason: str | None
    at: Time


class Totals(msgspec.Struct, frozen=True):
    """What somebody did so far: energy earned by actions, CO2e avoided, trees pledged."""

    earned_g: int
    saved_g: int
    trees: int


class ParticipantAnswer(msgspec.Struct, frozen=True):
    """A participant; who was erased has a book and no name."""

    participant_id: UUID
    state: Literal["active", "suspended", "erased"]
    display_name: str | None
    region: str | None
    visibility: str | None
    created_at: Time | None
    balances: Balances
    totals: Totals
    suspension: Suspension | UnsetType = UNSET


async def find_participant(session: AsyncSession, participant_id: UUID) -> ParticipantAnswer | None:
    """One participant, also one who was erased."""
    row = await session.execute(_PARTICIPANT, {"participant_id": participant_id})
    return next(iter(await _answers(session, row)), None)


async def list_by_subject(
    session: AsyncSession, secret_key: str, issuers: Sequence[str], subject: str
) -> list[ParticipantAnswer]:
    """Whom this subject is, by each of these issuers."""
    keys = [subject_key(secret_key, issuer, subject) for issuer in issuers]
    query = select(Identity.participant_id).where(Identity.subject_key.in_(keys))
    rows = await session.execute(_PARTICIPANTS.where(Book.participant_id.in_(query)))
    return await _answers(session, rows)


async def list_by_alias(
    session: AsyncSession, *, alias: str | None, after: UUID | None, limit: int
) -> list[ParticipantAnswer]:
    """Participants in the order of their ids, all of them or those with this display name."""
    wanted = true() if alias is None else Participant.display_name == alias
    if after is not None:
        wanted &= Book.participant_id > after
    return await _answers(session, await session.execute(_PARTICIPANTS.where(wanted).limit(limit)))


async def _answers(session: AsyncSession, found: Result[Any]) -> list[ParticipantAnswer]:
    """Those who were found. What they earned leaves out adjustments."""
    rows: Sequence[Any] = found.all()
    suspensions = await _suspensions(session, [book for book, *_ in rows])
    return [
        ParticipantAnswer(
            participant_id=book.participant_id,
            state="erased" if book.closed else "suspended" if book.suspended else "active",
            balances=stored_balances(book),
            totals=Totals(-book.issuance - int(adjusted_g), book.saved_g, book.trees),
            suspension=suspensions.get(book.participant_id, UNSET),
            **{name: getattr(person, name, None) for name in _SHOWN},
        )
        for book, person, adjusted_g in rows
    ]


async def _suspensions(session: AsyncSession, books: Collection[Book]) -> dict[UUID, Suspension]:
    """Why those of these people who are suspended are: as the last act on each tells."""
    wanted = [str(book.participant_id) for book in books if book.suspended]
    if not wanted:
        return {}
    entry = AuditEntry
    query = select(entry).where(entry.object.in_(wanted), entry.act == "participant.suspend")
    acts = await session.scalars(query.order_by(entry.seq))
    return {UUID(act.object): Suspension(act.detail["reason"], act.at) for act in acts}


async def find_region(session: AsyncSession, participant_id: UUID) -> str | None:
    """The region that this person lives in, if it was told."""
    query = select(Participant.region).where(Participant.participant_id == participant_id)
    found: str | None = await session.scalar(query)
    return found


_SHOWN = ("display_name", "region", "visibility", "created_at")

_GIVEN_G = case(
    (Transfer.debit == Account.ISSUANCE.value, Transfer.amount_g), else_=-Transfer.amount_g
)

# What operators added less what they took back, in grams.
_ADJUSTED = (
    select(func.coalesce(func.sum(_GIVEN_G), 0))
    .where(Transfer.participant_id == Book.participant_id, Transfer.cause == "adjust")
    .correlate(Book)
    .scalar_subquery()
)

_PARTICIPANTS = (
    select(Book, Participant, _ADJUSTED)
    .outerjoin(Participant, Participant.participant_id == Book.participant_id)
    .order_by(Book.participant_id)
)

_PARTICIPANT = _PARTICIPANTS.where(Book.participant_id == bindparam("participant_id"))
