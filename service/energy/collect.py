"""Collecting: ripe energy becomes available; what a reversal left unpaid is repaid from it first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from service.database import Connection, write_all
from service.energy.bubbles import (
    Bubble,
    changed_bubbles_write,
    read_bubble,
    read_ripe_bubbles,
)
from service.ledger.accounts import Account
from service.ledger.books import Book, book_writes, lock_book, post
from service.outbox import outbox_write


@dataclass(frozen=True, slots=True)
class Collected:
    """How much was collected from how many bubbles, and the book afterwards."""

    collected_g: int
    bubbles: int
    book: Book


async def collect_bubble(
    connection: Connection,
    participant_id: UUID,
    bubble_id: UUID,
    *,
    now: datetime,
    local_date: Callable[[datetime], date],
    lane: int,
) -> Collected:
    """Collect one ripe bubble. Raises BubbleMissingError, BubbleNotRipeError, BubbleExpiredError,
    BubbleEmptyError, BookClosedError or SuspendedError.
    """
    book = await lock_book(connection, participant_id)
    book.require_open()
    bubble = await read_bubble(connection, participant_id, bubble_id)
    at = book.tick(now)
    bubble.require_collectable(at)
    return await _collect(connection, book, [bubble], at=at, day=local_date(at), lane=lane)


async def collect_ripe_bubbles(
    connection: Connection,
    participant_id: UUID,
    *,
    now: datetime,
    local_date: Callable[[datetime], date],
    lane: int,
) -> Collected:
    """Collect all that is ripe, perhaps nothing. Raises BookClosedError or SuspendedError."""
    book = await lock_book(connection, participant_id)
    book.require_open()
    at = book.tick(now)
    bubbles = await read_ripe_bubbles(connection, participant_id, at)
    if not bubbles:
        return Collected(0, 0, book)
    return await _collect(connection, book, bubbles, at=at, day=local_date(at), lane=lane)


async def _collect(
    connection: Connection,
    book: Book,
    bubbles: Sequence[Bubble],
    *,
    at: datetime,
    day: date,
    lane: int,
) -> Collected:
    region = await connection.fetchval(_REGION, book.participant_id) or ""
    collected_g = 0
    for bubble in bubbles:
        collected_g += bubble.remaining_g
        _move(book, bubble, at)
    delta = (book.participant_id, "energy", collected_g, region)
    await write_all(
        connection,
        [
            *book_writes([book]),
            changed_bubbles_write(bubbles),
            outbox_write(lane, at, day.isoformat(), [delta]),
        ],
    )
    return Collected(collected_g, len(bubbles), book)


def _move(book: Book, bubble: Bubble, at: datetime) -> None:
    amount_g = bubble.remaining_g
    bubble.remaining_g, bubble.collected_g = 0, bubble.collected_g + amount_g
    post(
        book,
        Account.RIPENING,
        Account.AVAILABLE,
        amount_g,
        cause="collect",
        cause_id=bubble.id,
        at=at,
    )
    repaid_g = min(amount_g, -book[Account.ARREARS])
    if repaid_g:
        post(
            book,
            Account.AVAILABLE,
            Account.ARREARS,
            repaid_g,
            cause="arrears",
            cause_id=bubble.id,
            at=at,
        )


_REGION = "SELECT region FROM participants WHERE participant_id = $1"
