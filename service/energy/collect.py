"""Collecting: ripe energy becomes available."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from service.energy.bubbles import (
    Bubble,
    changed_bubbles_write,
    read_bubble,
    read_ripe_bubbles,
)
from service.ledger.accounts import Account
from service.ledger.books import Book, book_writes, lock_book, post
from service.platform.database import Connection, write_all
from service.platform.outbox import outbox_write

BUBBLES_MAX = 2_000


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
    """Collect one ripe bubble.

    Raises NotFoundError, BubbleNotRipeError, BubbleExpiredError, BubbleEmptyError,
    BookClosedError or SuspendedError.
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
    collected_g = count = 0
    # So many a statement, or somebody with very many bubbles could never collect any.
    while bubbles := await read_ripe_bubbles(connection, participant_id, at, BUBBLES_MAX):
        some = await _collect(connection, book, bubbles, at=at, day=local_date(at), lane=lane)
        book.posted.clear()
        collected_g += some.collected_g
        count += some.bubbles
    return Collected(collected_g, count, book)


async def _collect(
    connection: Connection,
    book: Book,
    bubbles: Sequence[Bubble],
    *,
    at: datetime,
    day: date,
    lane: int,
) -> Collected:
    region_of = await _regions(connection, book.participant_id, bubbles)
    collected_g = 0
    on_boards: dict[str, int] = defaultdict(int)
    for bubble in bubbles:
        collected_g += bubble.remaining_g
        if bubble.id in region_of:
            on_boards[region_of[bubble.id]] += bubble.remaining_g
        _move(book, bubble, at)
    writes = [*book_writes([book]), changed_bubbles_write(bubbles)]
    if on_boards:
        deltas = [(book.participant_id, "energy", g, region) for region, g in on_boards.items()]
        writes.append(outbox_write(lane, at, day.isoformat(), deltas))
    await write_all(connection, writes)
    return Collected(collected_g, len(bubbles), book)


async def _regions(
    connection: Connection, participant_id: UUID, bubbles: Sequence[Bubble]
) -> dict[UUID, str]:
    """Where each bubble's action was recorded: there its energy counts; a gift counts nowhere."""
    rows = await connection.fetch(_REGIONS, participant_id, [bubble.id for bubble in bubbles])
    return {row["id"]: row["region"] for row in rows}


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


_REGIONS = "SELECT id, region FROM actions WHERE participant_id = $1 AND id = ANY($2::uuid[])"
