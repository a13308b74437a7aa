"""An object of JSON that names a member twice: one of both would be lost on the way."""

import json
from collections import Counter
from typing import Any


class _TwiceError(Exception):
    """The message is the name."""


def twice_in(text: bytes) -> str:
    """The name that an object of this JSON has twice, or nothing.

    Raises UnicodeDecodeError and RecursionError, also for what msgspec takes as it stands.
    """
    try:
        json.loads(text, object_pairs_hook=_once, parse_int=float)
    except _TwiceError as error:
        return str(error)
    return ""


def _once(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise _TwiceError(next(name for name, number in Counter(names).items() if number > 1))
