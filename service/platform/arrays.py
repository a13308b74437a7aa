"""Columns of rows as PostgreSQL's array literals, to be cast in SQL: `$1::text::uuid[]`.

A batch is sent as one parameter a column. The driver builds arrays of numbers, ids and times
element by element, which cost as much as all else that the main job does in Python; joining text
costs a quarter to two thirds of it (`benchmarks/arrays.py`). Texts and bytes the driver sends as
fast.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

_NULL = "NULL"


def integers(values: Iterable[int]) -> str:
    """smallint[], integer[] or bigint[]; an IntEnum prints as its number."""
    return "{" + ",".join(map(str, values)) + "}"


def flags(values: Iterable[bool]) -> str:
    """boolean[]."""
    return "{" + ",".join(["t" if value else "f" for value in values]) + "}"


def uuids(values: Iterable[UUID | None]) -> str:
    """uuid[]."""
    return "{" + ",".join([_NULL if value is None else str(value) for value in values]) + "}"


def times(values: Iterable[datetime | None]) -> str:
    """timestamptz[]; most rows of a batch share their times, so their texts are remembered."""
    return "{" + ",".join([_NULL if value is None else _time(value) for value in values]) + "}"


def dates(values: Iterable[date | None]) -> str:
    """date[]."""
    return "{" + ",".join([_NULL if value is None else _date(value) for value in values]) + "}"


def documents(values: Iterable[Any]) -> str:
    """jsonb[]; None is SQL's null."""
    return "{" + ",".join([_NULL if value is None else _document(value) for value in values]) + "}"


class Columns:
    """The columns of a batch, told as SQL tells them: `id uuid, at timestamptz`.

    `names` are theirs, `rows` gives the batch in SQL (it is called `d`), from $1 on.
    """

    def __init__(self, told: str) -> None:
        """Read the names and types."""
        columns = [column.split() for column in told.split(",")]
        self.names = ", ".join([name for name, _ in columns])
        self._forms = [_FORMS.get(kind, list) for _, kind in columns]
        self._read = attrgetter(*[name for name, _ in columns])
        arrays = [
            f"${number}::{'text::' if kind in _FORMS else ''}{kind}[]"
            for number, (_, kind) in enumerate(columns, 1)
        ]
        self.rows = f"unnest({', '.join(arrays)}) AS d ({self.names})"

    def values(self, rows: Iterable[Sequence[Any]]) -> tuple[object, ...]:
        """The parameters of these rows, of which there is at least one."""
        columns = zip(self._forms, zip(*rows, strict=True), strict=True)
        return tuple([form(column) for form, column in columns])

    def values_of(self, objects: Iterable[object]) -> tuple[object, ...]:
        """The same of objects that have attributes of these names."""
        return self.values(map(self._read, objects))


_FORMS: dict[str, Callable[[Iterable[Any]], str]] = dict.fromkeys(
    ("smallint", "integer", "bigint"), integers
) | {"boolean": flags, "uuid": uuids, "timestamptz": times, "date": dates, "jsonb": documents}


@lru_cache(maxsize=1024)
def _time(value: datetime) -> str:
    # PostgreSQL reads no offset of 16 hours or more, which RFC 3339 allows.
    return f'"{value.astimezone(UTC).isoformat()}"'


@lru_cache(maxsize=256)
def _date(value: date) -> str:
    return value.isoformat()


def _document(value: Any) -> str:
    """JSON between quotes: a backslash stands before each of its quotes and backslashes."""
    return '"' + _encode(value).decode().replace("\\", "\\\\").replace('"', '\\"') + '"'


_encode = msgspec.json.Encoder().encode
