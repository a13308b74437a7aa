"""Planted, verified, lost: what an operator tells, with evidence, about the trees of a plot.

The grams of a tree move from pledged to planted when it is first planted.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.http.faults import fault
from service.ledger.accounts import Account
from service.ledger.books import Book, post
from service.ledger.orders import Batch
from service.planting.chunks import (
    TREES_MAX,
    Plot,
    PlotStepAnswer,
    Step,
    lock_plot,
    move_trees,
    run_chunks,
)
from service.planting.stock import count_stock
from service.planting.tree_numbers import parse_number
from service.planting.trees import STANDING, STEP_FROM, Status, Tree, TreeStatusError
from service.platform.acts import Act
from service.platform.database import Connection, Database
from service.platform.errors import FieldError, InvalidRequestError
from service.platform.ids import uuid7


@dataclass(frozen=True, slots=True)
class StepOrder:
    """Which step, for which trees of the plot: these numbers, or (None) all that can take it."""

    plot_id: UUID
    status: Status
    evidence: list[dict[str, Any]]
    numbers: list[str] | None


async def advance_trees(
    database: Database, new_batch: Callable[[], Batch], order: StepOrder, act: Act
) -> PlotStepAnswer:
    """Move the trees of a plot one step on (or to lost); those that took it already stay.

    Raises NotFoundError, InvalidRequestError for a number that is no tree of the plot,
    TreeStatusError when a named tree, or all of the plot, cannot take the step, PeopleBusyError.
    """
    call = _Call(order, act)
    moved, done = await run_chunks(database, new_batch, call.chunk)
    remaining = 0 if done else await database.pool.fetchval(_COUNT, *call.candidates)
    return PlotStepAnswer(order.plot_id, order.status, moved, remaining)


class _Call:
    """One operator's act, the same in each of its chunks."""

    def __init__(self, order: StepOrder, act: Act) -> None:
        self._order, self._act = order, act
        self._numbers = None if order.numbers is None else _parsed(order.numbers)
        self._evidence_id = uuid7(act.now) if order.evidence else None
        self._checked = False

    @property
    def candidates(self) -> tuple[UUID, Sequence[Status], list[str] | None]:
        """What finds the trees that can take the step: plot, statuses, numbers."""
        return self._order.plot_id, STEP_FROM[self._order.status], self._numbers

    async def chunk(self, connection: Connection, batch: Batch) -> list[str] | None:
        """Move the trees of at most 200 people; None when no tree is left that can take the step.

        Nothing but acts on this plot, which is locked, moves a tree that stands in it.
        """
        plot = await lock_plot(connection, self._order.plot_id)
        if not self._checked:
            await self._check(connection)
            self._checked = True
        rows = await connection.fetch(_FIND, *self.candidates, TREES_MAX)
        return await self._move(connection, batch, plot, rows) if rows else None

    async def _check(self, connection: Connection) -> None:
        status, plot_id = self._order.status, self._order.plot_id
        if self._numbers is None:
            if not await connection.fetchval(_ANY, plot_id, _ABLE_OR_DONE[status]):
                text = "No tree of this plot can be marked {step}."
                raise TreeStatusError(text, step=status.value)
            return
        rows = await connection.fetch(_READ_STATUS, plot_id, self._numbers)
        known = {row["number"]: Status(row["status"]) for row in rows}
        if faults := [
            FieldError(f"#/trees/{position}", "is no tree of this plot")
            for position, number in enumerate(self._numbers)
            if number not in known
        ]:
            raise InvalidRequestError(
                "Some of the numbers are no trees of this plot.", errors=tuple(faults[:_FAULTS_MAX])
            )
        if unable := [
            number for number in self._numbers if known[number] not in (status, *STEP_FROM[status])
        ]:
            raise TreeStatusError(
                "{count} of these trees cannot be marked {step}.",
                count=len(unable),
                step=status.value,
                trees=unable[:_FAULTS_MAX],
            )

    async def _move(
        self, connection: Connection, batch: Batch, plot: Plot, rows: Sequence[Any]
    ) -> list[str]:
        order, act, evidence_id = self._order, self._act, self._evidence_id
        if evidence_id is not None:
            await connection.execute(_ADD_EVIDENCE, evidence_id, plot.id, act.now, order.evidence)
        step = Step(STEP_FROM[order.status], self._take, evidence_id)
        moved, _ = await move_trees(connection, batch, rows, step)
        planted, verified = (
            len(moved) * (order.status in counted) - sum(was in counted for was in moved.values())
            for counted in (STANDING, _VERIFIED)
        )
        await count_stock(connection, plot.project_id, planted=planted, verified=verified)
        detail = {"trees": len(moved), "evidence": evidence_id and str(evidence_id)}
        await act.log(connection, f"plot.{order.status}", plot.id, detail)
        return [*moved]

    def _take(self, book: Book, trees: Sequence[Tree]) -> None:
        for tree in trees:
            tree.move(self._order.status)
        if self._order.status is Status.PLANTED:
            _spend(book, trees)


def _parsed(texts: list[str]) -> list[str]:
    """Numbers as they are stored, each once, in the order given."""
    numbers: dict[str, None] = {}
    for position, text in enumerate(texts):
        number = parse_number(text)
        if number is None:
            raise fault(f"#/trees/{position}", "is no tree number", text)
        numbers[number] = None
    return [*numbers]


def _spend(book: Book, trees: Sequence[Tree]) -> None:
    """Move the grams of trees that are planted for the first time, one transfer a pledge."""
    pledges: dict[UUID, list[Tree]] = defaultdict(list)
    for tree in trees:
        if tree.planted_seq is None:
            pledges[tree.pledge_id].append(tree)
    sides = (Account.PLEDGED, Account.PLANTED)
    for pledge_id, planted in pledges.items():
        amount_g = sum(tree.price_g for tree in planted)
        post(book, *sides, amount_g, cause="plant", cause_id=pledge_id, at=book.last_at)
        for tree in planted:
            tree.planted_seq = book.seq


_FAULTS_MAX = 20
_VERIFIED = frozenset({Status.VERIFIED})
_ABLE_OR_DONE = {
    step: {*able, step, Status.VERIFIED} if step is Status.PLANTED else {*able, step}
    for step, able in STEP_FROM.items()
}

_CANDIDATES = """
FROM trees WHERE plot_id = $1 AND status = ANY($2::text[])
    AND ($3::text[] IS NULL OR number = ANY($3))"""

_FIND = f"""
SELECT participant_id, number {_CANDIDATES}
ORDER BY participant_id, number LIMIT $4"""

_COUNT = f"SELECT count(*) {_CANDIDATES}"

_ANY = "SELECT EXISTS (SELECT FROM trees WHERE plot_id = $1 AND status = ANY($2::text[]))"

_READ_STATUS = "SELECT number, status FROM trees WHERE plot_id = $1 AND number = ANY($2::text[])"

_ADD_EVIDENCE = """
INSERT INTO plot_evidence (id, plot_id, at, items) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING"""
