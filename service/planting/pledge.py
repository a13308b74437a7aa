"""Pledging: available energy is reserved for trees of a project, and the trees get their numbers.

Cancelling takes that back, as long as no tree has a plot. The person's book first, the stock of the
projects last, in one order for all: the last trees go to those who came first.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from uuid import UUID

from msgspec import Struct, structs

from service.ledger.accounts import Account
from service.ledger.books import Book, post
from service.ledger.orders import RequestOrder, Work
from service.planting.stock import SoldOutError, lock_stock, stock_write
from service.planting.tree_numbers import draw_number
from service.planting.trees import (
    Status,
    Tree,
    moved_trees_writes,
    new_trees_writes,
    read_pledge_trees,
)
from service.platform.arrays import Columns
from service.platform.database import Connection, Write
from service.platform.errors import ConflictError, NotFoundError
from service.platform.ids import uuid7


class SeasonClosedError(ConflictError):
    """Nobody can pledge to the project today."""

    code = "season-closed"
    text = "Trees are pledged from {season[from]} and before {season[until]}."
    members = ("season",)
    season: dict[str, date]


class PledgeNotCancellableError(ConflictError):
    """A tree of it has got its plot, is planted already, or was cancelled."""

    code = "pledge-not-cancellable"


class Pledge(Struct, frozen=True):
    """A pledge as its row holds it, with its trees."""

    participant_id: UUID
    id: UUID
    project_id: UUID
    amount_g: int
    dedication: str | None
    region: str
    created_at: datetime
    cancelled_at: datetime | None = None
    trees: list[Tree] = []


class _Offer(Struct):
    """A project as a pledge sees it, and the region of who pledges."""

    price_g: int
    season_from: date | None
    season_until: date | None
    region: str

    def require_open(self, today: date) -> None:
        """Raise SeasonClosedError."""
        first, until = self.season_from, self.season_until
        if first and until and not first <= today < until:
            raise SeasonClosedError({"from": first, "until": until})


class Pledging(Work):
    """Decides on the pledges and cancellations of one batch."""

    rank = 2

    async def read(
        self, connection: Connection, orders: Sequence["PledgeOrder | CancelOrder"]
    ) -> None:
        """Read the pledges to cancel, lock the stock of all projects, then read what they offer."""
        self._offers: dict[tuple[UUID, UUID], _Offer] = {}
        self._held: dict[tuple[UUID, UUID], Pledge] = {}
        self._promised: dict[UUID, int] = defaultdict(int)
        self._made: list[Pledge] = []
        self._cancelled: list[Pledge] = []
        wanted = {(o.participant_id, o.project_id) for o in orders if isinstance(o, PledgeOrder)}
        held = {(o.participant_id, o.pledge_id) for o in orders if isinstance(o, CancelOrder)}
        if held:
            rows = await connection.fetch(_READ_PLEDGES, *map(list, zip(*held, strict=True)))
            trees = await read_pledge_trees(connection, held)
            pledges = [Pledge(**row, trees=trees[row["participant_id"], row["id"]]) for row in rows]
            self._held = {(pledge.participant_id, pledge.id): pledge for pledge in pledges}
        projects = {pledge.project_id for pledge in self._held.values()}
        projects |= {project_id for _, project_id in wanted}
        self._left = await lock_stock(connection, projects)
        if wanted:
            rows = await connection.fetch(_READ_OFFERS, *map(list, zip(*wanted, strict=True)))
            self._offers = {(row[0], row[1]): _Offer(*row[2:]) for row in rows}

    def decide(self, order: "PledgeOrder | CancelOrder") -> Pledge:
        """Make the pledge, or take it back.

        Raises NotFoundError, BookClosedError, SuspendedError, SeasonClosedError, SoldOutError,
        InsufficientEnergyError or PledgeNotCancellableError.
        """
        book = self.batch.books[order.participant_id]
        book.require_open()
        if isinstance(order, PledgeOrder):
            return self._pledge(order, book)
        return self._cancel(order, book)

    def _pledge(self, order: "PledgeOrder", book: Book) -> Pledge:
        offer = self._offers.get((order.participant_id, order.project_id))
        if offer is None:
            raise NotFoundError("There is no project {id}.", id=order.project_id)
        at, left = book.tick(self.batch.now), self._left[order.project_id]
        offer.require_open(self.batch.rulebook.program.local_date(at))
        if order.trees > left:
            raise SoldOutError(order.trees, left)
        pledge_id, amount_g = uuid7(at), offer.price_g * order.trees
        book.require(Account.AVAILABLE, amount_g)
        sides = (Account.AVAILABLE, Account.PLEDGED)
        post(book, *sides, amount_g, cause="pledge", cause_id=pledge_id, at=at)
        pledge = Pledge(
            order.participant_id,
            pledge_id,
            order.project_id,
            amount_g,
            order.dedication,
            offer.region,
            at,
        )
        tree = partial(
            Tree,
            participant_id=order.participant_id,
            pledge_id=pledge_id,
            project_id=order.project_id,
            price_g=offer.price_g,
            pledged_at=at,
            pledged_seq=book.seq,
        )
        numbers = sorted(draw_number() for _ in range(order.trees))
        pledge.trees.extend(tree(number=number) for number in numbers)
        self._made.append(pledge)
        self._promise(pledge, book, order.trees)
        return pledge

    def _cancel(self, order: "CancelOrder", book: Book) -> Pledge:
        held = self._held.get((order.participant_id, order.pledge_id))
        if held is None:
            raise NotFoundError("You have no such pledge.")
        if any(tree.status is not Status.PLEDGED for tree in held.trees):
            on_its_way = "A tree of pledge {id} is on its way; it cannot be cancelled."
            text = "Pledge {id} was cancelled at {at:%FT%TZ}." if held.cancelled_at else on_its_way
            raise PledgeNotCancellableError(text, id=held.id, at=held.cancelled_at)
        at = book.tick(self.batch.now)
        sides = (Account.PLEDGED, Account.AVAILABLE)
        post(book, *sides, held.amount_g, cause="release", cause_id=held.id, at=at)
        for tree in held.trees:
            tree.move(Status.CANCELLED)
        cancelled = structs.replace(held, cancelled_at=at)
        self._held[order.participant_id, held.id] = cancelled
        self._cancelled.append(cancelled)
        self._promise(cancelled, book, -len(held.trees))
        return cancelled

    def _promise(self, pledge: Pledge, book: Book, trees: int) -> None:
        """Count trees that are promised from here on, or are not any more."""
        book.trees += trees
        self._left[pledge.project_id] -= trees
        self._promised[pledge.project_id] += trees
        self.batch.change(book.participant_id)
        self.batch.tell(book.last_at, book.participant_id, "trees", trees, pledge.region)

    async def finish(self, _connection: Connection) -> list[Write]:
        """Write pledges, trees and stock."""
        writes = []
        if self._made:
            writes.append(Write(_ADD, _ADDED.values([_row(pledge) for pledge in self._made])))
            writes += new_trees_writes([tree for pledge in self._made for tree in pledge.trees])
        if self._cancelled:
            rows = [(pledge.participant_id, pledge.id) for pledge in self._cancelled]
            at = [pledge.cancelled_at for pledge in self._cancelled]
            writes.append(Write(_CANCEL, (*map(list, zip(*rows, strict=True)), at)))
            trees = [tree for pledge in self._cancelled for tree in pledge.trees]
            writes += moved_trees_writes(trees, self.batch.books)
        if self._promised:
            writes.append(stock_write(self._promised))
        return writes


class PledgeOrder(RequestOrder, kw_only=True):
    """Promises available energy to a project, for one or more trees."""

    work = Pledging
    project_id: UUID
    trees: int
    dedication: str | None = None

    @property
    def weight(self) -> int:
        """A tree is three rows, as an action is."""
        return self.trees


class CancelOrder(RequestOrder, kw_only=True):
    """Takes a pledge back."""

    work = Pledging
    pledge_id: UUID

    @property
    def weight(self) -> int:
        """Some trees; how many is known when they are read."""
        return 20


def _row(pledge: Pledge) -> tuple[object, ...]:
    kept = structs.asdict(pledge) | {"trees": len(pledge.trees)}
    return tuple(kept[name] for name in kept if name != "cancelled_at")


_READ_OFFERS = """
SELECT k.participant_id, p.id, p.price_g, p.season_from, p.season_until, coalesce(r.region, '')
FROM unnest($1::uuid[], $2::uuid[]) AS k (participant_id, project_id)
JOIN projects p ON p.id = k.project_id
LEFT JOIN participants r ON r.participant_id = k.participant_id"""

_READ_PLEDGES = """
SELECT participant_id, id, project_id, amount_g, dedication, region, created_at, cancelled_at
FROM pledges JOIN unnest($1::uuid[], $2::uuid[]) AS k (participant_id, id)
    USING (participant_id, id)"""

_ADDED = Columns(
    "participant_id uuid, id uuid, project_id uuid, amount_g bigint, dedication text, region text,"
    "created_at timestamptz, trees integer"
)

_ADD = f"INSERT INTO pledges ({_ADDED.names}) SELECT * FROM {_ADDED.rows}"  # noqa: S608 - constant

_CANCEL = """
UPDATE pledges SET cancelled_at = d.at
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS d (participant_id, id, at)
WHERE pledges.participant_id = d.participant_id AND pledges.id = d.id"""
