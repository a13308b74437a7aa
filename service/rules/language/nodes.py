"""One file as a tree of nodes in which every token knows its place.

Read event by event with limits: no anchors, aliases, tags or second documents, and plain scalars as
YAML 1.2 core has them (`no` is text).
"""

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import yaml
from msgspec import Struct
from msgspec.structs import force_setattr, replace

from service.rules.language.data import data_of
from service.rules.language.places import Place, places_in_scalar
from service.rules.language.problems import LoadError, Problem, Problems, Severity, Step, path_text
from service.rules.language.weight import directives_at

LEVELS_MAX = 20
NODES_MAX = 10_000

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NUMBERS_BEGIN = frozenset("+-.0123456789")
_DIGITS_MAX = 18
_BANG = re.compile(r"[ \t]*(?:- +)*[\w.-]+:[ \t]+!")
_TOO_LARGE, _NO_NUMBER = object(), object()
_SYNTAX = data_of("syntax.yaml", dict[str, str])
_NO_DIRECTIVES = "directives (%) are not allowed"
_QUOTE_BANG = "a text that begins with ! must stand in quotes"
# What YAML refuses, surrogates, the line ends that only YAML knows, and what turns the order of
# characters round, so that a reviewer reads something else than what stands there.
_STRANGE = re.compile(
    "[^\t\n\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)

_NO_ENTRIES: Mapping[str, tuple["Node", "Node"]] = MappingProxyType({})


class Node(Struct, frozen=True, eq=False):
    """A mapping, list or scalar with its place. Scalars keep their text beside their value."""

    # What is faulty was told already: nothing more is said of it.
    kind: Literal["map", "list", "scalar", "faulty"]
    line: int
    column: int
    value: object = None
    text: str = ""
    entries: Mapping[str, tuple["Node", "Node"]] = _NO_ENTRIES
    items: Sequence["Node"] = ()
    # The file's lines and the parser's event, from which the place of each character follows.
    origin: tuple[list[str], Any] | None = None
    known_places: Sequence[Place] = ()

    def find(self, path: tuple[Step, ...]) -> "Node":
        """Follow keys and indexes as far as they go."""
        node = self
        for step in path:
            if isinstance(step, str):
                if step not in node.entries:
                    break
                node = node.entries[step][1]
            else:
                node = node.items[step]
        return node

    def problem(
        self,
        file: str,
        path: tuple[Step, ...],
        message: str,
        severity: Severity = "error",
    ) -> Problem:
        """What is wrong with this value, which stands at this path of the file."""
        return Problem(file, self.line, self.column, path_text(path), message, severity)

    def key(self, name: str) -> "Node":
        """The node of this key itself, for faults of a name."""
        return self.entries[name][0]

    def place(self, offset: int) -> Place:
        """Tell line and column of this character of a scalar's text; else the scalar's start."""
        assert self.origin is not None  # only texts are asked
        if not self.known_places:
            places = places_in_scalar(*self.origin) or [(self.line, self.column)]
            force_setattr(self, "known_places", places)
        known = self.known_places
        return known[offset] if offset < len(known) else (self.line, self.column)


class Reader:
    """Builds the nodes of one file from the parser's events."""

    def __init__(self, name: str, text: str, problems: Problems) -> None:
        """Take a file. Raises LoadError when it holds what is never handed to the parser."""
        self._name = name
        self.text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        self._lines = self.text.split("\n")
        self._problems = problems
        self._nodes = 0
        self._level = 0
        if strange := _STRANGE.search(self.text):
            code = ord(strange.group())
            message = f"character U+{code:04X} is not allowed in a rule file"
            raise self._error(*self._place(strange.start()), message)
        if (directives := directives_at(self.text)) is not None:
            raise self._error(*self._place(directives), _NO_DIRECTIVES)

    def _place(self, offset: int) -> Place:
        line = self.text.count("\n", 0, offset) + 1
        return line, offset - self.text.rfind("\n", 0, offset)

    def _error(self, line: int, column: int, message: str) -> LoadError:
        return LoadError(Problem(self._name, line, column, "", message))

    def document(self) -> Node:
        """Read the file's one document. Raises LoadError."""
        try:
            self._next = yaml.CSafeLoader(self.text).get_event
            return self._document()
        except yaml.MarkedYAMLError as error:
            raise self._syntax_error(error) from None

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> LoadError:
        """Say what the parser says, or what an operator most likely did."""
        mark, began = error.problem_mark, error.context_mark
        assert mark is not None  # the parser always knows where it stands
        source = self._lines[mark.line] if mark.line < len(self._lines) else ""
        character = source[mark.column : mark.column + 1]
        if bang := _BANG.match(source):
            return self._error(mark.line + 1, bang.end(), _QUOTE_BANG)
        problem = str(error.problem)
        if "unexpected end of stream" in problem and began is not None:
            return self._error(began.line + 1, began.column + 1, "this quote is never closed")
        if character == "\t":
            message = "a tab cannot indent; use spaces"
        elif "cannot start any token" in problem:
            message = f"a value cannot begin with {character}; put it in quotes"
        else:
            message = next((said for seen, said in _SYNTAX.items() if seen in problem), "")
        if not message:
            parts = [part for part in (problem, error.context) if part]
            message = f"not valid YAML: {', '.join(parts)}"
        if began is not None and (began.line, began.column) != (mark.line, mark.column):
            message += f"; see line {began.line + 1}, column {began.column + 1}"
        if mark.line >= len(self._lines):
            return self._error(len(self._lines), len(self._lines[-1]) + 1, message)
        return self._error(mark.line + 1, mark.column + 1, message)

    def _document(self) -> Node:
        root: Node | None = None
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    message = "a file holds one document; nothing may follow ---"
                    raise self._error(*_start(event), message)
                if event.version or event.tags:
                    raise self._error(*_start(event), _NO_DIRECTIVES)
                root = self._node(self._next())
        if root is None or (root.kind == "scalar" and root.value is None):
            raise self._error(1, 1, "this file is empty")
        return root

    def _faulty(self, event: Any, message: str) -> Node:
        """Note what is wrong with one value, and go on: the rest of the file is told too."""
        self._note(event, message)
        return Node("faulty", *_start(event))

    def _note(self, event: Any, message: str) -> None:
        self._problems.append(Problem(self._name, *_start(event), "", message))

    def _node(self, event: Any) -> Node:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise self._error(*_start(event), f"a file has at most {NODES_MAX:,} values")
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self._faulty(
                event, f"aliases (*{str(event.anchor)[:60]}) are not allowed; write the value out"
            )
        if event.anchor is not None:
            self._note(event, f"anchors (&{event.anchor[:60]}) are not allowed")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            self._note(event, f"tags ({tag}) are not allowed; {_QUOTE_BANG}")
        if kind is yaml.ScalarEvent:
            return self._scalar(event)
        self._level += 1
        if self._level > LEVELS_MAX:
            raise self._error(*_start(event), f"values are nested at most {LEVELS_MAX} levels deep")
        if kind is yaml.MappingStartEvent:
            node = Node("map", *_start(event), entries=self._entries())
        else:
            items = []
            while type(inner := self._next()) is not yaml.SequenceEndEvent:
                items.append(self._node(inner))
            node = Node("list", *_start(event), items=items)
        self._level -= 1
        return node if event.tag is None else Node("faulty", *_start(event))

    def _entries(self) -> dict[str, tuple[Node, Node]]:
        entries: dict[str, tuple[Node, Node]] = {}
        while type(event := self._next()) is not yaml.MappingEndEvent:
            key = self._node(event)
            value = self._node(self._next())
            if key.kind == "scalar" and key.text not in entries:
                entries[key.text] = (key, value)
            elif key.kind == "scalar":
                first, held = entries[key.text]
                message = f"{key.text} stands here twice; it was given first in line {first.line}"
                self._note(event, message)
                if self._level == 1:
                    # A section that was pasted in again: what stands in it is checked all the same.
                    entries[key.text] = first, _joined(held, value)
            elif key.kind != "faulty":
                self._note(event, "a key must be a plain name")
        return entries

    def _scalar(self, event: Any) -> Node:
        text: str = event.value
        if "\0" in text:
            return self._faulty(event, "a text cannot hold a NUL character")
        if event.tag is not None:
            return Node("faulty", *_start(event))
        value: object = text
        if not event.style and event.implicit[0]:
            value = _resolved(text)
            if value is _TOO_LARGE:
                return self._faulty(event, "this number is too large")
            if value is _NO_NUMBER:
                message = f"{text} is no finite number; a text like that must stand in quotes"
                return self._faulty(event, message)
        return Node("scalar", *_start(event), value, text, origin=(self._lines, event))


def _start(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _joined(first: Node, second: Node) -> Node:
    if {first.kind, second.kind} not in ({"map"}, {"list"}):
        return first
    return replace(
        first,
        entries={**second.entries, **first.entries},
        items=[*first.items, *second.items],
    )


def _resolved(text: str) -> object:
    """The value of a plain scalar as YAML 1.2 core has it."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBERS_BEGIN:
        return text
    if _INTEGER.fullmatch(text):
        if len(text) > _DIGITS_MAX:
            return _TOO_LARGE
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _NOT_FINITE.fullmatch(text):
        return _NO_NUMBER
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else _TOO_LARGE
    return text
