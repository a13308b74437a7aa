"""Reads of partners: they and their keys, links of a person."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.partners.models import Partner, PartnerKey
from service.platform.reads import Reads, Row


async def list_partners(
    session: AsyncSession, *, after: str | None, limit: int
) -> Sequence[Partner]:
    """Partners in the order of their ids, from behind this one on."""
    query = select(Partner).order_by(Partner.id).limit(limit)
    if after is not None:
        query = query.where(Partner.id > after)
    return (await session.scalars(query)).all()


async def keys_of(session: AsyncSession, partners: Sequence[Partner]) -> Sequence[PartnerKey]:
    """All keys of these partners, the newest first."""
    wanted = PartnerKey.partner_id.in_([partner.id for partner in partners])
    query = select(PartnerKey).where(wanted).order_by(PartnerKey.created_at.desc(), PartnerKey.id)
    return (await session.scalars(query)).all()


async def list_links(
    reads: Reads, participant_id: UUID, *, after: tuple[str, bytes] | None, limit: int
) -> Sequence[Row]:
    """A person's links: partner and subject, the partner's name, and since when."""
    return await reads.fetch(_LINKS, participant_id, *(after or ("", b"")), limit)


_LINKS = """
SELECT l.partner_id, l.subject_key, p.name, l.linked_at
FROM links l JOIN partners p ON p.id = l.partner_id
WHERE l.participant_id = $1 AND l.ended_at IS NULL AND (l.partner_id, l.subject_key) > ($2, $3)
ORDER BY l.partner_id, l.subject_key LIMIT $4"""
