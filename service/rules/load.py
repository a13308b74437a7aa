"""Rule files as trees of nodes in which every token knows its place.

Files are read event by event with limits, so that no file can cost more than its size: no anchors,
aliases, tags or second documents, and plain scalars as YAML 1.2 core has them (`no` is text).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import yaml

FILE_BYTES_MAX = 256 * 1024
FILES_MAX = 64
FILES_BYTES_MAX = 2 * 1024 * 1024
LEVELS_MAX = 20
NODES_MAX = 10_000

Place = tuple[int, int]
Step = str | int

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DIGITS_MAX = 18
_BANG = re.compile(r"[ \t]*(?:- +)*[\w.-]+:[ \t]+!")
_QUOTE_BANG = "a text that begins with ! must stand in quotes"
# What YAML refuses, surrogates, and the line ends that only YAML knows.
_STRANGE = re.compile(
    "[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


class Problem(NamedTuple):
    """One fault of a rule set, at the line and column (from 1) of the very token."""

    file: str
    line: int
    column: int
    path: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """Say it in one line, as compilers do."""
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}"


class LoadError(Exception):
    """A file that cannot be read any further. Line and column from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        """Tell the place and what is wrong there."""
        super().__init__(message)
        self.line = line
        self.column = column
        self.message = message


