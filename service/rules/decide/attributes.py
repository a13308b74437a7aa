"""Tests of the values that actions carry. Each tells in words what is allowed, or None."""

from collections.abc import Callable

from service.rules.cel.expression import whole_match
from service.rules.cel.text import did_you_mean
from service.rules.decide.normal_form import tidied
from service.rules.told import Told

Check = Callable[[object], str | None]

# Beyond these a double no longer tells neighbours apart, so that sums and claims would lie.
WHOLE_MAX = 2**53 - 1
NUMBER_MAX = 1e15
TEXT_LENGTH = 200


def number_check(minimum: float, maximum: float) -> Check:
    """Numbers within bounds; true and false are no numbers, NaN and infinities neither."""
    low, high = max(minimum, -NUMBER_MAX), min(maximum, NUMBER_MAX)
    allowed = Told("must be a number from {low:.15g} to {high:.15g}", low=low, high=high)

    def check(value: object) -> str | None:
        kind = type(value)
        if (kind is float or kind is int) and low <= value <= high:  # type: ignore[operator]
            return None
        return allowed

    return check


def integer_check(minimum: float, maximum: float) -> Check:
    """Whole numbers within bounds; 8000.0 is one, true is none."""
    low, high = max(minimum, -WHOLE_MAX), min(maximum, WHOLE_MAX)
    allowed = Told("must be a whole number from {low:.16g} to {high:.16g}", low=low, high=high)

    def check(value: object) -> str | None:
        kind = type(value)
        if kind is int or (kind is float and value.is_integer()):  # type: ignore[attr-defined]
            return None if low <= value <= high else allowed  # type: ignore[operator]
        return allowed

    return check


def boolean_check(value: object) -> str | None:
    """Only true and false."""
    return None if value is True or value is False else "must be true or false"


def choice_check(one_of: tuple[str, ...]) -> Check:
    """One of some texts."""
    allowed = Told("must be one of {allowed}", allowed=", ".join(one_of))
    texts = frozenset(one_of)

    def check(value: object) -> str | None:
        if isinstance(value, str):
            hint = did_you_mean(value, one_of)
            return None if value in texts else Told("{fault}{hint}", fault=allowed, hint=hint)
        return allowed

    return check


def text_check(max_length: int, pattern: str | None, *, identifies: bool = False) -> Check:
    """A text that is neither empty nor too long, fits the pattern as a whole, and can be stored.

    What `identifies` is asked as it will be compared but for its case: a space at its end, which a
    scanner may add, names nothing else.
    """
    matches = whole_match(pattern) if pattern is not None else None

    def check(value: object) -> str | None:
        if not isinstance(value, str):
            return "must be a text"
        if not value:
            return "must not be empty"
        if len(value) > max_length:
            return Told("must have at most {most} characters", most=max_length)
        if "\0" in value:
            return "must not hold a NUL character"
        if not value.isascii() and not _is_unicode(value):
            return "must be valid Unicode"
        if matches is not None and not matches(tidied(value) if identifies else value):
            return Told("must fit the pattern {pattern}", pattern=pattern)
        return None

    return check


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
