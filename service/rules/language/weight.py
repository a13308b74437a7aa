"""How much is in a rule file, told before anything is made of it.

Making nodes costs microseconds each, and two mebibytes hold a million. The parser counts its events
in C, a tenth of a microsecond each, but takes a time that is quadratic in how deep brackets stand
in each other, and in the directives that follow one another: what has these is never handed to it.
"""

import re
from itertools import accumulate

import yaml

_DEPTH_MAX = 40
_DEEP_WEIGHT_MAX = 20_000
_DIRECTIVES_MAX = 20
_OTHERS = re.compile(r"[^\[\]{}]+")
_STEPS = {ord(opened): 1 for opened in "[{"} | {ord(closed): -1 for closed in "]}"}


def directives_at(text: str) -> int | None:
    """Tell where the directives of a file begin that has too many of them, as no file needs any."""
    if text.startswith("%") + text.count("\n%") <= _DIRECTIVES_MAX:
        return None
    return 0 if text.startswith("%") else text.index("\n%") + 1


def weight_of(text: str) -> int:
    """Count the values of a file, lists and mappings twice: where they begin and where they end.

    What is no YAML is weighed by its lines, commas and brackets, up to the fault; what is nested
    too deeply too, but not as more than is made of it until that is found.
    """
    steps = map(_STEPS.__getitem__, _OTHERS.sub("", text).encode())
    if next(filter(_DEPTH_MAX.__lt__, accumulate(steps)), 0):
        return min(_roughly(text), _DEEP_WEIGHT_MAX)
    try:
        return int(yaml.CSafeLoader(text).raw_parse())
    except yaml.MarkedYAMLError as error:
        return _roughly(text[: error.problem_mark.index] if error.problem_mark else text)


def _roughly(text: str) -> int:
    return sum(map(text.count, "\n,[{"))
