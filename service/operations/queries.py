"""Reads for those who run the service: the log of the operators' acts."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.platform.acts import AuditEntry


async def list_acts(
    session: AsyncSession, *, before: int | None, limit: int
) -> Sequence[AuditEntry]:
    """What operators did, the latest first, from below this seq on."""
    query = select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEntry.seq < before)
    return (await session.scalars(query)).all()
