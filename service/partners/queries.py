"""Reads of partners: they and their keys, links of a person."""

from collections.abc import Sequence
from uuid import UUID

from service.platform.reads import Reads, Row


async def list_partners(lists: Reads, *, after: str | None, limit: int) -> list[Row]:
    """Partners in the order of their ids, from behind this one on."""
    return await lists.fetch(_PARTNERS, after or "", limit)


async def find_partner(lists: Reads, partner_id: str) -> Row | None:
    """One partner."""
    return await lists.first(_PARTNER, partner_id)


async def keys_of(lists: Reads, partner_ids: Sequence[str]) -> list[Row]:
    """All keys of these partners, the newest first."""
    return await lists.fetch(_KEYS, partner_ids)


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

_PARTNERS = "SELECT * FROM partners WHERE id > $1 ORDER BY id LIMIT $2"

_PARTNER = "SELECT * FROM partners WHERE id = $1"

_KEYS = "SELECT * FROM partner_keys WHERE partner_id = ANY($1) ORDER BY created_at DESC, id"
