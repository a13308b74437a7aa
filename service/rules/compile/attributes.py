"""Attributes of action types: bounds and texts that make sense, and the check of their values."""

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
from service.rules.language.shape import FAULTY, Source

_KEYS_OF_TYPES = (
    (("max_length", "pattern", "one_of"), ("string",), "strings"),
    (("minimum", "maximum"), ("number", "integer"), "numbers and integers"),
)


def compile_attribute(
    source: Source, shape: schema.Attribute, *, identifies: bool
) -> Attribute | None:
    """Compile one attribute, which may be part of a claim; None when it is faulty."""
    name, before = str(source.path[-1]), len(source.problems)
    if name in RESERVED_NAMES:
        why = "a name of the rules" if name in CONTEXT_NAMES else "a word of the expressions"
        source.fault(f"{name} is {why}; choose another name", at_key=True)
    _check_keys(source, shape)
    low = -math.inf if shape.minimum is None else shape.minimum
    high = math.inf if shape.maximum is None else shape.maximum
    if shape.type in {"number", "integer"}:
        _check_bounds(source, shape.type, low, high)
    one_of = shape.one_of or ()
    _check_texts(source, one_of, shape.pattern)
    has_errors = any(problem.severity == "error" for problem in source.problems[before:])
    if has_errors or any(member is FAULTY for member in one_of):
        return None
    is_free = shape.type == "string" and not one_of
    max_length = shape.max_length or TEXT_LENGTH
    check: Check = boolean_check
    if is_free:
        check = text_check(max_length, shape.pattern, identifies=identifies)
    elif shape.type != "boolean":
        makers = {"number": number_check, "integer": integer_check}
        check = makers[shape.type](low, high) if shape.type in makers else choice_check(one_of)
    return Attribute(
        name=name,
        type=shape.type,
        required=shape.required,
        unit=shape.unit or "",
        minimum=shape.minimum,
        maximum=shape.maximum,
        max_length=max_length if is_free else None,
        pattern=shape.pattern,
        one_of=one_of,
        check=check,
    )


def _check_bounds(source: Source, kind: str, low: float, high: float) -> None:
    """Find bounds that no number can meet."""
    most = WHOLE_MAX if kind == "integer" else NUMBER_MAX
    if low > high:
        source.at("minimum").fault(f"minimum {low:g} lies above maximum {high:g}")
    elif low > most or high < -most:
        key = "minimum" if low > most else "maximum"
        source.at(key).fault(f"{key} lies beyond {most:g}, and no value may")
    elif kind == "integer" and math.ceil(max(low, -most)) > math.floor(min(high, most)):
        source.at("minimum").fault(f"no whole number lies between {low:g} and {high:g}")
    for key, bound in (("minimum", -low), ("maximum", high)):
        if most < bound < math.inf:
            source.at(key).warn(f"{key} lies beyond {most:.16g}, by which reports are judged")


def _check_keys(source: Source, shape: schema.Attribute) -> None:
    """Find keys that do not go with the type."""
    for keys, types, told in _KEYS_OF_TYPES:
        for key in keys if shape.type not in types else ():
            if getattr(shape, key) is not None:
                source.at(key).fault(f"{key} is for {told}, not for {shape.type}", at_key=True)


def _check_texts(source: Source, one_of: Sequence[str], pattern: str | None) -> None:
    """Find patterns that are none, and texts that stand twice or change nothing."""
    if pattern is not None and (fault := regex_fault(pattern)):
        source.at("pattern").fault(f"the pattern is not valid: {fault}")
    source.at("one_of").once(one_of)
    given = source.node.entries
    for key in ("max_length", "pattern"):
        if one_of and key in given:
            source.at(key).warn(f"{key} changes nothing beside one_of", at_key=True)
