"""One act of an operator over many people's trees, in transactions of bounded size.

Each chunk locks the plot, then the books of at most 200 people in id order, and what it did stays
when the next one fails: the same call again goes on from there.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.ledger.books import Book, lock_books
from service.planting.trees import Status, Tree, TreeKey, read_trees
from service.platform.database import Connection, Database
from service.platform.errors import NotFoundError, UnavailableError

BOOKS_MAX = 200
TREES_MAX = 1_000
CHUNKS_MAX = 50


class PeopleBusyError(UnavailableError):
    """Some of the books were held by somebody else for too long."""

    text = "Some accounts are busy; send the request again, it goes on from here."


class Plot(Struct, frozen=True):
    """A locked plot. `to_allocate` is what is left of an allocation between its chunks."""

    id: UUID
    project_id: UUID
    to_allocate: int


class PlotStepAnswer(Struct, frozen=True):
    """Which trees moved; `remaining` more wait for the same call again."""

    plot_id: UUID
    status: Status
    trees: list[str]
    remaining: int


async def run_chunks(
    database: Database, chunk: Callable[[Connection], Awaitable[list[str] | None]]
) -> tuple[list[str], bool]:
    """Run the chunk, each time in a transaction of its own, until it finds nothing to do (None).

    Gives the numbers of the trees that it moved, and whether it came to that end: after 50 chunks
    the call answers as it is. Raises PeopleBusyError.
    """
    moved: list[str] = []
    for _ in range(CHUNKS_MAX):
        try:
            async with database.transaction() as connection:
                part = await chunk(connection)
        except asyncpg.LockNotAvailableError as error:
            raise PeopleBusyError from error
        if part is None:
            return moved, True
        moved += part
    return moved, False


async def lock_plot(connection: Connection, plot_id: UUID) -> Plot:
    """Lock a plot, before any book: acts on it come one after the other. Raises NotFoundError."""
    await connection.execute("SELECT set_config('lock_timeout', '2s', true)")
    row = await connection.fetchrow(_LOCK_PLOT, plot_id)
    if row is None:
        raise NotFoundError("There is no such plot.")
    return Plot(*row)


def first_people(rows: Sequence[asyncpg.Record]) -> list[TreeKey]:
    """The first of these trees, as far as they belong to no more than 200 people."""
    people: set[UUID] = set()
    for position, (participant_id, _) in enumerate(rows):
        people.add(participant_id)
        if len(people) > BOOKS_MAX:
            rows = rows[:position]
            break
    return [(participant_id, number) for participant_id, number in rows]


async def lock_trees(
    connection: Connection, keys: Sequence[TreeKey], statuses: Collection[Status], now: datetime
) -> tuple[list[Tree], dict[UUID, Book]]:
    """Those of these trees that stand at one of these statuses, and their owners' locked books.

    The books are at the time of what is booked next.
    """
    books = await lock_books(connection, {participant_id for participant_id, _ in keys})
    trees = await read_trees(connection, keys, statuses)
    for tree in trees:
        books[tree.participant_id].tick(now)
    return trees, {tree.participant_id: books[tree.participant_id] for tree in trees}


_LOCK_PLOT = "SELECT id, project_id, to_allocate FROM plots WHERE id = $1 FOR NO KEY UPDATE"
