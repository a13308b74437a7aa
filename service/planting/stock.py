"""How many trees of a project are promised: one row, the last that a transaction locks.

It is the hottest row of a popular project, so it is held for the shortest time: nothing takes a
book after it.
"""

from uuid import UUID

from service.platform.database import Connection
from service.platform.errors import ConflictError


class SoldOutError(ConflictError):
    """A project has fewer trees left than were asked for."""

    code = "sold-out"
    text = "{wanted} trees are asked for, {trees_left} are left."
    members = ("trees_left",)
    wanted: int
    trees_left: int


async def reserve_stock(connection: Connection, project_id: UUID, trees: int) -> None:
    """Promise so many trees more. Raises SoldOutError, then nothing is promised."""
    if await connection.fetchval(_RESERVE, project_id, trees) is None:
        left = await connection.fetchval(_LEFT, project_id)
        raise SoldOutError(trees, left or 0)


async def release_stock(connection: Connection, project_id: UUID, trees: int) -> None:
    """Give so many promised trees back to the project."""
    await connection.execute(_RELEASE, project_id, trees)


async def count_stock(
    connection: Connection, project_id: UUID, *, planted: int, verified: int
) -> None:
    """Change how many promised trees stand, and how many of those somebody looked at."""
    if planted or verified:
        await connection.execute(_COUNT, project_id, planted, verified)


_RESERVE = """
UPDATE stock SET pledged = pledged + $2
WHERE project_id = $1 AND pledged + $2 <= for_sale
RETURNING pledged"""

_LEFT = "SELECT for_sale - pledged FROM stock WHERE project_id = $1"

_RELEASE = "UPDATE stock SET pledged = pledged - $2 WHERE project_id = $1"

_COUNT = """
UPDATE stock SET planted = planted + $2, verified = verified + $3 WHERE project_id = $1"""
