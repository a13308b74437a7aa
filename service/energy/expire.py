"""Expiry: energy that nobody collected in time is booked away, by a transfer like any other."""

from datetime import UTC, datetime

from service.energy.bubbles import changed_bubbles_write, read_expired_bubbles
from service.ledger.accounts import Account
from service.ledger.books import book_writes, lock_free_books, post
from service.platform.database import Database, write_all

BOOKS_MAX = 200
BUBBLES_MAX = 2_000
_EVER = datetime(2000, 1, 1, tzinfo=UTC)


async def expire_due(
    database: Database, now: datetime, *, after: datetime = _EVER
) -> tuple[int, bool]:
    """Expire every bubble whose time ended between `after` and now.

    Gives how many were, and whether all are done: a book that somebody holds is left for the next
    sweep. People are chosen without locks, then their books are locked in order, at most 200 and
    2,000 bubbles a transaction, so that none takes longer than a statement may. After a complete
    sweep the next one may begin an hour before it, so that bubbles that ended long ago are not
    looked at again.
    """
    expired = 0
    while True:
        found, locked, done = await _expire_some(database, now, after)
        expired += done
        is_cut = done == BUBBLES_MAX
        if not is_cut and (found < BOOKS_MAX or not locked):
            return expired, locked == found


async def _expire_some(database: Database, now: datetime, after: datetime) -> tuple[int, int, int]:
    async with database.transaction() as connection:
        owners = await connection.fetch(_FIND, after, now, BOOKS_MAX)
        if not owners:
            return 0, 0, 0
        books = await lock_free_books(connection, [row[0] for row in owners])
        bubbles = await read_expired_bubbles(connection, books, now, BUBBLES_MAX)
        for bubble in bubbles:
            book = books[bubble.participant_id]
            grams, accounts = bubble.remaining_g, (Account.RIPENING, Account.EXPIRED)
            post(book, *accounts, grams, cause="expire", cause_id=bubble.id, at=book.tick(now))
            bubble.remaining_g, bubble.expired_g = 0, bubble.expired_g + grams
        if bubbles:
            changed = [book for book in books.values() if book.posted]
            await write_all(connection, [*book_writes(changed), changed_bubbles_write(bubbles)])
        return len(owners), len(books), len(bubbles)


_FIND = """
SELECT DISTINCT participant_id FROM bubbles
WHERE expires_at > $1 AND expires_at <= $2 AND remaining_g > 0 LIMIT $3"""
