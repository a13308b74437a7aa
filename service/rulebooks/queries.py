"""What people ask about published versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from service.platform.errors import NotFoundError
from service.rulebooks.models import ActiveRulebook, RulebookVersion


@dataclass(frozen=True, slots=True)
class VersionView:
    """A published version without its files. `based_on` was active when it was published."""

    version: int
    sha256: str
    author: str
    note: str
    based_on: int | None
    created_at: datetime
    active: bool


async def list_versions(
    session: AsyncSession, *, before: int | None = None, limit: int
) -> Sequence[VersionView]:
    """Published versions, the newest first; `before` is the version where the last page ended."""
    query = (
        select(RulebookVersion, ActiveRulebook.version)
        .outerjoin(ActiveRulebook, ActiveRulebook.version == RulebookVersion.version)
        .options(load_only(*_BUT_FILES))
        .order_by(RulebookVersion.version.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(RulebookVersion.version < before)
    return [_view(row, active) for row, active in await session.execute(query)]


async def get_version(session: AsyncSession, version: int) -> tuple[VersionView, dict[str, str]]:
    """One published version with its files. Raises NotFoundError."""
    query = (
        select(RulebookVersion, ActiveRulebook.version)
        .outerjoin(ActiveRulebook, ActiveRulebook.version == RulebookVersion.version)
        .where(RulebookVersion.version == version)
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise NotFoundError("There is no version {version} of the rules.", version=version)
    row, active = found
    return _view(row, active), dict(row.files)


def _view(row: RulebookVersion, active: int | None) -> VersionView:
    return VersionView(
        version=row.version,
        sha256=row.sha256.hex(),
        author=row.author,
        note=row.note,
        based_on=row.based_on,
        created_at=row.created_at,
        active=active is not None,
    )


_BUT_FILES = (
    RulebookVersion.version,
    RulebookVersion.sha256,
    RulebookVersion.author,
    RulebookVersion.note,
    RulebookVersion.based_on,
    RulebookVersion.created_at,
)
