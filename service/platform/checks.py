"""What a noun tells of itself to be audited: its `audit.py` lists such checks as CHECKS.

All give only what is off, as (participant_id, what, expected, found). PostgreSQL recomputes where
it can, so nothing has to travel and memory stays bounded whatever a book holds; what a row should
hold is told by the code that writes it, and the tests audit histories written by that code.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Protocol, Self
from uuid import UUID

from msgspec import Struct

from service.platform.database import Connection

ROWS_MAX = 50
"""A check names at most so many differences a page; the first ones tell what is wrong."""

Off = tuple[UUID | None, str, str, str]
"""One thing that is off: in whose book, what, what was expected and what was found."""


class Check(Struct, frozen=True):
    """A comparison in SQL of the books of one page: $1 is an array of participant ids.

    `parameters` name its other ones: since, today, after, last.
    """

    name: str
    asks: str
    sql: str
    parameters: tuple[str, ...] = ()


class Compare(Struct, frozen=True):
    """A comparison in Python inside a page's snapshot; its counter takes up what is to be noted."""

    name: str
    asks: str
    off: Callable[[Connection, Sequence[UUID], Counter[str]], Awaitable[Sequence[Off]]]


class CompareAll(Struct, frozen=True):
    """The same for what is in nobody's book."""

    name: str
    asks: str
    off: Callable[[Connection], Awaitable[Sequence[Off]]]


class Sum(Protocol):
    """What must come out over all books together, gathered page by page in a few numbers.

    Pages are read one after the other while people go on, so each sum ends at a cut that is behind
    every transaction.
    """

    name: ClassVar[str]
    asks: ClassVar[str]

    @classmethod
    async def begin(cls, connection: Connection, cut: datetime) -> Self:
        """A sum up to this time."""

    async def add_page(self, connection: Connection, ids: Sequence[UUID]) -> None:
        """Take up the books of a page."""

    async def finish(self, connection: Connection) -> Sequence[Off]:
        """What is off in the end."""


class Walk(Struct, frozen=True):
    """A comparison along a table by its key, from behind `before` on, `rows` rows a part.

    Each part is one statement, so that all it reads is of one moment; `sql` has the keys $1 (not of
    the part) and $2 (its last).
    """

    name: str
    asks: str
    before: Any
    rows: int
    table: str
    key: str
    sql: str


AnyCheck = Check | Compare | CompareAll | Walk | type[Sum]
