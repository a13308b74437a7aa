"""Expiry: energy that nobody collected in time is booked away, by a transfer like any other."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain
from uuid import UUID

from service.energy.bubbles import Bubble, changed_bubbles_write, read_expired_bubbles
from service.ledger.accounts import Account
from service.ledger.books import post
from service.ledger.orders import Batch, Order, Work
from service.platform.database import Connection, Database, Write

BOOKS_MAX = 200
BUBBLES_MAX = 2_000
_EVER = datetime(2000, 1, 1, tzinfo=UTC)


class Expiring(Work):
    """Books away what nobody collected in time; at most 2,000 bubbles a batch."""

    rank = 1

    async def read(self, connection: Connection, orders: Sequence["ExpireOrder"]) -> None:
        """What is past its time."""
        owners, now = [order.participant_id for order in orders], self.batch.now
        self._due: dict[UUID, list[Bubble]] = defaultdict(list)
        for bubble in await read_expired_bubbles(connection, owners, now, BUBBLES_MAX):
            self._due[bubble.participant_id].append(bubble)

    def decide(self, order: "ExpireOrder") -> int:
        """How many bubbles expired; in a closed book, too."""
        owner, due = order.participant_id, self._due[order.participant_id]
        for bubble in due:
            book, grams = self.batch.books[owner], bubble.remaining_g
            accounts, at = (Account.RIPENING, Account.EXPIRED), book.tick(self.batch.now)
            post(book, *accounts, grams, cause="expire", cause_id=bubble.id, at=at)
            bubble.remaining_g, bubble.expired_g = 0, bubble.expired_g + grams
            self.batch.change(owner)
        return len(due)

    async def finish(self, _connection: Connection) -> list[Write]:
        """Write back what expired."""
        expired = [*chain.from_iterable(self._due.values())]
        return [changed_bubbles_write(expired)] if expired else []


class ExpireOrder(Order):
    """Expires whatever somebody did not collect in time."""

    work = Expiring


async def expire_due(
    database: Database, new_batch: Callable[[], Batch], *, after: datetime = _EVER
) -> tuple[int, bool]:
    """Expire every bubble whose time ended between `after` and now.

    Gives how many were, and whether all are done: a book that somebody holds is left for the next
    sweep. People are chosen without locks, at most 200 and 2,000 bubbles a batch, so that none
    takes longer than a statement may. After a complete sweep the next one may begin an hour before
    it, so that bubbles that ended long ago are not looked at again.
    """
    expired = 0
    while True:
        batch = new_batch()
        due = await database.pool.fetch(_FIND, after, batch.now, BUBBLES_MAX)
        owners = [*dict.fromkeys([row[0] for row in due])]
        orders = [ExpireOrder(owner) for owner in owners[:BOOKS_MAX]]
        outcomes = await batch.settle(database, orders)
        done = sum(outcomes.values())
        expired += done
        is_last = len(owners) == len(orders) and max(len(due), done) < BUBBLES_MAX
        if is_last or not outcomes:
            return expired, is_last and len(outcomes) == len(orders)


_FIND = """
SELECT participant_id FROM bubbles
WHERE expires_at > $1 AND expires_at <= $2 AND remaining_g > 0 ORDER BY expires_at LIMIT $3"""
