"""Rule files as trees of nodes in which every token knows its place.

Files are read event by event with limits, so that no file can cost more than its size: no anchors,
aliases, tags or second documents, and plain scalars as YAML 1.2 core has them (`no` is text).
"""

from __future__ import annotations

import codecs
import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import yaml
from msgspec import Struct
from msgspec.structs import force_setattr, replace

from service.rules.language.places import Place, places_in_scalar
from service.rules.language.weight import directives_at, weight_of

_SUFFIXES = frozenset((".yaml", ".yml"))
FILE_BYTES_MAX = 256 * 1024
FILES_MAX = 64
FILES_BYTES_MAX = 2 * 1024 * 1024
LEVELS_MAX = 20
NODES_MAX = 10_000
# Values of all files, lists and mappings counted twice: 1,000 rules as full as those that are
# shipped, with a type and a factor for each, have as many.
WEIGHT_MAX = 125_000

ERRORS_MAX = 100

Step = str | int

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
_FILE_NAME = re.compile(r"[\w][\w .-]{0,95}\.ya?ml")
_NAME_SHOWN_MAX = 300
_MESSAGE_MAX = 2_000
_BANG = re.compile(r"[ \t]*(?:- +)*[\w.-]+:[ \t]+!")
_TOO_LARGE, _NO_NUMBER = object(), object()
_SYNTAX = {
    "mapping values are not allowed": (
        "this ':' cannot stand here; a text that holds ': ' must stand in quotes"
    ),
    "could not find expected ':'": "a key must be followed by ': '",
    "did not find expected key": "this does not continue what stands above; mind the indentation",
    "did not find expected '-'": "this does not continue the list above; mind the indentation",
    "did not find expected ',' or ']'": "a comma or ] is missing in this list",
    "did not find expected ',' or '}'": "a comma or } is missing in this mapping",
    "did not find expected node content": "a value is missing here, or a bracket is not closed",
    "found unknown escape character": "this \\ begins no escape; write \\\\ or use single quotes",
}
_NO_DIRECTIVES = "directives (%) are not allowed"
_QUOTE_BANG = "a text that begins with ! must stand in quotes"
# What YAML refuses, surrogates, the line ends that only YAML knows, and what turns the order of
# characters round, so that a reviewer reads something else than what stands there.
_STRANGE = re.compile(
    "[^\t\n\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
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
        """Say it in one line, as compilers do, whatever a key or name consists of."""
        place = f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.severity}: {_on_one_line(self.message, _MESSAGE_MAX)}"


class EnoughError(Exception):
    """There are more errors than anybody reads."""

    def __init__(self, problems: list[Problem]) -> None:
        """Carry what was found until then."""
        super().__init__(str(problems[-1]))
        self.problems = [*sorted(problems[:-1], key=place_of), problems[-1]]


class Problems(list[Problem]):
    """What is wrong with a set of files. Checking ends when there is more than anybody reads."""

    def __init__(self) -> None:
        """Begin without any."""
        super().__init__()
        self._errors = 0

    def append(self, problem: Problem) -> None:
        """Note one more. Raises EnoughError."""
        self._errors += problem.severity == "error"
        if self._errors > ERRORS_MAX:
            message = f"after {ERRORS_MAX} errors nothing further is checked"
            super().append(problem._replace(message=message))
            raise EnoughError(self)
        super().append(problem)


def path_text(path: tuple[Step, ...]) -> str:
    """Write a path as people do: rules[0].limits[1].per."""
    parts = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(parts).removeprefix(".")


def place_of(problem: Problem) -> tuple[str, int, int]:
    """Where it is, to tell problems in the order of their places."""
    return problem[:3]


