"""Plain arithmetic, comparisons and choices, computed without the engine: in a tenth of its time.

What is written with anything else is left to the engine, and so is whatever fails here (a value
that is missing, a division by zero): what is computed here is what the engine would compute.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from service.rules.cel.tree import Node, ValueType

Compute = Callable[[Mapping[str, Any]], Any]

FAILURES = (ArithmeticError, LookupError, TypeError, ValueError)
"""What a computation raises that the engine has to do again."""


def _finite(value: float) -> float:
    """Fail as floor does: NaN is neither less nor more, so `min(100, NaN)` would be 100."""
    if not math.isfinite(value):
        raise ValueError(value)
    return value


FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "min": lambda *values: min(map(_finite, values)),
    "max": lambda *values: max(map(_finite, values)),
    "floor": lambda value: float(math.floor(value)),
    "ceil": lambda value: float(math.ceil(value)),
    # Half to even, as grams are rounded.
    "round": lambda value: float(round(value)),
}

_CALLS: Mapping[str, Callable[..., Compute]] = {
    "add_double": lambda a, b: lambda values: a(values) + b(values),
    "subtract_double": lambda a, b: lambda values: a(values) - b(values),
    "multiply_double": lambda a, b: lambda values: a(values) * b(values),
    "divide_double": lambda a, b: lambda values: a(values) / b(values),
    "negate_double": lambda a: lambda values: -a(values),
    "less_double": lambda a, b: lambda values: a(values) < b(values),
    "less_equals_double": lambda a, b: lambda values: a(values) <= b(values),
    "greater_double": lambda a, b: lambda values: a(values) > b(values),
    "greater_equals_double": lambda a, b: lambda values: a(values) >= b(values),
    "equals": lambda a, b: lambda values: a(values) == b(values),
    "not_equals": lambda a, b: lambda values: a(values) != b(values),
    "in_list": lambda a, b: lambda values: a(values) in b(values),
    "logical_and": lambda a, b: lambda values: a(values) and b(values),
    "logical_or": lambda a, b: lambda values: a(values) or b(values),
    "logical_not": lambda a: lambda values: not a(values),
    "conditional": lambda a, b, c: lambda values: b(values) if a(values) else c(values),
}


def plain(node: Node, types: Mapping[str, ValueType]) -> Compute | None:
    """How to compute a checked tree of values by name; None for what only the engine can."""
    if node.kind == "constant":
        value = node.value
        return None if value is None else lambda _: value
    if node.kind == "name":
        return _value(str(node.value), types.get(str(node.value), "any"))
    parts = [plain(child, types) for child in node.nodes]
    if not all(parts):
        return None
    if node.kind == "list":
        return lambda values: [part(values) for part in parts if part]
    if node.operator in FUNCTIONS:
        function = FUNCTIONS[node.operator]
        return lambda values: function(*[part(values) for part in parts if part])
    call = _CALLS.get(node.overload)
    return call and call(*parts)


def _value(name: str, kind: ValueType) -> Compute | None:
    if kind == "number":
        return lambda values: values[name] * 1.0  # whole numbers are doubles to the engine, too
    return None if kind == "any" else lambda values: values[name]
