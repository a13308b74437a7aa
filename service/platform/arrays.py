"""Columns of rows as PostgreSQL's array literals, to be cast in SQL: `$1::text::uuid[]`.

A batch is sent as one parameter a column. The driver builds arrays of numbers, ids and times
element by element, which cost as much as all else that the main job does in Python; joining text
costs a quarter to two thirds of it (`benchmarks/arrays.py`). Texts and bytes the driver sends as
fast.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import lru_cache
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
