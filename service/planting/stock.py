"""How many trees of a project are promised: one row, the last that a transaction locks.

It is the hottest row of a popular project, so it is held for the shortest time: nothing takes a
book after it.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

from service.platform.database import Connection, Write
from service.platform.errors import ConflictError


class SoldOutError(ConflictError):
    """A project has fewer trees left than were asked for."""

    code = "sold-out"
    text = "{wanted} trees are asked for, {trees_left} are left."
    members = ("trees_left",)
    wanted: int
    trees_left: int


async def lock_stock(connection: Connection, project_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Lock the stock of these projects, in order of their ids: how many trees each has left."""
    rows = await connection.fetch(_LOCK, sorted(project_ids))
    return {row[0]: row[1] for row in rows}


def stock_write(promised: Mapping[UUID, int]) -> Write:
    """Promise so many trees more of each of these projects, or fewer; their stock is locked."""
    return Write(_PROMISE, ([*promised], [*promised.values()]))


async def count_stock(
    connection: Connection, project_id: UUID, *, planted: int, verified: int
) -> None:
    """Change how many promised trees stand, and how many of those somebody looked at."""
    if planted or verified:
        await connection.execute(_COUNT, project_id, planted, verified)


_LOCK = """
SELECT project_id, for_sale - pledged FROM stock
WHERE project_id = ANY($1::uuid[]) ORDER BY project_id FOR NO KEY UPDATE"""

_PROMISE = """
UPDATE stock SET pledged = stock.pledged + d.trees
FROM unnest($1::uuid[], $2::bigint[]) AS d (project_id, trees)
WHERE stock.project_id = d.project_id"""

_COUNT = """
UPDATE stock SET planted = planted + $2, verified = verified + $3 WHERE project_id = $1"""
