"""Cancelling a pledge: as long as no tree of it has a plot, its energy comes back."""

from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

from service.ledger.accounts import Account
from service.ledger.books import lock_book, post
from service.planting.pledge import Pledge
from service.planting.stock import release_stock
from service.planting.trees import Status, moved_trees_writes, read_pledge_trees
from service.platform.database import Connection, Write, write_all
from service.platform.errors import ConflictError, NotFoundError
from service.platform.outbox import outbox_write


class PledgeNotCancellableError(ConflictError):
    """A tree of it has got its plot, is planted already, or was cancelled."""

    code = "pledge-not-cancellable"


async def cancel_pledge(
    connection: Connection,
    participant_id: UUID,
    pledge_id: UUID,
    *,
    now: datetime,
    local_date: Callable[[datetime], date],
    lane: int,
) -> Pledge:
    """Give the energy back to the person and the trees to the project, once.

    Raises NotFoundError, PledgeNotCancellableError, BookClosedError or SuspendedError.
    """
    book = await lock_book(connection, participant_id)
    book.require_open()
    row = await connection.fetchrow(_READ, participant_id, pledge_id)
    if row is None:
        raise NotFoundError("You have no such pledge.")
    trees = await read_pledge_trees(connection, participant_id, pledge_id)
    if any(tree.status is not Status.PLEDGED for tree in trees):
        on_its_way = "A tree of pledge {id} is on its way; it cannot be cancelled."
        text = "Pledge {id} was cancelled at {at:%FT%TZ}." if row["cancelled_at"] else on_its_way
        raise PledgeNotCancellableError(text, id=pledge_id, at=row["cancelled_at"])
    at = book.tick(now)
    sides = (Account.PLEDGED, Account.AVAILABLE)
    post(book, *sides, row["amount_g"], cause="release", cause_id=pledge_id, at=at)
    book.trees -= len(trees)
    for tree in trees:
        tree.move(Status.CANCELLED)
    pledge = Pledge(**{**row, "trees": trees, "cancelled_at": at})
    delta = (participant_id, "trees", -len(trees), pledge.region)
    await write_all(
        connection,
        [
            Write(_CANCEL, (participant_id, pledge_id, at)),
            *moved_trees_writes(trees, {participant_id: book}),
            outbox_write(lane, at, local_date(at).isoformat(), [delta]),
        ],
    )
    await release_stock(connection, pledge.project_id, len(trees))
    return pledge


_READ = """
SELECT id, project_id, amount_g, dedication, region, created_at, cancelled_at
FROM pledges WHERE participant_id = $1 AND id = $2"""

_CANCEL = "UPDATE pledges SET cancelled_at = $3 WHERE participant_id = $1 AND id = $2"
