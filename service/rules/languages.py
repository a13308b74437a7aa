"""Titles and hints in the reader's language, as the header Accept-Language asks for it."""

from __future__ import annotations

import re
from functools import lru_cache

from service.rules.rulebook import Text

_LANGUAGES_MAX = 10
_HEADER_MAX = 500
_WANTED = re.compile(
    r"[ \t]*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)"
    r"[ \t]*(?:;[ \t]*[qQ][ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)


@lru_cache(maxsize=1024)
def preferred_languages(accept_language: str) -> tuple[str, ...]:
    """Read an Accept-Language header: tags, the most wanted first; what cannot be read is left."""
    wanted = []
    for part in accept_language[:_HEADER_MAX].split(",")[:_LANGUAGES_MAX]:
        match = _WANTED.fullmatch(part)
        weight = float(match[2] or 1) if match else 0.0
        if match and weight > 0:
            wanted.append((-weight, match[1]))
    wanted.sort(key=lambda entry: entry[0])
    return tuple(tag for _, tag in wanted)


class Reader:
    """Somebody who reads titles and hints: chooses their language, and remembers which came."""

    __slots__ = ("_came", "_languages")

    def __init__(self, languages: tuple[str, ...] = ()) -> None:
        """Languages in order of preference; none is the programme's."""
        self._languages = languages
        self._came: dict[str, None] = {}

    def say(self, text: Text) -> str:
        """The text in the most wanted language that it has, else in its own."""
        tag, said = text.spoken(self._languages)
        self._came[tag] = None
        return said

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What an answer with these texts tells of its language."""
        vary = (b"vary", b"Accept-Language")
        if not self._came:
            return [vary]
        return [(b"content-language", ", ".join(self._came).encode()), vary]
