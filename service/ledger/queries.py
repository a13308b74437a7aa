"""Reads of the ledger: statements."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Text, cast, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.ledger.models import Book, Transfer
from service.platform.acts import AuditEntry


async def list_transfers(
    session: AsyncSession, participant_id: UUID, *, before: int | None, limit: int
) -> Sequence[Any]:
    """The transfers of a book, the newest first, from below this seq on, each with its reason.

    Adjustments have one, which the log of the operators' acts keeps.
    """
    query = (
        select(Transfer, _REASON)
        .where(Transfer.participant_id == participant_id)
        .order_by(Transfer.seq.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(Transfer.seq < before)
    return (await session.execute(query)).all()


async def has_book(session: AsyncSession, participant_id: UUID) -> bool:
    """Whether there is, or was, such a participant."""
    return await session.get(Book, participant_id) is not None


_REASON = (
    select(AuditEntry.detail["reason"].astext)
    .where(
        Transfer.cause == "adjust",
        AuditEntry.object == cast(Transfer.participant_id, Text),
        AuditEntry.act == "participant.adjust",
        AuditEntry.detail["adjustment"].astext == cast(Transfer.cause_id, Text),
    )
    .correlate(Transfer)
    .scalar_subquery()
)
