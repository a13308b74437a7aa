"""Arithmetic of intervals: what numbers can come to that are known by their bounds only.

A bound is never narrower than the truth.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from operator import add, mul, sub, truediv
from typing import NamedTuple

MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class Range(NamedTuple):
    """All numbers from low to high; whole numbers only, if so."""

    low: float
    high: float
    is_whole: bool = False

    def holds(self, value: float) -> bool:
        """Whether this number is among them."""
        return self.low <= value <= self.high and (not self.is_whole or float(value).is_integer())


EVERY = Range(-math.inf, math.inf)


def hull(one: Range, other: Range) -> Range:
    """All that lies in either, and between them."""
    return Range(
        min(one.low, other.low), max(one.high, other.high), one.is_whole and other.is_whole
    )


def decided(operator: str, left: Range, right: Range) -> bool | None:
    """Whether a comparison comes out one way whatever the numbers are."""
    if operator in {">", ">="}:
        return decided(MIRRORED[operator], right, left)
    if operator == "<":
        return True if left.high < right.low else False if left.low >= right.high else None
    if operator == "<=":
        return True if left.high <= right.low else False if left.low > right.high else None
    is_apart = left.high < right.low or right.high < left.low
    is_off_left = right.low == right.high and not left.holds(right.low)
    is_off_right = left.low == left.high and not right.holds(left.low)
    is_same: bool | None = None
    if is_apart or is_off_left or is_off_right:
        is_same = False
    elif left.low == left.high == right.low == right.high:
        is_same = True
    return is_same if operator == "==" or is_same is None else not is_same


def narrowed(operator: str, known: Range, value: float) -> tuple[Range, Range]:
    """What a number lies between if its comparison with a constant is true, and if it is false."""
    if operator in {">=", ">"}:
        lower, upper = narrowed("<" if operator == ">=" else "<=", known, value)
        return upper, lower
    if operator == "==":
        return Range(value, value, known.is_whole), known
    if operator == "!=":
        return known, Range(value, value, known.is_whole)
    below, above = value, value
    if operator == "<":
        below = math.ceil(value) - 1.0 if known.is_whole else math.nextafter(value, -math.inf)
    else:
        above = math.floor(value) + 1.0 if known.is_whole else math.nextafter(value, math.inf)
    return (
        Range(known.low, min(known.high, below), known.is_whole),
        Range(max(known.low, above), known.high, known.is_whole),
    )


def _corners(compute: Callable[[float, float], float], ranges: list[Range]) -> Range:
    """Bound what grows or falls steadily in both of its numbers: by its corners."""
    (low, high, _), (low2, high2, _) = ranges
    values = [compute(one, other) for one in (low, high) for other in (low2, high2)]
    if any(math.isnan(value) for value in values):
        return EVERY
    return Range(min(values), max(values))


def _difference(ranges: list[Range]) -> Range:
    if len(ranges) == 1:
        return Range(-ranges[0].high, -ranges[0].low, ranges[0].is_whole)
    return _corners(sub, ranges)


def _quotient(ranges: list[Range]) -> Range:
    return EVERY if ranges[1].low <= 0 <= ranges[1].high else _corners(truediv, ranges)


def _extreme(choose: Callable[[list[float]], float], ranges: list[Range]) -> Range:
    return Range(choose([own.low for own in ranges]), choose([own.high for own in ranges]))


def _whole(compute: Callable[[float], float], ranges: list[Range]) -> Range:
    low, high = (value if math.isinf(value) else float(compute(value)) for value in ranges[0][:2])
    return Range(low, high, is_whole=True)


ARITHMETIC: Mapping[str, Callable[[list[Range]], Range]] = {
    "+": partial(_corners, add),
    "-": _difference,
    "*": partial(_corners, mul),
    "/": _quotient,
    "min": partial(_extreme, min),
    "max": partial(_extreme, max),
    "floor": partial(_whole, math.floor),
    "ceil": partial(_whole, math.ceil),
    "round": partial(_whole, round),
}
