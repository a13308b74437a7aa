"""Allocating: trees that wait get a place in a plot, lost ones first, then the oldest pledges."""

from uuid import UUID

from service.ledger.books import book_writes, lock_books
from service.planting.chunks import (
    TREES_MAX,
    PlotReport,
    TreeKey,
    first_people,
    lock_plot,
    run_chunks,
)
from service.planting.trees import (
    WAITING,
    Status,
    TreeStatusError,
    moved_trees_writes,
    read_trees,
)
from service.platform.acts import Act
from service.platform.database import Connection, Database, write_all


async def allocate_trees(database: Database, plot_id: UUID, wanted: int, act: Act) -> PlotReport:
    """Give so many waiting trees of the plot's project a place in it, or as many as there are.

    Between its chunks the plot keeps how many are left to do. A call that finds such a rest, after
    a crash or beside another call, works at that rest and never does more than it was asked for.
    Raises NotFoundError, TreeStatusError when nobody waits, PeopleBusyError.
    """
    call = _Call(plot_id, wanted, act)
    numbers, _ = await run_chunks(database, call.chunk)
    if not numbers:
        raise TreeStatusError("No tree of this project waits for a plot.")
    return PlotReport(plot_id, numbers, call.remaining)


class _Call:
    """How far one call has come: what it may still do, and what the plot has left after it."""

    def __init__(self, plot_id: UUID, wanted: int, act: Act) -> None:
        self._plot_id, self._wanted, self._act = plot_id, wanted, act
        self._started = False
        self.remaining = 0

    async def chunk(self, connection: Connection) -> list[str] | None:
        """Allocate for at most 200 people; None when there is nothing left to do."""
        plot = await lock_plot(connection, self._plot_id)
        rest = plot.to_allocate or (0 if self._started else self._wanted)
        limit = min(rest, self._wanted, TREES_MAX)
        if not limit:
            return None
        found = [(row[0], row[1]) for row in await connection.fetch(_FIND, plot.project_id, limit)]
        keys = first_people(found)
        numbers = await self._move(connection, keys)
        if len(keys) == len(found) < limit:
            rest = len(numbers)  # all that waited are done
        rest -= len(numbers)
        await connection.execute(_MARK, plot.id, rest)
        self._started, self._wanted, self.remaining = True, self._wanted - len(numbers), rest
        if numbers:
            await self._log(connection, len(numbers))
        return numbers

    async def _move(self, connection: Connection, keys: list[TreeKey]) -> list[str]:
        books = await lock_books(connection, {key[0] for key in keys})
        trees = await read_trees(connection, keys, WAITING)
        if trees:
            at = {}
            for tree in trees:
                at[tree.participant_id] = books[tree.participant_id].tick(self._act.now)
                lost = tree.status is Status.LOST
                tree.move(Status.REPLACED if lost else Status.ALLOCATED)
                tree.plot_id = self._plot_id
            moved = [books[participant_id] for participant_id in at]
            await write_all(connection, [*book_writes(moved), *moved_trees_writes(trees, at)])
        return [tree.number for tree in trees]

    async def _log(self, connection: Connection, trees: int) -> None:
        detail = {"trees": trees, "remaining": self.remaining}
        await self._act.log(connection, "plot.allocate", self._plot_id, detail)


_FIND = """
SELECT participant_id, number FROM (
    (SELECT 1 AS turn, participant_id, number, pledged_at FROM trees
     WHERE project_id = $1 AND status = 'lost'
     ORDER BY pledged_at, participant_id, number LIMIT $2)
    UNION ALL
    (SELECT 2, participant_id, number, pledged_at FROM trees
     WHERE project_id = $1 AND status = 'pledged'
     ORDER BY pledged_at, participant_id, number LIMIT $2)
) AS waiting
ORDER BY turn, pledged_at, participant_id, number LIMIT $2"""

_MARK = "UPDATE plots SET to_allocate = $2 WHERE id = $1"
