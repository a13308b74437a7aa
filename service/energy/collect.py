"""Collecting: ripe energy becomes available."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from service.energy.bubbles import Bubble, changed_bubbles_write, read_collectable
from service.ledger.accounts import Account
from service.ledger.books import Book, post
from service.ledger.orders import RequestOrder, Work
from service.platform.database import Connection, Write
from service.platform.errors import NotFoundError


class Collected(Struct):
    """How much was collected from how many bubbles, and the book afterwards."""

    book: Book
    collected_g: int = 0
    bubbles: int = 0


_Found = tuple[Bubble, str | None]
"""A bubble with the region where its action counts; a gift counts nowhere."""


class Collecting(Work):
    """Reads what the collectors of one batch may collect; a bubble is collected by the first."""

    rank = 1

    async def read(self, connection: Connection, orders: Sequence["CollectOrder"]) -> None:
        """The bubbles that are named, and all that are ripe for who wants all of them."""
        self._bubbles: dict[UUID, dict[UUID, _Found]] = defaultdict(dict)
        self._changed: list[Bubble] = []
        named = [(o.participant_id, o.bubble_id) for o in orders if o.bubble_id is not None]
        whole = {o.participant_id for o in orders if o.bubble_id is None}
        until = [(owner, self.batch.books[owner].tick(self.batch.now)) for owner in whole]
        for bubble, region in await read_collectable(connection, named, until):
            self._bubbles[bubble.participant_id][bubble.id] = bubble, region

    def decide(self, order: "CollectOrder") -> Collected:
        """Collect one bubble, or all that are ripe, perhaps none.

        Raises NotFoundError, BubbleNotRipeError, BubbleExpiredError, BubbleEmptyError,
        BookClosedError or SuspendedError.
        """
        book = self.batch.books[order.participant_id]
        book.require_open()
        at, bubbles = book.tick(self.batch.now), self._bubbles[order.participant_id]
        if order.bubble_id is None:
            wanted = [found for found in bubbles.values() if found[0].is_collectable(at)]
        elif order.bubble_id not in bubbles:
            raise NotFoundError("You have no such bubble.")
        else:
            wanted = [bubbles[order.bubble_id]]
            wanted[0][0].require_collectable(at)
        collected = Collected(book)
        for bubble, region in wanted:
            self._collect(collected, bubble, region)
        return collected

    def _collect(self, collected: Collected, bubble: Bubble, region: str | None) -> None:
        """Collect it; where an action was recorded its energy counts, a gift's counts nowhere."""
        book, grams, at = collected.book, bubble.remaining_g, collected.book.last_at
        accounts = Account.RIPENING, Account.AVAILABLE
        post(book, *accounts, grams, cause="collect", cause_id=bubble.id, at=at)
        bubble.remaining_g, bubble.collected_g = 0, bubble.collected_g + grams
        collected.collected_g += grams
        collected.bubbles += 1
        self._changed.append(bubble)
        self.batch.change(book.participant_id)
        if region is not None:
            self.batch.tell(at, book.participant_id, "energy", grams, region)

    async def finish(self, _connection: Connection) -> list[Write]:
        """Write back what was collected."""
        return [changed_bubbles_write(self._changed)] if self._changed else []


class CollectOrder(RequestOrder, kw_only=True):
    """Collects one ripe bubble; all of them when none is named."""

    work = Collecting
    bubble_id: UUID | None = None

    @property
    def weight(self) -> int:
        """A few bubbles; how many is known when they are read."""
        return 4
