"""The life of a tree, and the rows that hold it. A tree is covered by its owner's book.

    pledged -> allocated -> planted -> verified
    pledged -> cancelled
    allocated, replaced, planted, verified -> lost -> replaced -> planted -> verified

A lost tree waits for a plot like a pledged one. `replaced` says that it got one: from there it goes
on like `allocated`. Its grams were spent when it was first planted and are not spent again.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.ledger.books import Book
from service.platform.database import Connection, Write
from service.platform.errors import ConflictError


class Status(StrEnum):
    """Where a tree stands; in the order of advance, least first."""

    PLEDGED = "pledged"
    LOST = "lost"
    REPLACED = "replaced"
    ALLOCATED = "allocated"
    PLANTED = "planted"
    VERIFIED = "verified"
    CANCELLED = "cancelled"


TreeKey = tuple[UUID, str]
"""A tree by its owner and number."""
WAITING = (Status.LOST, Status.PLEDGED)
STEP_FROM: Mapping[Status, tuple[Status, ...]] = {
    Status.PLANTED: (Status.ALLOCATED, Status.REPLACED),
    Status.VERIFIED: (Status.PLANTED,),
    Status.LOST: (Status.ALLOCATED, Status.REPLACED, Status.PLANTED, Status.VERIFIED),
}
STANDING = frozenset({Status.PLANTED, Status.VERIFIED})


class TreeStatusError(ConflictError):
    """A step that the trees of a plot cannot take where they stand."""

    code = "tree-status"
    members = ("trees",)


class Tree(Struct, kw_only=True):
    """The working copy of a tree whose owner's book is locked."""

    participant_id: UUID
    number: str
    pledge_id: UUID
    project_id: UUID
    plot_id: UUID | None = None
    status: Status = Status.PLEDGED
    price_g: int
    pledged_at: datetime
    step: int = 1
    pledged_seq: int
    planted_seq: int | None = None

    def move(self, status: Status) -> None:
        """Take the next step of its life."""
        self.status = status
        self.step += 1


def least_advanced(statuses: Iterable[str]) -> Status:
    """What a pledge shows: its tree that has the longest way before it."""
    return min(map(Status, statuses), key=[*Status].index)


async def read_pledge_trees(
    connection: Connection, keys: Collection[tuple[UUID, UUID]]
) -> dict[tuple[UUID, UUID], list[Tree]]:
    """The trees of these pledges, by owner and pledge, in order of their numbers."""
    owners, pledges = [key[0] for key in keys], [key[1] for key in keys]
    found: dict[tuple[UUID, UUID], list[Tree]] = defaultdict(list)
    for tree in _trees(await connection.fetch(_READ_PLEDGES, owners, pledges)):
        found[tree.participant_id, tree.pledge_id].append(tree)
    return found


async def read_trees(
    connection: Connection, keys: Collection[TreeKey], statuses: Collection[Status]
) -> list[Tree]:
    """Those of these trees, by owner and number, that stand at one of these statuses."""
    owners, numbers = [key[0] for key in keys], [key[1] for key in keys]
    return _trees(await connection.fetch(_READ, owners, numbers, statuses))


def new_trees_writes(trees: Sequence[Tree]) -> list[Write]:
    """Insert trees that were just pledged, their numbers for the lookup, and their first step."""
    facts = ("pledge_id", "project_id", "price_g", "pledged_at", "pledged_seq")
    return [
        Write(_ADD, _columns(trees, *facts)),
        Write(_ADD_NUMBERS, _columns(trees)),
        _steps_write(trees, [tree.pledged_at for tree in trees], None),
    ]


def moved_trees_writes(
    trees: Sequence[Tree], books: Mapping[UUID, Book], evidence_id: UUID | None = None
) -> list[Write]:
    """Write back trees that moved, and the steps that they took at the time of their books."""
    return [
        Write(_MOVE, _columns(trees, "status", "plot_id", "step", "planted_seq")),
        _steps_write(trees, [books[tree.participant_id].last_at for tree in trees], evidence_id),
    ]


def _steps_write(trees: Sequence[Tree], at: list[datetime], evidence_id: UUID | None) -> Write:
    columns = _columns(trees, "step", "status", "plot_id")
    return Write(_ADD_STEPS, (*columns, at, evidence_id))


def _columns(trees: Sequence[Tree], *names: str) -> tuple[list[Any], ...]:
    keys = ("participant_id", "number")
    return tuple([getattr(tree, name) for tree in trees] for name in (*keys, *names))


def _trees(rows: Iterable[asyncpg.Record]) -> list[Tree]:
    return [Tree(**{**row, "status": Status(row["status"])}) for row in rows]


_COLUMNS = ", ".join(Tree.__struct_fields__)

_READ_PLEDGES = f"""
SELECT {_COLUMNS} FROM trees
JOIN unnest($1::uuid[], $2::uuid[]) AS k (participant_id, pledge_id)
    USING (participant_id, pledge_id)
WHERE participant_id = ANY($1) ORDER BY number"""  # noqa: S608 - constant columns

_READ = f"""
SELECT {_COLUMNS} FROM trees
WHERE (participant_id, number) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
    AND participant_id = ANY($1) AND status = ANY($3::text[])
ORDER BY participant_id, number"""  # noqa: S608 - constant columns

_ADD = """
INSERT INTO trees (participant_id, number, pledge_id, project_id, price_g, pledged_at, pledged_seq,
    status, step)
SELECT d.*, 'pledged', 1 FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::bigint[],
    $6::timestamptz[], $7::bigint[]) AS d"""

_ADD_NUMBERS = """
INSERT INTO tree_numbers (participant_id, number)
SELECT * FROM unnest($1::uuid[], $2::text[])"""

_ADD_STEPS = """
INSERT INTO tree_steps (participant_id, number, step, status, plot_id, at, evidence_id)
SELECT d.*, $7::uuid
FROM unnest(
    $1::uuid[], $2::text[], $3::integer[], $4::text[], $5::uuid[], $6::timestamptz[]) AS d"""

_MOVE = """
UPDATE trees SET
    status = d.status, plot_id = d.plot_id, step = d.step, planted_seq = d.planted_seq
FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::integer[], $6::bigint[]
) AS d (participant_id, number, status, plot_id, step, planted_seq)
WHERE trees.participant_id = d.participant_id AND trees.number = d.number"""