class LoadError(Exception):
    """A file that cannot be read any further. Line and column from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        """Tell the place and what is wrong there."""
        super().__init__(message)
        self.line = line
        self.column = column
        self.message = message

    def problem(self, file: str) -> Problem:
        """Say it of this file."""
        return Problem(file, self.line, self.column, "", self.message)


_NO_ENTRIES: Mapping[str, tuple[Node, Node]] = MappingProxyType({})


class Node(Struct, frozen=True, eq=False):
    """A mapping, list or scalar with its place. Scalars keep their text beside their value."""

    # What is faulty was told already: nothing more is said of it.
    kind: Literal["map", "list", "scalar", "faulty"]
    line: int
    column: int
    value: object = None
    text: str = ""
    entries: Mapping[str, tuple[Node, Node]] = _NO_ENTRIES
    items: Sequence[Node] = ()
    # The file's lines and the parser's event, from which the place of each character follows.
    origin: tuple[list[str], Any] | None = None
    known_places: Sequence[Place] = ()

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

    def problem(
        self,
        file: str,
        path: tuple[Step, ...],
        message: str,
        severity: Literal["error", "warning"] = "error",
    ) -> Problem:
        """What is wrong with this value, which stands at this path of the file."""
        return Problem(file, self.line, self.column, path_text(path), message, severity)

    def key(self, name: str) -> Node:
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


def rule_paths(folder: Path) -> list[Path]:
    """What of a folder is read, in order of names. Raises OSError."""
    return sorted(path for path in folder.iterdir() if is_read(path))


def is_read(path: Path) -> bool:
    """Whether this is named like rules. Locks and notes of editors have names with a dot first."""
    return path.suffix in _SUFFIXES and not path.name.startswith(".")


def read_folder(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """Read the rule files of a folder as text, by their path; name what cannot be read."""
    files: dict[str, str] = {}
    try:
        paths = rule_paths(folder)
    except OSError as error:
        return files, [Problem(shown_name(str(folder)), 1, 1, "", _unreadable(error))]
    problems: list[Problem] = []
    if not paths:
        message = "this folder holds no .yaml file"
        problems.append(Problem(shown_name(str(folder)), 1, 1, "", message))
    for path in paths[: FILES_MAX + 1]:
        name = str(path)
        try:
            data = _bytes_of(path)
        except OSError as error:
            problems.append(Problem(shown_name(name), 1, 1, "", _unreadable(error)))
            continue
        try:
            files[name] = data.decode()
        except UnicodeDecodeError as error:
            if len(data) > FILE_BYTES_MAX:
                files[name] = data.decode("utf-8", "replace")
                continue
            line = data.count(b"\n", 0, error.start) + 1
            start = data.rfind(b"\n", 0, error.start) + 1
            column = len(data[start : error.start].decode()) + 1
            message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
            problems.append(Problem(shown_name(name), line, column, "", message))
    return files, problems


def _bytes_of(path: Path) -> bytes:
    """Read one file, but not more than is allowed. A pipe or device is not even waited for."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise NotAFileError(path)
    # Whoever puts a pipe there in between is not waited for either.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
        return stream.read(FILE_BYTES_MAX + 1).removeprefix(codecs.BOM_UTF8)


class NotAFileError(OSError):
    """Something that is named like a rule file and is none."""

    def __init__(self, path: Path) -> None:
        """Say what it is instead."""
        what = "a folder" if path.is_dir() else "a pipe, socket or device"
        super().__init__(None, f"it is {what}, not a file")


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"


def shown_name(name: str) -> str:
    """Write a file's name so that it stays on its line, whatever somebody called the file."""
    return _on_one_line(name, _NAME_SHOWN_MAX)


def _on_one_line(text: str, length: int) -> str:
    text = text if len(text) <= length else f"{text[: length - 3]}..."
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def load(files: Mapping[str, str]) -> tuple[dict[str, Node], Problems]:
    """Parse every file; each that cannot be parsed is one problem. Raises EnoughError."""
    problems = Problems()
    nodes: dict[str, Node] = {}
    if len(files) > FILES_MAX:
        first = shown_name(min(files))
        problems.append(Problem(first, 1, 1, "", f"a rule set has at most {FILES_MAX} files"))
        return {}, problems
    sizes = {name: len(text.encode("utf-8", "surrogatepass")) for name, text in files.items()}
    if sum(sizes.values()) > FILES_BYTES_MAX:
        message = f"all files together have at most {FILES_BYTES_MAX // 1024} KiB"
        problems.append(Problem(shown_name(min(files)), 1, 1, "", message))
        return {}, problems
    _check_names(files, problems)
    readers: dict[str, _Reader] = {}
    weight = 0
    for name in sorted(files):
        shown = shown_name(name)
        if sizes[name] > FILE_BYTES_MAX:
            message = f"a file has at most {FILE_BYTES_MAX // 1024} KiB"
            problems.append(Problem(shown, 1, 1, "", message))
            continue
        try:
            readers[name] = _Reader(shown, files[name], problems)
        except LoadError as error:
            problems.append(error.problem(shown))
            continue
        weight += readers[name].weight()
        if weight > WEIGHT_MAX:
            # Nothing is made of such a set, and the other files are not even looked at.
            message = f"all files together have at most {WEIGHT_MAX:,} values, lists counted twice"
            problems.append(Problem(shown, 1, 1, "", message))
            return {}, problems
    for name, reader in readers.items():
        try:
            nodes[name] = reader.document()
        except LoadError as error:
            problems.append(error.problem(shown_name(name)))
    return nodes, problems


