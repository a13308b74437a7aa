"""Makes the structs of `schema` out of nodes, and finds every fault of shape in one go.

msgspec would stop at the first fault and forget where it stood; so the structs' own types are
walked here beside the nodes.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import msgspec.inspect as mi
from msgspec.structs import replace

from service.rules.cel.text import did_you_mean
from service.rules.language.nodes import Node
from service.rules.language.problems import Problem, Step, path_text
from service.rules.language.schema import RuleFile

# Stands for a value that could not be made, also inside of tuples, so that places stay right.
FAULTY: Any = object()

Member = TypeVar("Member")

_FILE = mi.type_info(RuleFile)
_YEARS = (1970, 2199)
# Guessing takes long; whoever has more unknown keys in one place is helped by the first ones.
_HINTS_MAX = 20
_TEXTS = {"map": "a mapping", "list": "a list"}


def shape_file(name: str, root: Node, problems: list[Problem]) -> RuleFile:
    """Make a file's struct, so that what can be checked further is there.

    Each fault is a problem; the smallest value around it that can be done without is left out.
    """
    made = _Shaper(name, problems).convert(root, _FILE, ())
    return RuleFile() if made is FAULTY else made


def shape_list(name: str, root: Node, kind: type[Member], problems: list[Problem]) -> list[Member]:
    """Make a file's structs, where a file is a list of them; FAULTY stands for a faulty one."""
    if root.kind != "list":
        message = f"a file of scenarios must be a list of steps, not {_shown(root)}"
        problems.append(root.problem(name, (), message))
        return []
    shaper, wanted = _Shaper(name, problems), mi.type_info(kind)
    return [shaper.convert(item, wanted, (index,)) for index, item in enumerate(root.items)]


