"""One act of an operator over many people's trees, in batches of orders of bounded size.

Each batch is a transaction that locks the plot, then the books of at most 200 people in id order,
and what it did stays when the next one fails: the same call again goes on from there.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.ledger.books import Book
from service.ledger.orders import Batch, Order, Work
from service.planting.trees import Status, Tree, moved_trees_writes, read_trees
from service.platform.database import Connection, Database, Write
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


class Step(Struct, eq=False):
    """What one act does to trees that stand at one of these statuses, person by person."""

    able: Collection[Status]
    move: Callable[[Book, Sequence[Tree]], None]
    evidence_id: UUID | None = None


class Moving(Work):
    """Moves the trees of one batch, which is of one step."""

    rank = 2
    mixes = False

    async def read(self, connection: Connection, orders: Sequence["MoveOrder"]) -> None:
        """Those of the trees that can still take the step."""
        self._step = orders[0].step
        self._trees: dict[UUID, list[Tree]] = defaultdict(list)
        keys = [(order.participant_id, number) for order in orders for number in order.numbers]
        for tree in await read_trees(connection, keys, self._step.able):
            self._trees[tree.participant_id].append(tree)

    def decide(self, order: "MoveOrder") -> list[tuple[str, Status]]:
        """Which trees took the step, and where each stood before."""
        book, trees = self.batch.books[order.participant_id], self._trees[order.participant_id]
        moved = [(tree.number, tree.status) for tree in trees]
        if trees:
            book.tick(self.batch.now)
            self._step.move(book, trees)
            self.batch.change(book.participant_id)
        return moved

    async def finish(self, _connection: Connection) -> list[Write]:
        """Write back where the trees stand now."""
        trees = [tree for theirs in self._trees.values() for tree in theirs]
        return moved_trees_writes(trees, self.batch.books, self._step.evidence_id) if trees else []


class MoveOrder(Order):
    """Moves trees of somebody, by their numbers."""

    work = Moving
    step: Step
    numbers: list[str]


async def run_chunks(
    database: Database,
    new_batch: Callable[[], Batch],
    chunk: Callable[[Connection, Batch], Awaitable[list[str] | None]],
) -> tuple[list[str], bool]:
    """Run the chunk, each time in a transaction of its own, until it finds nothing to do (None).

    Gives the numbers of the trees that it moved, and whether it came to that end: after 50 chunks
    the call answers as it is. Raises PeopleBusyError.
    """
    moved: list[str] = []
    for _ in range(CHUNKS_MAX):
        try:
            async with database.transaction() as connection:
                part = await chunk(connection, new_batch())
        except asyncpg.LockNotAvailableError as error:
            raise PeopleBusyError from error
        if part is None:
            return moved, True
        moved += part
    return moved, False


async def lock_plot(connection: Connection, plot_id: UUID) -> Plot:
    """Lock a plot, before any book: acts on it come one after the other. Raises NotFoundError."""
    row = await connection.fetchrow(_LOCK_PLOT, plot_id)
    if row is None:
        raise NotFoundError("There is no such plot.")
    return Plot(*row)


async def move_trees(
    connection: Connection, batch: Batch, rows: Sequence[asyncpg.Record], step: Step
) -> tuple[dict[str, Status], bool]:
    """Let the first of these trees, of no more than 200 people, take the step if they still can.

    Gives where each stood before, and whether all were looked at. Raises LockNotAvailableError.
    """
    numbers: dict[UUID, list[str]] = {}
    is_whole = True
    for participant_id, number in rows:
        if participant_id not in numbers and len(numbers) == BOOKS_MAX:
            is_whole = False
            break
        numbers.setdefault(participant_id, []).append(number)
    orders = [MoveOrder(owner, step, numbers[owner]) for owner in sorted(numbers)]
    outcomes = await batch.run(connection, orders, wait=True)
    return {number: was for order in orders for number, was in outcomes[order]}, is_whole


_LOCK_PLOT = "SELECT id, project_id, to_allocate FROM plots WHERE id = $1 FOR NO KEY UPDATE"
