"""Collecting: ripe energy becomes available."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from service.energy.bubbles import Bubble, changed_bubbles_write, read_bubbles, read_ripe_bubbles
from service.ledger.accounts import Account
from service.ledger.books import Book, book_writes, lock_book, post
from service.platform.database import Connection, write_all
from service.platform.errors import NotFoundError
from service.platform.outbox import outbox_write

BUBBLES_MAX = 2_000


@dataclass(slots=True)
class Collected:
    """How much was collected from how many bubbles, and the book afterwards."""

    book: Book
    collected_g: int = 0
    bubbles: int = 0


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
    collected = await _open(connection, participant_id)
    bubbles = await read_bubbles(connection, [(participant_id, bubble_id)])
    if not bubbles:
        raise NotFoundError("You have no such bubble.")
    at = collected.book.tick(now)
    for bubble in bubbles.values():
        bubble.require_collectable(at)
    await _collect(connection, collected, [*bubbles.values()], day=local_date(at), lane=lane)
    return collected


async def collect_ripe_bubbles(
    connection: Connection,
    participant_id: UUID,
    *,
    now: datetime,
    local_date: Callable[[datetime], date],
    lane: int,
) -> Collected:
    """Collect all that is ripe, perhaps nothing. Raises BookClosedError or SuspendedError."""
    collected = await _open(connection, participant_id)
    at = collected.book.tick(now)
    # So many a statement, or somebody with very many bubbles could never collect any.
    while bubbles := await read_ripe_bubbles(connection, participant_id, at, BUBBLES_MAX):
        await _collect(connection, collected, bubbles, day=local_date(at), lane=lane)
    return collected


async def _open(connection: Connection, participant_id: UUID) -> Collected:
    """Nothing yet, of a locked book that is open."""
    book = await lock_book(connection, participant_id)
    book.require_open()
    return Collected(book)


async def _collect(
    connection: Connection, collected: Collected, bubbles: Sequence[Bubble], *, day: date, lane: int
) -> None:
    """Collect these; where an action was recorded its energy counts, a gift's counts nowhere."""
    book, on_boards = collected.book, defaultdict[str, int](int)
    rows = await connection.fetch(_REGIONS, book.participant_id, [bubble.id for bubble in bubbles])
    region_of = {row["id"]: row["region"] for row in rows}
    for bubble in bubbles:
        grams, accounts = bubble.remaining_g, (Account.RIPENING, Account.AVAILABLE)
        post(book, *accounts, grams, cause="collect", cause_id=bubble.id, at=book.last_at)
        bubble.remaining_g, bubble.collected_g = 0, bubble.collected_g + grams
        collected.collected_g += grams
        if bubble.id in region_of:
            on_boards[region_of[bubble.id]] += grams
    collected.bubbles += len(bubbles)
    writes = [*book_writes([book]), changed_bubbles_write(bubbles)]
    if on_boards:
        deltas = [(book.participant_id, "energy", g, region) for region, g in on_boards.items()]
        writes.append(outbox_write(lane, book.last_at, day.isoformat(), deltas))
    await write_all(connection, writes)
    book.posted.clear()


_REGIONS = "SELECT id, region FROM actions WHERE participant_id = $1 AND id = ANY($2::uuid[])"
