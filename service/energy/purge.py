"""Bubbles of which nothing is left are deleted."""

from datetime import timedelta

from service.ledger.books import lock_free_books
from service.platform.clock import Clock
from service.platform.database import Database, row_count
from service.platform.settings import Settings

_KEEP = timedelta(days=30)
_BOOKS_MAX = 200


async def purge_bubbles(database: Database, clock: Clock, _settings: Settings) -> int:
    """Delete finished bubbles; a book's lock covers its bubbles, so held books wait."""
    ended_before = clock.now() - _KEEP
    async with database.transaction() as connection:
        owners = await connection.fetch(_FINISHED, ended_before, _BOOKS_MAX)
        books = await lock_free_books(connection, [row[0] for row in owners])
        return row_count(await connection.execute(_PURGE, [*books], ended_before))


# However many wait to be deleted, so few are looked at.
_FINISHED = """
SELECT DISTINCT participant_id FROM (
    SELECT participant_id FROM bubbles WHERE expires_at < $1 AND remaining_g = 0
    ORDER BY expires_at LIMIT 2000) AS first
LIMIT $2"""

_PURGE = """
DELETE FROM bubbles
WHERE participant_id = ANY($1::uuid[]) AND expires_at < $2 AND remaining_g = 0"""
