"""Reads of partners: they and their keys, links of a person."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from service.participants.models import Link
from service.partners.models import Partner, PartnerKey


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
    session: AsyncSession, participant_id: UUID, *, after: tuple[str, bytes] | None, limit: int
) -> Sequence[Any]:
    """A person's links with the names of their partners."""
    query = (
        select(Link.partner_id, Link.subject_key, Link.linked_at, Partner.name)
        .join(Partner, Partner.id == Link.partner_id)
        .where(Link.participant_id == participant_id, Link.ended_at.is_(None))
        .order_by(Link.partner_id, Link.subject_key)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(Link.partner_id, Link.subject_key) > tuple_(*after))
    return (await session.execute(query)).all()
