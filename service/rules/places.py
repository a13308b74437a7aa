"""Where each character of a text stands in its file, whatever the style it is written in.

Folding and indenting touch blanks only: apart from blanks, a text's characters stand in the file in
the same order, some of them as escapes. So the two are walked side by side; where they part, which
no known style does, nothing is told rather than a wrong place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Place = tuple[int, int]

_BLANKS = frozenset(" \t\n")
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f",
    "r": "\r", "e": "\x1b", " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0",
    "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_DIGITS = {"x": 2, "u": 4, "U": 8}

_Piece = tuple[str, int, int]


def place_in_scalar(lines: Sequence[str], event: Any, offset: int) -> Place | None:
    """Tell line and column (from 1) of a character of a scalar's text, if it can be known.

    `event` is the parser's; an offset at the text's end is the place behind its last character.
    """
    text: str = event.value
    places: list[Place] = []
    pieces = _pieces(lines, event)
    for character in text[: offset + 1]:
        if character not in _BLANKS:
            piece = next((piece for piece in pieces if piece[0] not in _BLANKS), None)
            if piece is None or piece[0] != character:
                return None
            places.append((piece[1] + 1, piece[2] + 1))
        elif places:
            places.append(_next(lines, places[-1]))
        else:
            return _leading_blank(lines, event, offset)
    if offset < len(places):
        return places[offset]
    return _next(lines, places[-1]) if places else None


def _next(lines: Sequence[str], place: Place) -> Place:
    line, column = place
    return line, min(column + 1, len(lines[line - 1]) + 1)


def _leading_blank(lines: Sequence[str], event: Any, offset: int) -> Place | None:
    """A text that begins with blanks: count from its first other character, or back to it."""
    text: str = event.value
    blanks = len(text) - len(text.lstrip(" \t\n"))
    if blanks == len(text):
        return None
    stripped = _Stripped(event, text[blanks:])
    place = place_in_scalar(lines, stripped, max(offset - blanks, 0))
    if place is None or offset >= blanks:
        return place
    return place[0], max(place[1] - (blanks - offset), 1)


class _Stripped:
    """The same scalar without the blanks that it begins with."""

    def __init__(self, event: Any, value: str) -> None:
        self.value = value
        self.style = event.style
        self.start_mark = event.start_mark
        self.end_mark = event.end_mark


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
        yield from _undone(line[:stop], number, begin, event.style)


def _undone(line: str, number: int, at: int, style: str | None) -> Iterator[_Piece]:
    while at < len(line):
        character, width = line[at], 1
        if style == "'" and line.startswith("''", at):
            width = 2
        elif style == '"' and character == "\\":
            character, width = _escaped(line, at)
        if character:
            yield character, number, at
        at += width


def _escaped(line: str, at: int) -> tuple[str, int]:
    """Read an escape; one at the line's end joins it to the next line and is no character."""
    letter = line[at + 1 : at + 2]
    if letter in _DIGITS:
        digits = line[at + 2 : at + 2 + _DIGITS[letter]]
        return chr(int(digits, 16)), 2 + len(digits)
    return _ESCAPES.get(letter, ""), 2
