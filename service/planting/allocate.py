"""Allocating: trees that wait get a place in a plot, lost ones first, then the oldest pledges."""

from collections.abc import Callable, Sequence
from uuid import UUID

from service.ledger.books import Book
from service.ledger.orders import Batch
from service.planting.chunks import (
    TREES_MAX,
    PlotStepAnswer,
    Step,
    lock_plot,
    move_trees,
    run_chunks,
)
from service.planting.trees import WAITING, Status, Tree, TreeStatusError
from service.platform.acts import Act
from service.platform.database import Connection, Database


async def allocate_trees(
    database: Database, new_batch: Callable[[], Batch], plot_id: UUID, wanted: int, act: Act
) -> PlotStepAnswer:
    """Give so many waiting trees of the plot's project a place in it, or as many as there are.

    Between its chunks the plot keeps how many are left to do. A call that finds such a rest, after
    a crash or beside another call, works at that rest and never does more than it was asked for.
    Raises NotFoundError, TreeStatusError when nobody waits, PeopleBusyError.
    """
    call = _Call(plot_id, wanted, act)
    numbers, _ = await run_chunks(database, new_batch, call.chunk)
    if not numbers:
        raise TreeStatusError("No tree of this project waits for a plot.")
    return PlotStepAnswer(plot_id, Status.ALLOCATED, numbers, call.remaining)


class _Call:
    """How far one call has come: what it may still do, and what the plot has left after it."""

    def __init__(self, plot_id: UUID, wanted: int, act: Act) -> None:
        self._plot_id, self._wanted, self._act = plot_id, wanted, act
        self._started = False
        self.remaining = 0

    async def chunk(self, connection: Connection, batch: Batch) -> list[str] | None:
        """Allocate for at most 200 people; None when there is nothing left to do."""
        plot = await lock_plot(connection, self._plot_id)
        rest = plot.to_allocate or (0 if self._started else self._wanted)
        limit = min(rest, self._wanted, TREES_MAX)
        if not limit:
            return None
        found = await connection.fetch(_FIND, plot.project_id, limit)
        moved, is_whole = await move_trees(connection, batch, found, Step(WAITING, self._place))
        numbers = [*moved]
        if is_whole and len(found) < limit:
            rest = len(numbers)  # all that waited are done
        rest -= len(numbers)
        await connection.execute(_MARK, plot.id, rest)
        self._started, self._wanted, self.remaining = True, self._wanted - len(numbers), rest
        if numbers:
            detail = {"trees": len(numbers), "remaining": rest}
            await self._act.log(connection, "plot.allocate", plot.id, detail)
        return numbers

    def _place(self, _book: Book, trees: Sequence[Tree]) -> None:
        for tree in trees:
            tree.move(Status.REPLACED if tree.status is Status.LOST else Status.ALLOCATED)
            tree.plot_id = self._plot_id


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
