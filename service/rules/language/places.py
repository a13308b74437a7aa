"""Where each character of a text stands in its file, whatever the style it is written in.

Folding and indenting touch blanks only: apart from blanks, a text's characters stand in the file in
the same order, some of them as escapes. So the two are walked side by side; where they part, which
no known style does, nothing is told rather than a wrong place.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

Place = tuple[int, int]

# No expression is as long; of what is longer only the beginning is told.
_KNOWN_MAX = 4_000
_BLANKS = frozenset(" \t\n")
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f",
    "r": "\r", "e": "\x1b", " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0",
    "L": "\u2028", "P": "\u2029",
}  # fmt: skip
# What a character is written as; an escape of the line's end joins it to the next and is none.
_WRITTEN = {
    "'": re.compile("''|."),
    '"': re.compile(r"\\x..|\\u.{4}|\\U.{8}|\\.?|."),
}
_AS_IT_IS = re.compile(".")

_Piece = tuple[str, int, int]


def places_in_scalar(lines: Sequence[str], event: Any) -> list[Place]:
    """Tell line and column (from 1) of each character of a scalar's text, as far as they are known.

    `event` is the parser's. The last place is the one behind the last character.
    """
    text: str = event.value[:_KNOWN_MAX]
    start, quoted = event.start_mark, event.style in {"'", '"'}
    column = start.column + quoted
    if text and lines[start.line].startswith(text, column) and event.style not in {"|", ">"}:
        # Most stand in one line just as they are.
        return [(start.line + 1, column + count) for count in range(1, len(text) + 2)]
    places: list[Place] = []
    pieces = _pieces(lines, event)
    blanks = len(text) - len(text.lstrip(" \t\n"))
    for character in text[blanks:]:
        if character in _BLANKS:
            places.append(_next(lines, places[-1]))
            continue
        piece = next((piece for piece in pieces if piece[0] not in _BLANKS), None)
        if piece is None or piece[0] != character:
            return []
        places.append((piece[1] + 1, piece[2] + 1))
    if not places:
        return []
    # A text that begins with blanks: they stand before its first other character.
    line, column = places[0]
    before = [(line, max(column - count, 1)) for count in range(blanks, 0, -1)]
    return [*before, *places, _next(lines, places[-1])]


def _next(lines: Sequence[str], place: Place) -> Place:
    line, column = place
    return line, min(column + 1, len(lines[line - 1]) + 1)


def _pieces(lines: Sequence[str], event: Any) -> Iterator[_Piece]:
    """List what stands between a scalar's first and last character, with quotes undone."""
    start, end = event.start_mark, event.end_mark
    # A block's text begins in the line below its | or >.
    first, column = (start.line + 1, 0) if event.style in {"|", ">"} else (start.line, start.column)
    if event.style in {"'", '"'}:
        column += 1
    for number in range(first, min(end.line + 1, len(lines))):
        line = lines[number]
        stop = end.column if number == end.line else len(line)
        begin = column if number == first else 0
        for written in _WRITTEN.get(event.style, _AS_IT_IS).finditer(line, begin, stop):
            if character := _undone(written[0], event.style):
                yield character, number, written.start()


def _undone(written: str, style: str | None) -> str:
    """The character that stands there, without the quotes' escapes."""
    if style != '"' or written[0] != "\\":
        return written[0]
    if len(written) > 2:
        return written.encode().decode("unicode_escape")
    return _ESCAPES.get(written[1:], "")