def _check_names(files: Mapping[str, str], problems: Problems) -> None:
    """A version keeps its files by their bare names, so these must be good and different."""
    homes: dict[str, str] = {}
    for name in sorted(files):
        bare = PurePath(name).name
        if not _FILE_NAME.fullmatch(bare):
            message = "a rule file is named like mobility.yaml: letters, digits, - _ and ."
            problems.append(Problem(shown_name(name), 1, 1, "", message))
        elif bare in homes:
            message = f"two files of a rule set are named {bare}; the other is {homes[bare]}"
            problems.append(Problem(shown_name(name), 1, 1, "", message))
        homes.setdefault(bare, name)


class _Reader:
    """Builds the nodes of one file from the parser's events."""

    def __init__(self, name: str, text: str, problems: Problems) -> None:
        """Take a file. Raises LoadError when it holds what is never handed to the parser."""
        self._name = name
        self._text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        self._lines = self._text.split("\n")
        self._problems = problems
        self._nodes = 0
        self._level = 0
        if strange := _STRANGE.search(self._text):
            code = ord(strange.group())
            message = f"character U+{code:04X} is not allowed in a rule file"
            raise self._error(strange.start(), message)
        if (directives := directives_at(self._text)) is not None:
            raise self._error(directives, _NO_DIRECTIVES)

    def _error(self, offset: int, message: str) -> LoadError:
        line = self._text.count("\n", 0, offset) + 1
        return LoadError(line, offset - self._text.rfind("\n", 0, offset), message)

    def weight(self) -> int:
        """How much is in it; nothing is made of it yet."""
        return weight_of(self._text)

    def document(self) -> Node:
        """Read the file's one document. Raises LoadError."""
        try:
            self._next = yaml.CSafeLoader(self._text).get_event
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
            return LoadError(mark.line + 1, bang.end(), _QUOTE_BANG)
        problem = str(error.problem)
        if "unexpected end of stream" in problem and began is not None:
            return LoadError(began.line + 1, began.column + 1, "this quote is never closed")
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
            return LoadError(len(self._lines), len(self._lines[-1]) + 1, message)
        return LoadError(mark.line + 1, mark.column + 1, message)

    def _document(self) -> Node:
        root: Node | None = None
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise _at(event, "a file holds one document; nothing may follow ---")
                if event.version or event.tags:
                    raise _at(event, _NO_DIRECTIVES)
                root = self._node(self._next())
        if root is None or (root.kind == "scalar" and root.value is None):
            raise LoadError(1, 1, "this file is empty")
        return root

    def _faulty(self, event: Any, message: str) -> Node:
        """Note what is wrong with one value, and go on: the rest of the file is told too."""
        line, column = self._note(event, message)
        return Node("faulty", line, column)

    def _note(self, event: Any, message: str) -> Place:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        self._problems.append(Problem(self._name, line, column, "", message))
        return line, column

    def _node(self, event: Any) -> Node:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise _at(event, f"a file has at most {NODES_MAX:,} values")
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
            raise _at(event, f"values are nested at most {LEVELS_MAX} levels deep")
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        has_tag = event.tag is not None
        if kind is yaml.MappingStartEvent:
            node = Node("map", line, column, entries=self._entries())
        else:
            items = []
            while type(event := self._next()) is not yaml.SequenceEndEvent:
                items.append(self._node(event))
            node = Node("list", line, column, items=items)
        self._level -= 1
        return Node("faulty", line, column) if has_tag else node

    def _entries(self) -> dict[str, tuple[Node, Node]]:
        entries: dict[str, tuple[Node, Node]] = {}
        while type(event := self._next()) is not yaml.MappingEndEvent:
            start = event
            key = self._node(event)
            value = self._node(self._next())
            if key.kind == "scalar" and key.text not in entries:
                entries[key.text] = (key, value)
            elif key.kind == "scalar":
                first, held = entries[key.text]
                message = f"{key.text} stands here twice; it was given first in line {first.line}"
                self._note(start, message)
                if self._level == 1:
                    # A section that was pasted in again: what stands in it is checked all the same.
                    entries[key.text] = first, _joined(held, value)
            elif key.kind != "faulty":
                self._note(start, "a key must be a plain name")
        return entries

    def _scalar(self, event: Any) -> Node:
        text: str = event.value
        if "\0" in text:
            return self._faulty(event, "a text cannot hold a NUL character")
        if event.tag is not None:
            return Node("faulty", event.start_mark.line + 1, event.start_mark.column + 1)
        value: object = text
        if not event.style and event.implicit[0]:
            value = _resolved(text)
            if value is _TOO_LARGE:
                return self._faulty(event, "this number is too large")
            if value is _NO_NUMBER:
                message = f"{text} is no finite number; a text like that must stand in quotes"
                return self._faulty(event, message)
        start = event.start_mark
        return Node(
            "scalar", start.line + 1, start.column + 1, value, text, origin=(self._lines, event)
        )


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


def _at(event: Any, message: str) -> LoadError:
    return LoadError(event.start_mark.line + 1, event.start_mark.column + 1, message)