_NO_ENTRIES: Mapping[str, tuple[Node, Node]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Node:
    """A mapping, list or scalar with its place. Scalars keep their text beside their value."""

    kind: Literal["map", "list", "scalar"]
    line: int
    column: int
    value: object = None
    text: str = ""
    entries: Mapping[str, tuple[Node, Node]] = field(default_factory=lambda: _NO_ENTRIES)
    items: Sequence[Node] = ()
    # The file's lines and the parser's event, from which the place of each character follows.
    origin: tuple[list[str], Any] | None = None

    def find(self, path: tuple[Step, ...]) -> Node:
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

    def key(self, name: str) -> Node:
        """The node of this key itself, for faults of a name."""
        return self.entries[name][0]

    def place(self, offset: int) -> Place:
        """Tell line and column of this character of a scalar's text; else the scalar's start."""
        assert self.origin is not None  # only texts are asked
        lines, event = self.origin
        place = _place_in_block if event.style == "|" else _place_in_line
        return place(lines, event, offset) or (self.line, self.column)


def _place_in_block(lines: list[str], event: Any, offset: int) -> Place | None:
    """Tell where a character of a | block stands: every line is indented by as much."""
    parts = event.value.split("\n")
    first = next((index for index, part in enumerate(parts) if part.strip()), None)
    if first is None:
        return None
    top = event.start_mark.line + 1
    indent = len(lines[top + first]) - len(parts[first])
    before = event.value[:offset]
    return top + before.count("\n") + 1, indent + offset - before.rfind("\n")


def _place_in_line(lines: list[str], event: Any, offset: int) -> Place | None:
    """Tell where a character of a plain or quoted text stands, if it stands there verbatim."""
    start, end, text = event.start_mark, event.end_mark, event.value
    quote = 1 if event.style else 0
    is_verbatim = (
        start.line == end.line
        and end.column - start.column == len(text) + 2 * quote
        and lines[start.line].startswith(text, start.column + quote)
    )
    return (start.line + 1, start.column + quote + offset + 1) if is_verbatim else None


def read_folder(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """Read the rule files of a folder as text, by their path; name what cannot be read."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".yml"})
    files: dict[str, str] = {}
    problems: list[Problem] = []
    if not paths:
        problems.append(Problem(str(folder), 1, 1, "", "this folder holds no .yaml file"))
    for path in paths[: FILES_MAX + 1]:
        name = str(path)
        try:
            with path.open("rb") as stream:
                data = stream.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            problems.append(Problem(name, 1, 1, "", f"cannot be read: {error.strerror}"))
            continue
        try:
            files[name] = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if len(data) > FILE_BYTES_MAX:
                files[name] = data.decode("utf-8", "replace")
                continue
            line = data.count(b"\n", 0, error.start) + 1
            start = data.rfind(b"\n", 0, error.start) + 1
            column = len(data[start : error.start].decode()) + 1
            message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
            problems.append(Problem(name, line, column, "", message))
    return files, problems


def load(files: Mapping[str, str]) -> tuple[dict[str, Node], list[Problem]]:
    """Parse every file; each that cannot be parsed is one problem."""
    problems: list[Problem] = []
    nodes: dict[str, Node] = {}
    if len(files) > FILES_MAX:
        first = min(files)
        return {}, [Problem(first, 1, 1, "", f"a rule set has at most {FILES_MAX} files")]
    sizes = {name: len(text.encode("utf-8", "surrogatepass")) for name, text in files.items()}
    if sum(sizes.values()) > FILES_BYTES_MAX:
        message = f"all files together have at most {FILES_BYTES_MAX // 1024} KiB"
        return {}, [Problem(min(files), 1, 1, "", message)]
    for name in sorted(files):
        if sizes[name] > FILE_BYTES_MAX:
            message = f"a file has at most {FILE_BYTES_MAX // 1024} KiB"
            problems.append(Problem(name, 1, 1, "", message))
            continue
        try:
            nodes[name] = _Reader(name, files[name], problems).document()
        except LoadError as error:
            problems.append(Problem(name, error.line, error.column, "", error.message))
    return nodes, problems


class _Reader:
    """Builds the nodes of one file from the parser's events."""

    def __init__(self, name: str, text: str, problems: list[Problem]) -> None:
        self._name = name
        self._text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        self._lines = self._text.split("\n")
        self._problems = problems
        self._nodes = 0
        self._level = 0

    def document(self) -> Node:
        """Read the file's one document. Raises LoadError."""
        strange = _STRANGE.search(self._text)
        if strange:
            line = self._text.count("\n", 0, strange.start()) + 1
            column = strange.start() - self._text.rfind("\n", 0, strange.start())
            code = ord(strange.group())
            raise LoadError(line, column, f"character U+{code:04X} is not allowed in a rule file")
        try:
            return self._document(yaml.parse(self._text, Loader=yaml.CSafeLoader))
        except yaml.MarkedYAMLError as error:
            raise self._syntax_error(error) from None

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> LoadError:
        """Say what the parser says, or what an operator most likely did."""
        mark = error.problem_mark
        assert mark is not None  # the parser always knows where it stands
        source = self._lines[mark.line] if mark.line < len(self._lines) else ""
        character = source[mark.column : mark.column + 1]
        if bang := _BANG.match(source):
            return LoadError(mark.line + 1, bang.end(), _QUOTE_BANG)
        if character == "\t":
            message = "a tab cannot indent; use spaces"
        elif "cannot start any token" in str(error.problem):
            message = f"a value cannot begin with {character}; put it in quotes"
        else:
            parts = [part for part in (error.problem, error.context) if part]
            message = f"not valid YAML: {', '.join(parts)}"
        return LoadError(mark.line + 1, mark.column + 1, message)

    def _document(self, events: Iterator[Any]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise _at(event, "a file holds one document; nothing may follow ---")
                if event.version or event.tags:
                    raise _at(event, "directives (%) are not allowed")
                root = self._node(next(events), events)
        if root is None or (root.kind == "scalar" and root.value is None):
            raise LoadError(1, 1, "this file is empty")
        return root

    def _node(self, event: Any, events: Iterator[Any]) -> Node:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise _at(event, f"a file has at most {NODES_MAX:,} values")
        if isinstance(event, yaml.AliasEvent):
            raise _at(event, f"aliases (*{event.anchor}) are not allowed; write the value out")
        if event.anchor is not None:
            raise _at(event, f"anchors (&{event.anchor}) are not allowed")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            raise _at(event, f"tags ({tag}) are not allowed; {_QUOTE_BANG}")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        self._level += 1
        if self._level > LEVELS_MAX:
            raise _at(event, f"values are nested at most {LEVELS_MAX} levels deep")
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.MappingStartEvent):
            node = Node("map", line, column, entries=self._entries(events))
        else:
            items = []
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                items.append(self._node(event, events))
            node = Node("list", line, column, items=items)
        self._level -= 1
        return node

    def _entries(self, events: Iterator[Any]) -> dict[str, tuple[Node, Node]]:
        entries: dict[str, tuple[Node, Node]] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._node(event, events)
            if key.kind != "scalar":
                raise LoadError(key.line, key.column, "a key must be a plain name")
            value = self._node(next(events), events)
            if key.text in entries:
                first = entries[key.text][0]
                message = f"{key.text} stands here twice; it was given first in line {first.line}"
                self._problems.append(Problem(self._name, key.line, key.column, "", message))
                continue
            entries[key.text] = (key, value)
        return entries

    def _scalar(self, event: Any) -> Node:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        text: str = event.value
        if "\0" in text:
            raise _at(event, "a text cannot hold a NUL character")
        is_plain = not event.style and event.implicit[0]
        value = self._resolved(text, line, column) if is_plain else text
        return Node("scalar", line, column, value, text, origin=(self._lines, event))

    def _resolved(self, text: str, line: int, column: int) -> object:
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            if len(text) > _DIGITS_MAX:
                raise LoadError(line, column, "this number is too large")
            return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
        if _NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text):
            number = float(text.replace(".inf", "inf")) if _NUMBER.fullmatch(text) else math.inf
            if not math.isfinite(number):
                raise LoadError(line, column, "this number is too large")
            return number
        return text


def _at(event: Any, message: str) -> LoadError:
    return LoadError(event.start_mark.line + 1, event.start_mark.column + 1, message)
