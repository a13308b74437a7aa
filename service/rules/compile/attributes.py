"""Attributes of action types: bounds and texts that make sense, and the check of their values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from service.rules.cel.expression import regex_fault
from service.rules.cel.text import CONTEXT_NAMES, RESERVED_NAMES
from service.rules.decide.attributes import (
    NUMBER_MAX,
    TEXT_LENGTH,
    WHOLE_MAX,
    Check,
    boolean_check,
    choice_check,
    integer_check,
    number_check,
    text_check,
)
from service.rules.decide.rulebook import Attribute
from service.rules.language import schema
from service.rules.language.problems import Step
from service.rules.language.shape import FAULTY, Source

_FOR_NUMBERS = ("minimum", "maximum")
_FOR_TEXTS = ("max_length", "pattern", "one_of")


def compile_attribute(
    source: Source,
    path: tuple[Step, ...],
    name: str,
    shape: schema.Attribute,
    *,
    identifies: bool,
) -> Attribute | None:
    """Compile one attribute, which may be part of a claim; None when it is faulty."""
    before = len(source.problems)
    if name in RESERVED_NAMES:
        why = "a name of the rules" if name in CONTEXT_NAMES else "a word of the expressions"
        source.fault(path, f"{name} is {why}; choose another name", at_key=True)
    _check_keys(source, path, shape)
    minimum, maximum, pattern = shape.minimum, shape.maximum, shape.pattern
    if shape.type in {"number", "integer"}:
        _check_bounds(source, path, shape.type, minimum, maximum)
    one_of = shape.one_of or ()
    _check_texts(source, path, one_of, pattern)
    has_errors = any(problem.severity == "error" for problem in source.problems[before:])
    if has_errors or any(member is FAULTY for member in one_of):
        return None
    max_length = shape.max_length or TEXT_LENGTH
    return Attribute(
        name=name,
        type=shape.type,
        required=shape.required,
        unit=shape.unit or "",
        minimum=minimum,
        maximum=maximum,
        max_length=max_length if shape.type == "string" and not one_of else None,
        pattern=pattern,
        one_of=one_of,
        check=text_check(max_length, pattern, identifies=identifies)
        if shape.type == "string" and not one_of
        else _check(shape.type, minimum, maximum, one_of),
    )


def _check_bounds(
    source: Source,
    path: tuple[Step, ...],
    kind: str,
    minimum: float | None,
    maximum: float | None,
) -> None:
    """Find bounds that no number can meet."""
    low = -math.inf if minimum is None else minimum
    high = math.inf if maximum is None else maximum
    most = WHOLE_MAX if kind == "integer" else NUMBER_MAX
    if low > high:
        source.fault((*path, "minimum"), f"minimum {low:g} lies above maximum {high:g}")
    elif low > most or high < -most:
        key = "minimum" if low > most else "maximum"
        source.fault((*path, key), f"{key} lies beyond {most:g}, and no value may")
    elif kind == "integer" and math.ceil(max(low, -most)) > math.floor(min(high, most)):
        source.fault((*path, "minimum"), f"no whole number lies between {low:g} and {high:g}")


def _check(
    kind: str, minimum: float | None, maximum: float | None, one_of: tuple[str, ...]
) -> Check:
    low = -math.inf if minimum is None else minimum
    high = math.inf if maximum is None else maximum
    if kind == "number":
        return number_check(low, high)
    if kind == "integer":
        return integer_check(low, high)
    return boolean_check if kind == "boolean" else choice_check(one_of)


def _check_keys(source: Source, path: tuple[Step, ...], shape: schema.Attribute) -> None:
    """Find keys that do not go with the type, or with each other."""
    for keys, types, told in (
        (_FOR_TEXTS, ("string",), "strings"),
        (_FOR_NUMBERS, ("number", "integer"), "numbers and integers"),
    ):
        for key in keys if shape.type not in types else ():
            if getattr(shape, key) is not None:
                message = f"{key} is for {told}, not for {shape.type}"
                source.fault((*path, key), message, at_key=True)


def _check_texts(
    source: Source, path: tuple[Step, ...], one_of: Sequence[str], pattern: str | None
) -> None:
    """Find patterns that are none, and texts that stand twice or change nothing."""
    if pattern is not None and (fault := regex_fault(pattern)):
        source.fault((*path, "pattern"), f"the pattern is not valid: {fault}")
    source.once((*path, "one_of"), one_of)
    given = source.root.find(path).entries
    for key in ("max_length", "pattern"):
        if one_of and key in given:
            source.warn((*path, key), f"{key} changes nothing beside one_of", at_key=True)
