"""Columns of rows as PostgreSQL's array literals, to be cast in SQL: `$1::text::uuid[]`.

A batch is sent as one parameter a column. The driver builds binary arrays element by element, which
cost more than everything else the main job does in Python; joining text costs a fifth of it
(`benchmarks/arrays.py`).
"""

from collections.abc import Iterable
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

_NULL = "NULL"


def integers(values: Iterable[int]) -> str:
    """smallint[], integer[] or bigint[]."""
    return "{" + ",".join(map(str, map(int, values))) + "}"


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


def texts(values: Iterable[str | None]) -> str:
    """text[]."""
    return "{" + ",".join([_NULL if value is None else _text(value) for value in values]) + "}"


def blobs(values: Iterable[bytes | None]) -> str:
    """bytea[]."""
    return (
        "{"
        + ",".join([_NULL if value is None else f'"\\\\x{value.hex()}"' for value in values])
        + "}"
    )


def documents(values: Iterable[Any]) -> str:
    """jsonb[]; None is SQL's null."""
    return "{" + ",".join([_NULL if value is None else _document(value) for value in values]) + "}"


@lru_cache(maxsize=1024)
def _time(value: datetime) -> str:
    return f'"{value.isoformat()}"'


@lru_cache(maxsize=256)
def _date(value: date) -> str:
    return value.isoformat()


@lru_cache(maxsize=4096)
def _text(value: str) -> str:
    return _quoted(value)


def _document(value: Any) -> str:
    return _quoted(_encode(value).decode())


def _quoted(value: str) -> str:
    """An element between quotes: a backslash stands before each quote and backslash."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


_encode = msgspec.json.Encoder().encode
