"""What people ask about published versions."""

from msgspec import Struct

from service.http.decode import Time
from service.platform.errors import NotFoundError
from service.platform.reads import Reads
from service.rulebooks.checked import VERSION_MAX


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
    reads: Reads, *, before: int | None = None, limit: int
) -> list[RulebookSummary]:
    """Published versions, the newest first; `before` is the version where the last page ended."""
    rows = await reads.fetch(_LIST, before or VERSION_MAX, limit)
    return [RulebookSummary(*row) for row in rows]


async def get_version(reads: Reads, version: int) -> RulebookAnswer:
    """One published version with its files. Raises NotFoundError."""
    row = await reads.first(_VERSION, version) if version <= VERSION_MAX else None
    if row is None:
        raise NotFoundError("There is no version {version} of the rules.", version=version)
    return RulebookAnswer(*row)


_SUMMARY = """
SELECT r.version, encode(sha256, 'hex'), author, note, based_on, created_at, a.version IS NOT NULL{}
FROM rulebooks r LEFT JOIN active_rulebook a USING (version) WHERE """

_LIST = _SUMMARY.format("") + "r.version < $1 ORDER BY r.version DESC LIMIT $2"

_VERSION = _SUMMARY.format(", files") + "r.version = $1"
