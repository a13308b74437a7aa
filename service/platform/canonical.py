"""One text for what is digested: what the database gives back is what was digested.

Times are in UTC, numbers as jsonb keeps them (no signed zero, no exponent of large ones), texts to
the letter: NFC and NFD stay what they are. Whoever digests anything that stands in a table does so
over `canonical`, at writing and at reading alike.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

FORM = b"\x02"
"""Begins what is digested since all digests are of this form; earlier ones began otherwise."""

encoded = msgspec.json.Encoder(order="sorted").encode
"""The same bytes of what is `as_stored`."""

# From here on numbers are written with an exponent, and come back as the whole number it names.
_LARGE = 1e16


def canonical(value: Any) -> bytes:
    """The bytes to digest of plain values, lists and dicts of them."""
    return encoded(as_stored(value))


def as_stored(value: Any) -> Any:
    """The value as it comes back from the database."""
    to = _find(type(value))
    return value if to is None else to(value)


def _number(value: float) -> float | int:
    if value == 0:
        return 0.0
    return int(Decimal(repr(value))) if abs(value) >= _LARGE else value


def _time(value: datetime) -> datetime:
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def _members(values: list[Any] | tuple[Any, ...]) -> list[Any]:
    return [v if (to := _find(type(v))) is None else to(v) for v in values]


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    return {n: v if (to := _find(type(v))) is None else to(v) for n, v in values.items()}


_CONVERT: Mapping[type, Callable[[Any], Any]] = {
    datetime: _time,
    float: _number,
    list: _members,
    tuple: _members,
    dict: _fields,
}
_find = _CONVERT.get
