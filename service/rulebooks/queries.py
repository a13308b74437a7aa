"""What people ask about published versions."""

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.http.decode import Time
from service.platform.errors import NotFoundError
from service.rulebooks.models import ActiveRulebook, RulebookVersion


class RulebookSummary(Struct, frozen=True):
    """A published version. `based_on` was the active one when it was published."""

    version: int
    sha256: str
    author: str
    note: str
    based_on: int | None
    created_at: Time
    active: bool


class RulebookAnswer(RulebookSummary, frozen=True):
    """A published version with its files, as they were sent."""

    files: dict[str, str]


async def list_versions(
    session: AsyncSession, *, before: int | None = None, limit: int
) -> list[RulebookSummary]:
    """Published versions, the newest first; `before` is the version where the last page ended."""
    query = _SUMMARIES.order_by(RulebookVersion.version.desc()).limit(limit)
    if before is not None:
        query = query.where(RulebookVersion.version < before)
    return [RulebookSummary(**row._asdict()) for row in await session.execute(query)]


async def get_version(session: AsyncSession, version: int) -> RulebookAnswer:
    """One published version with its files. Raises NotFoundError."""
    query = _SUMMARIES.add_columns(RulebookVersion.files).where(RulebookVersion.version == version)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError("There is no version {version} of the rules.", version=version)
    return RulebookAnswer(**row._asdict())


_SUMMARIES = select(
    RulebookVersion.version,
    func.encode(RulebookVersion.sha256, "hex").label("sha256"),
    RulebookVersion.author,
    RulebookVersion.note,
    RulebookVersion.based_on,
    RulebookVersion.created_at,
    ActiveRulebook.version.is_not(None).label("active"),
).outerjoin(ActiveRulebook, ActiveRulebook.version == RulebookVersion.version)
