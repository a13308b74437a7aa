"""How values of rule files are shown to operators, and what in a change deserves a second look."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import msgspec
from msgspec import Struct

from service.rules.compile.texts import duration
from service.rules.language import schema

_SHOWN_MAX = 160
_DURATION = re.compile(r"[0-9]{1,9}(s|min|h|d)")
# Lists in which the order says nothing.
_SETS = frozenset(("reported_by", "one_of", "regions", "rules", "categories"))
_LARGE = 5.0
_SLIPS = {
    1.609344: "a kilometre or a mile?",
    0.45359237: "a pound or a kilogram?",
    3.6: "a kilowatt-hour or a megajoule?",
    0.90718474: "a short ton or a tonne?",
}
_CLOSE = 0.005


def leaves(
    struct: Struct, *, but: frozenset[str] = frozenset(), prefix: str = ""
) -> dict[str, Any]:
    """Every value that is set in a section or has a default, by the words of its keys."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if value is None or field.encode_name in but:
            continue
        name = prefix + field.encode_name
        if isinstance(value, Struct) and not isinstance(value, schema.Claim):
            found |= leaves(value, prefix=f"{name} ")
        else:
            found[name] = value
    return found


def same(name: str, before: object, after: object) -> bool:
    """Whether two values of this key mean the same, however they are written."""
    if isinstance(before, tuple) and isinstance(after, tuple) and name in _SETS:
        return set(before) == set(after)
    if _is_duration(before) and _is_duration(after):
        return duration(before) == duration(after)
    return before == after


def _is_duration(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _DURATION.fullmatch(value) is not None


def shown(value: object) -> str:
    """A value as an operator writes it, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # Without a point that says nothing.
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(shown(item) for item in value)}]"
    if isinstance(value, dict):
        return ", ".join(f"{key} {item!r}" for key, item in sorted(value.items()))
    if isinstance(value, Struct):
        return described(leaves(value))
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."


def described(values: Mapping[str, object]) -> str:
    """Several values in one line."""
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def limit_text(limit: schema.Limit) -> str:
    """A limit as awards name it, with what its counter is shared by."""
    amount = f"{limit.grams} g" if limit.count is None else f"{limit.count}"
    text = f"{amount} per {limit.per}"
    if limit.group is not None:
        text += f" in the group {limit.group}"
    return text if limit.by is None else f"{text} by {limit.by}"


def limit_identity(limit: schema.Limit) -> tuple[object, ...]:
    """What makes a limit the same one, whatever it allows."""
    return (limit.per, limit.count is None, limit.group, limit.by)


def limit_amount(limit: schema.Limit) -> int:
    """How much it allows, a count or grams."""
    amount = limit.grams if limit.count is None else limit.count
    assert amount is not None  # the checker asks for one of them
    return amount


def jump(before: float, after: float) -> str | None:
    """What is suspicious about two amounts: one a multiple of the other, or a known ratio."""
    if before <= 0 or after <= 0:
        return None
    ratio = after / before
    told = f"{float(f'{ratio:.3g}'):g} times as much"
    for known, question in _SLIPS.items():
        if min(abs(ratio / known - 1), abs(ratio * known - 1)) < _CLOSE:
            return f"{told}: {question}"
    return None if 1 / _LARGE < ratio < _LARGE else f"{told}: a slipped unit?"


def fields_of(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """The values that differ: key, before and after, of which one may be missing (None)."""
    for name, old, new in pairs(before, after):
        if not same(name.rpartition(" ")[2], old, new):
            yield name, old, new


def pairs(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """What is not equal on both sides, with None for what one side does not have."""
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key), after.get(key)
        if old != new:
            yield key, old, new