@dataclass(frozen=True, slots=True)
class Source:
    """A place of one file on its way through the checks: its nodes, its struct, its problems."""

    name: str
    root: Node
    shape: RuleFile
    problems: list[Problem]
    is_published: bool = False
    path: tuple[Step, ...] = ()

    def at(self, *steps: Step) -> Source:
        """A place below this one."""
        path = (*self.path, *steps)
        return Source(self.name, self.root, self.shape, self.problems, self.is_published, path)

    @property
    def node(self) -> Node:
        """What stands here, or around it if nothing does."""
        return self.root.find(self.path)

    def fault(
        self,
        message: str,
        *,
        at_key: bool = False,
        offset: int | None = None,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """Note a problem at the value here, at its key, or at one character of its text."""
        path, node = self.path, self.node
        if at_key:
            node = self.root.find(path[:-1]).key(str(path[-1]))
        line, column = (node.line, node.column) if offset is None else node.place(offset)
        self.problems.append(Problem(self.name, line, column, path_text(path), message, severity))

    def fault_if_new(self, message: str, *, at_key: bool = False) -> None:
        """Refuse what was let pass once: a version that decides already goes on deciding."""
        severity: Literal["error", "warning"] = "warning" if self.is_published else "error"
        self.fault(message, at_key=at_key, severity=severity)

    def warn(self, message: str, *, at_key: bool = False) -> None:
        """Note something that is allowed but hardly meant."""
        self.fault(message, at_key=at_key, severity="warning")

    def unknown(self, message: str, name: str, known: Iterable[str]) -> None:
        """Refuse a name that is none of those known, in words that have a place for it."""
        self.fault(message.format(name) + did_you_mean(name, known))

    def needs_one_of(self, what: str, *keys: str) -> None:
        """Ask for exactly one of two keys here."""
        if sum(key in self.node.entries for key in keys) != 1:
            self.fault(f"{what} needs exactly one of {' and '.join(keys)}")

    def once(self, values: Iterable[Any]) -> list[tuple[int, Any]]:
        """List what could be read of a list, with its index; a second one is a problem."""
        listed: dict[Any, int] = {}
        for index, value in whole(values):
            if listed.setdefault(value, index) != index:
                self.at(index).fault(f"{value} stands here twice")
        return [(index, value) for value, index in listed.items()]


def whole(items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """List the members that could be made, with their index in the file."""
    return ((index, item) for index, item in enumerate(items) if item is not FAULTY)


@cache
def _fields_of(kind: type[Any]) -> tuple[dict[str, mi.Field], list[str]]:
    """A section's keys, and which of them must be there."""
    described = mi.type_info(kind)
    assert isinstance(described, mi.StructType)
    fields = {field.encode_name: _given(field) for field in described.fields}
    return fields, [name for name, field in fields.items() if field.required]


def _given(field: mi.Field) -> mi.Field:
    """The field as it must be where it is given; None stands for what is not."""
    if isinstance(field.type, mi.UnionType) and isinstance(field.type.types[-1], mi.NoneType):
        return replace(field, type=field.type.types[0])
    return field


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _shown(node: Node) -> str:
    if node.kind != "scalar":
        return _TEXTS[node.kind]
    if node.value is None:
        return "nothing"
    return repr(node.text if len(node.text) <= 60 else node.text[:57] + "...")


class _Shaper:
    """Walks types and nodes side by side."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self._name = name
        self._problems = problems

    def convert(self, node: Node, wanted: Any, path: tuple[Step, ...], says: str = "") -> Any:
        """Make a value of this type, or FAULTY after noting why not."""
        if node.kind == "faulty":
            return FAULTY
        is_text = False
        while isinstance(wanted, mi.Metadata):
            if wanted.extra:
                says = wanted.extra.get("says", says)
                is_text = is_text or "scalar_text" in wanted.extra
            wanted = wanted.type
        if is_text and node.kind == "scalar" and node.value is not None:
            return node.text
        if isinstance(wanted, mi.UnionType):
            return self._union(node, wanted, path, says)
        if isinstance(wanted, mi.StructType):
            return self._struct(node, wanted, path)
        if isinstance(wanted, mi.DictType):
            return self._dict(node, wanted, path, says)
        if isinstance(wanted, mi.VarTupleType):
            return self._tuple(node, wanted, path)
        return self._scalar(node, wanted, path, says)

    def _fault(self, node: Node, path: tuple[Step, ...], message: str) -> Any:
        self._problems.append(node.problem(self._name, path, message))
        return FAULTY

    def _union(self, node: Node, wanted: mi.UnionType, path: tuple[Step, ...], says: str) -> Any:
        for option in wanted.types:
            bare = option
            while isinstance(bare, mi.Metadata):
                bare = bare.type
            if _fits(node, bare):
                return self.convert(node, option, path, says)
        return self._fault(node, path, f"{_label(path)} must be {says}, not {_shown(node)}")

    def _struct(self, node: Node, wanted: mi.StructType, path: tuple[Step, ...]) -> Any:
        if node.kind != "map":
            keys = ", ".join(field.encode_name for field in wanted.fields[:4])
            message = f"{_label(path)} must be a mapping with {keys} ..., not {_shown(node)}"
            return self._fault(node, path, message)
        fields, required = _fields_of(wanted.cls)
        made: dict[str, Any] = {}
        unknown = 0
        for name, (key, value) in node.entries.items():
            field = fields.get(name)
            if field is None:
                unknown += 1
                hint = did_you_mean(name, fields) if unknown <= _HINTS_MAX else ""
                hint = hint or f"; allowed are {', '.join(fields)}"
                self._fault(key, (*path, name), f"{name} is not known in {_label(path)}{hint}")
            else:
                made[field.name] = self.convert(value, field.type, (*path, name))
        missing = [name for name in required if name not in node.entries]
        if missing:
            *most, last = missing
            listed = f"{', '.join(most)} and {last}" if most else last
            self._fault(node, path, f"{_label(path)} needs {listed}")
        made = {name: value for name, value in made.items() if value is not FAULTY}
        made = {**getattr(wanted.cls, "stand_ins", {}), **made}
        return (
            FAULTY
            if any(fields[name].name not in made for name in required)
            else wanted.cls(**made)
        )

    def _dict(self, node: Node, wanted: mi.DictType, path: tuple[Step, ...], says: str) -> Any:
        if node.kind != "map":
            message = f"{_label(path)} must be {says or 'a mapping of names'}, not {_shown(node)}"
            return self._fault(node, path, message)
        self._count(node, len(node.entries), wanted, path)
        made: dict[str, Any] = {}
        for name, (key, value) in node.entries.items():
            below = (*path, name)
            is_named = self.convert(
                Node("scalar", key.line, key.column, name, name), wanted.key_type, below
            )
            content = self.convert(value, wanted.value_type, below)
            if content is not FAULTY and is_named is not FAULTY:
                made[name] = content
        return made

    def _tuple(self, node: Node, wanted: mi.VarTupleType, path: tuple[Step, ...]) -> Any:
        if node.kind != "list":
            message = f"{_label(path)} must be a list like [...], not {_shown(node)}"
            return self._fault(node, path, message)
        self._count(node, len(node.items), wanted, path)
        made = [
            self.convert(item, wanted.item_type, (*path, index))
            for index, item in enumerate(node.items)
        ]
        return tuple(made)

    def _count(self, node: Node, number: int, wanted: Any, path: tuple[Step, ...]) -> None:
        if wanted.min_length is not None and number < wanted.min_length:
            self._fault(node, path, f"{_label(path)} must not be empty")
        if wanted.max_length is not None and number > wanted.max_length:
            self._fault(node, path, f"{_label(path)} has at most {wanted.max_length} members")

    def _scalar(self, node: Node, wanted: Any, path: tuple[Step, ...], says: str) -> Any:
        value = node.value
        if isinstance(wanted, mi.LiteralType):
            return self._choice(node, wanted, path)
        if not _fits(node, wanted):
            return self._fault(
                node, path, f"{_label(path)} must be {says or _kind(wanted)}, not {_shown(node)}"
            )
        if isinstance(wanted, mi.DateType):
            return dt.date.fromisoformat(node.text)
        if isinstance(wanted, mi.StrType):
            return self._text(node, wanted, path, says)
        if isinstance(wanted, mi.IntType | mi.FloatType):
            if (wanted.ge is not None and value < wanted.ge) or (  # type: ignore[operator]
                wanted.le is not None and value > wanted.le  # type: ignore[operator]
            ):
                return self._fault(
                    node, path, f"{_label(path)} must be {_kind(wanted)}, not {node.text[:40]}"
                )
            return float(value) if isinstance(wanted, mi.FloatType) else value  # type: ignore[arg-type]
        return value

    def _choice(self, node: Node, wanted: mi.LiteralType, path: tuple[Step, ...]) -> Any:
        if any(
            type(node.value) is type(option) and node.value == option for option in wanted.values
        ):
            return node.value
        options = [
            str(option).lower() if option is True else str(option) for option in wanted.values
        ]
        hint = did_you_mean(node.text, options) if node.kind == "scalar" else ""
        allowed = hint or f"; allowed are {', '.join(options)}"
        return self._fault(node, path, f"{_label(path)} cannot be {_shown(node)}{allowed}")

    def _text(self, node: Node, wanted: mi.StrType, path: tuple[Step, ...], says: str) -> Any:
        text = node.text
        if wanted.pattern is not None and not _pattern(wanted.pattern).fullmatch(text):
            return self._fault(node, path, f"{_label(path)} must be {says}, not {_shown(node)}")
        if wanted.min_length is not None and not text.strip():
            return self._fault(node, path, f"{_label(path)} must not be empty")
        if wanted.max_length is not None and len(text) > wanted.max_length:
            message = f"{_label(path)} has at most {wanted.max_length} characters"
            return self._fault(node, path, message)
        return text


_MEMBERS = {
    "rules": "a rule", "limits": "a limit", "examples": "an example", "campaigns": "a campaign",
    "badges": "a badge", "factors": "factor", "action_types": "action type",
    "attributes": "attribute", "given": "attribute", "": "a step",
}  # fmt: skip


def _label(path: tuple[Step, ...]) -> str:
    """Name a place in a message: its key, or what kind of member it is."""
    if not path:
        return "a rule file"
    last, owner = path[-1], path[-2] if len(path) > 1 else ""
    if isinstance(last, int):
        return _MEMBERS.get(str(owner), f"a member of {owner}")
    return f"{_MEMBERS[owner]} {last}" if owner and owner in _MEMBERS else last


def _fits(node: Node, wanted: Any) -> bool:
    """Whether this node is of the kind that a type takes."""
    if isinstance(wanted, mi.DictType | mi.StructType):
        return node.kind == "map"
    if isinstance(wanted, mi.VarTupleType):
        return node.kind == "list"
    value = node.value
    if node.kind != "scalar" or value is None:
        return False
    if isinstance(wanted, mi.BoolType):
        return isinstance(value, bool)
    if isinstance(wanted, mi.IntType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(wanted, mi.FloatType):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(wanted, mi.DateType):
        return isinstance(value, str) and _is_date(value)
    return isinstance(value, str)


def _is_date(text: str) -> bool:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return False
    return day.isoformat() == text and _YEARS[0] <= day.year <= _YEARS[1]


def _kind(wanted: Any) -> str:
    if isinstance(wanted, mi.BoolType):
        return "true or false"
    if isinstance(wanted, mi.DateType):
        return "a day from {} to {}, like 2026-06-05".format(*_YEARS)
    if isinstance(wanted, mi.IntType | mi.FloatType):
        noun = "a whole number" if isinstance(wanted, mi.IntType) else "a number"
        if wanted.ge is not None and wanted.le is not None:
            return f"{noun} from {wanted.ge:.15g} to {wanted.le:.15g}"
        return f"{noun} of at least {wanted.ge:.15g}" if wanted.ge is not None else noun
    return "a text"
