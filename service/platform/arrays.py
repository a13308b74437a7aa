"""Columns of rows as PostgreSQL's array literals, to be cast in SQL: `$1::text::uuid[]`.

A batch is sent as one parameter a column. The driver builds arrays of numbers, ids and times
element by element, which cost as much as all else that the main job does in Python; a literal costs
a tenth to two thirds of it (`benchmarks/arrays.py`). A list of JSON but for its brackets is one:
PostgreSQL reads null as NULL and quotes and backslashes alike. Texts and bytes the driver sends as
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


def scalars(values: Sequence[int | date | None]) -> str:
    """smallint[], integer[], bigint[], boolean[] or date[]; an IntEnum is its number."""
    return "{" + _encode(values)[1:-1].decode() + "}"


def uuids(values: Iterable[UUID | None]) -> str:
    """uuid[]. The driver's ids are no plain ones, which JSON would take longer to tell."""
    return "{" + ",".join([_NULL if value is None else str(value) for value in values]) + "}"


def times(values: Iterable[datetime | None]) -> str:
    """timestamptz[]; most rows of a batch share their times, so their texts are remembered."""
    return "{" + ",".join([_NULL if value is None else _time(value) for value in values]) + "}"


def documents(values: Iterable[Any]) -> str:
    """jsonb[]; None is SQL's null."""
    texts = [None if value is None else _encode(value).decode() for value in values]
    return "{" + _encode(texts)[1:-1].decode() + "}"


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


_FORMS: dict[str, Callable[[Sequence[Any]], str]] = dict.fromkeys(
    ("smallint", "integer", "bigint", "boolean", "date"), scalars
) | {"uuid": uuids, "timestamptz": times, "jsonb": documents}


@lru_cache(maxsize=1024)
def _time(value: datetime) -> str:
    # PostgreSQL reads no offset of 16 hours or more, which RFC 3339 allows.
    return f'"{value.astimezone(UTC).isoformat()}"'


_encode = msgspec.json.Encoder().encode
