"""Pledging: available energy is reserved for trees of a project, and the trees get their numbers.

The person's book first, the project's stock last. What the stock refuses takes everything back.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import date, datetime
from functools import partial
from uuid import UUID

import asyncpg

from service.ledger.accounts import Account
from service.ledger.books import book_writes, lock_book, post
from service.planting.stock import SoldOutError, reserve_stock
from service.planting.tree_numbers import draw_number
from service.planting.trees import Tree, new_trees_writes
from service.platform.database import Connection, Write, write_all
from service.platform.errors import ConflictError, NotFoundError, UnavailableError
from service.platform.ids import uuid7
from service.platform.outbox import outbox_write


class SeasonClosedError(ConflictError):
    """Nobody can pledge to the project today."""

    code = "season-closed"
    text = "Trees are pledged from {season[from]} and before {season[until]}."
    members = ("season",)
    season: dict[str, date]


@dataclass(frozen=True, slots=True)
class PledgeOrder:
    """What a person asks for."""

    participant_id: UUID
    project_id: UUID
    trees: int
    dedication: str | None


@dataclass(frozen=True, slots=True)
class Pledge:
    """A pledge as its row holds it, with its trees."""

    id: UUID
    project_id: UUID
    trees: list[Tree]
    amount_g: int
    dedication: str | None
    region: str
    created_at: datetime
    cancelled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Offer:
    """A project as a pledge sees it before it reserves."""

    price_g: int
    season_from: date | None
    season_until: date | None
    left: int
    region: str

    def require_open(self, today: date, trees: int) -> None:
        """Raise SeasonClosedError or SoldOutError; the stock decides when it is reserved."""
        first, until = self.season_from, self.season_until
        if first and until and not first <= today < until:
            raise SeasonClosedError({"from": first, "until": until})
        if trees > self.left:
            raise SoldOutError(trees, self.left)


async def pledge_trees(
    connection: Connection,
    order: PledgeOrder,
    *,
    now: datetime,
    local_date: Callable[[datetime], date],
    lane: int,
) -> Pledge:
    """Reserve the price of the trees and promise them; a constant number of statements.

    Raises NotFoundError for an unknown project, SeasonClosedError, SoldOutError,
    InsufficientEnergyError, BookClosedError or SuspendedError.
    """
    book = await lock_book(connection, order.participant_id)
    book.require_open()
    row = await connection.fetchrow(_READ_OFFER, order.project_id, order.participant_id)
    if row is None:
        raise NotFoundError("There is no project {id}.", id=order.project_id)
    offer = _Offer(*row)
    at = book.tick(now)
    offer.require_open(local_date(at), order.trees)
    pledge_id, amount_g = uuid7(at), offer.price_g * order.trees
    book.require(Account.AVAILABLE, amount_g)
    sides = (Account.AVAILABLE, Account.PLEDGED)
    post(book, *sides, amount_g, cause="pledge", cause_id=pledge_id, at=at)
    book.trees += order.trees
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
    pledge = Pledge(
        id=pledge_id,
        project_id=order.project_id,
        trees=[tree(number=number) for number in numbers],
        amount_g=amount_g,
        dedication=order.dedication,
        region=offer.region,
        created_at=at,
    )
    delta = (order.participant_id, "trees", order.trees, offer.region)
    await _write(
        connection,
        [
            *book_writes([book]),
            Write(_ADD, (*astuple(order), pledge_id, amount_g, offer.region, at)),
            *new_trees_writes(pledge.trees),
            outbox_write(lane, at, local_date(at).isoformat(), [delta]),
        ],
    )
    await reserve_stock(connection, order.project_id, order.trees)
    return pledge


async def _write(connection: Connection, writes: list[Write]) -> None:
    try:
        await write_all(connection, writes)
    except asyncpg.UniqueViolationError as error:
        # Of all keys only a tree number is drawn so short that a twin can be thought of.
        raise UnavailableError("A tree number was drawn twice; send the request again.") from error


_READ_OFFER = """
SELECT p.price_g, p.season_from, p.season_until, s.for_sale - s.pledged, coalesce(
    (SELECT region FROM participants WHERE participant_id = $2), '')
FROM projects p JOIN stock s ON s.project_id = p.id
WHERE p.id = $1"""

_ADD = """
INSERT INTO pledges
    (participant_id, project_id, trees, dedication, id, amount_g, region, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""
