"""Links: a person agrees that a partner's reference means them, and may take that back.

The only place that writes links and codes.

The app draws a code for the person, the partner sends it back with its own reference. A link is
changed under the book of whoever it names, so that a batch which holds that book sees it settled.
"""

import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.http.decode import Time
from service.ledger.books import hold_open, lock_book, lock_books
from service.platform.database import Connection, Database, row_count
from service.platform.errors import NotFoundError, UnavailableError

Subject = tuple[str, bytes]
"""A partner, and the keyed hash of its own reference of somebody."""

Links = dict[Subject, tuple[UUID | None, datetime | None]]
"""Whom each subject means now; what happened before the time beside was another's."""

_CODE_LASTS = timedelta(minutes=10)
_TRIES_MAX = 5
# Without letters and digits that look like each other: 16 of them hold 80 bits.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_LENGTH = 16
_PURGED_MAX = 5_000


class LinkCodeError(NotFoundError):
    """A code that was never given for this partner, was used, or is too old."""

    text = "There is no such link code for this partner, or it was used or expired."


class _LinkMovedError(Exception):
    """The reference means somebody else than a moment ago; the transaction starts again."""


class CodeAnswer(Struct, frozen=True):
    """To be given to the partner; good for one link until then."""

    link_code: str
    expires_at: Time


async def make_link_code(
    connection: Connection,
    participant_id: UUID,
    partner_id: str,
    code_key: Callable[[str], bytes],
    *,
    real_now: datetime,
) -> CodeAnswer:
    """A code for this person and partner; an unused earlier one ends. Raises BookClosedError."""
    await hold_open(connection, participant_id)
    text = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
    expires_at = real_now + _CODE_LASTS
    await connection.execute(_DROP_CODES, participant_id, partner_id)
    await connection.execute(_ADD_CODE, code_key(text), partner_id, participant_id, expires_at)
    return CodeAnswer(text, expires_at)


async def link_subject(
    database: Database, subject: Subject, code_key: bytes, *, now: datetime, real_now: datetime
) -> None:
    """Link a partner's reference to whoever the code was given; a code is good for one link.

    A reference that meant somebody else, or once did, means the newcomer for what happens from
    here on. Raises LinkCodeError.
    """
    for _ in range(_TRIES_MAX):
        try:
            async with database.transaction() as connection:
                return await _link(connection, subject, code_key, now=now, real_now=real_now)
        except _LinkMovedError:
            continue
    raise UnavailableError("The link is being changed by others; send it again.")


async def _link(
    connection: Connection, subject: Subject, code_key: bytes, *, now: datetime, real_now: datetime
) -> None:
    owner = await connection.fetchval(_FIND_CODE, code_key, subject[0], real_now)
    if owner is None:
        raise LinkCodeError
    before = await connection.fetchval(_FIND_LINK, *subject)
    books = await lock_books(connection, {owner, before or owner})
    if await connection.fetchval(_USE_CODE, code_key) is None or books[owner].closed:
        raise LinkCodeError
    if await connection.fetchval(_LINK, *subject, owner, now, before or owner) is None:
        raise _LinkMovedError


async def unlink(
    connection: Connection, participant_id: UUID, partner_id: str, now: datetime
) -> None:
    """End all links of this person with this partner. Raises NotFoundError."""
    await lock_book(connection, participant_id)
    await connection.execute(_DROP_CODES, participant_id, partner_id)
    if await connection.fetchval(_UNLINK, participant_id, partner_id, now) is None:
        raise NotFoundError("You are not linked with this partner.")


async def read_links(connection: Connection | asyncpg.Pool, subjects: Iterable[Subject]) -> Links:
    """Who these subjects are now, if anybody, and since when."""
    links: Links = dict.fromkeys(subjects, (None, None))
    rows = await connection.fetch(_READ, [s[0] for s in links], [s[1] for s in links])
    return links | {(row[0], row[1]): (row[2], row[3]) for row in rows}


async def purge_codes(connection: Connection, real_now: datetime) -> int:
    """Delete codes that are too old, a bounded part; how many went."""
    return row_count(await connection.execute(_PURGE_CODES, real_now, _PURGED_MAX))


_READ = """
SELECT l.partner_id, l.subject_key, l.participant_id, l.since
FROM unnest($1::text[], $2::bytea[]) AS k (partner_id, subject_key)
JOIN links l ON l.partner_id = k.partner_id AND l.subject_key = k.subject_key
    AND l.ended_at IS NULL"""

_DROP_CODES = "DELETE FROM link_codes WHERE participant_id = $1 AND partner_id = $2"

_ADD_CODE = """
INSERT INTO link_codes (code_key, partner_id, participant_id, expires_at)
VALUES ($1, $2, $3, $4)"""

_FIND_CODE = """
SELECT participant_id FROM link_codes
WHERE code_key = $1 AND partner_id = $2 AND expires_at > $3"""

_USE_CODE = "DELETE FROM link_codes WHERE code_key = $1 RETURNING true"

_FIND_LINK = "SELECT participant_id FROM links WHERE partner_id = $1 AND subject_key = $2"

# A link that meanwhile means somebody else belongs to a book that is not held here.
_LINK = """
INSERT INTO links (partner_id, subject_key, participant_id, linked_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (partner_id, subject_key)
DO UPDATE SET participant_id = excluded.participant_id, linked_at = excluded.linked_at,
    ended_at = NULL, since = CASE WHEN links.participant_id = excluded.participant_id
        THEN links.since ELSE excluded.linked_at END
WHERE links.participant_id IS NULL OR links.participant_id IN ($3, $5)
RETURNING true"""

_UNLINK = """
WITH ended AS (UPDATE links SET ended_at = $3
    WHERE participant_id = $1 AND partner_id = $2 AND ended_at IS NULL RETURNING true)
SELECT true FROM ended LIMIT 1"""

_PURGE_CODES = """
DELETE FROM link_codes WHERE code_key IN (
    SELECT code_key FROM link_codes WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"""
