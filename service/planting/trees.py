"""The life of a tree, and the rows that hold it. A tree is covered by its owner's book.

    pledged -> allocated -> planted -> verified
    pledged -> cancelled
    allocated, replaced, planted, verified -> lost -> replaced -> planted -> verified

A lost tree waits for a plot like a pledged one. `replaced` says that it got one: from there it goes
on like `allocated`. Its grams were spent when it was first planted and are not spent again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg

from service.ledger.books import Book, book_writes
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


@dataclass(slots=True, kw_only=True)
class Tree:
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
    connection: Connection, participant_id: UUID, pledge_id: UUID
) -> list[Tree]:
    """The trees of a pledge, by number."""
    return _trees(await connection.fetch(_READ_PLEDGE, participant_id, pledge_id))


async def read_trees(
    connection: Connection, keys: Collection[TreeKey], statuses: Collection[Status]
) -> list[Tree]:
    """Those of these trees, by owner and number, that stand at one of these statuses."""
    owners, numbers = [key[0] for key in keys], [key[1] for key in keys]
    return _trees(await connection.fetch(_READ, owners, numbers, statuses))


def new_trees_writes(trees: Sequence[Tree]) -> list[Write]:
    """Insert trees of one pledge, their numbers for the lookup, and their first step."""
    first = trees[0]
    owner, numbers = first.participant_id, [tree.number for tree in trees]
    values = (first.pledge_id, first.project_id, first.price_g, first.pledged_at, first.pledged_seq)
    return [
        Write(_ADD, (owner, numbers, *values)),
        Write(_ADD_NUMBERS, (owner, numbers)),
        _steps_write(trees, [first.pledged_at] * len(trees), None),
    ]


def moved_trees_writes(
    trees: Sequence[Tree], books: Mapping[UUID, Book], evidence_id: UUID | None = None
) -> list[Write]:
    """Write back trees that moved, the steps they took, and the books of their owners."""
    return [
        *book_writes([*books.values()]),
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


_COLUMNS = ", ".join(Tree.__dataclass_fields__)

_READ_PLEDGE = f"""
SELECT {_COLUMNS} FROM trees WHERE participant_id = $1 AND pledge_id = $2
ORDER BY number"""  # noqa: S608 - constant columns

_READ = f"""
SELECT {_COLUMNS} FROM trees
WHERE (participant_id, number) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
    AND participant_id = ANY($1) AND status = ANY($3::text[])
ORDER BY participant_id, number"""  # noqa: S608 - constant columns

_ADD = """
INSERT INTO trees (participant_id, number, pledge_id, project_id, status, price_g, pledged_at,
    step, pledged_seq)
SELECT $1, d.number, $3, $4, 'pledged', $5, $6, 1, $7 FROM unnest($2::text[]) AS d (number)"""

_ADD_NUMBERS = """
INSERT INTO tree_numbers (number, participant_id)
SELECT d.number, $1 FROM unnest($2::text[]) AS d (number)"""

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
WHERE trees.participant_id = d.participant_id AND trees.number = d.number
    AND trees.participant_id = ANY($1)"""
