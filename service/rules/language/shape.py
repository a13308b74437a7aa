"""Makes the structs of `schema` out of nodes, and finds every fault of shape in one go.

msgspec would stop at the first fault and forget where it stood; so the structs' own types are
walked here beside the nodes.
"""

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec.inspect as mi
from msgspec import Struct
from msgspec.structs import replace

from service.rules.cel.text import did_you_mean
from service.rules.language.nodes import Node
from service.rules.language.problems import Problem, Severity, Step
from service.rules.language.schema import RuleFile

# Stands for a value that could not be made, also inside of tuples, so that places stay right.
FAULTY: Any = object()

Member = TypeVar("Member")

_FILE = mi.type_info(RuleFile)
_YEARS = (1970, 2199)
# Guessing takes long; whoever has more unknown keys in one place is helped by the first ones.
_HINTS_MAX = 20
_TEXTS = {"map": "a mapping", "list": "a list"}
# What a value of each type is made of; all others are made of texts.
_TAKEN: Mapping[type[mi.Type], tuple[str | type, ...]] = {
    mi.DictType: ("map",), mi.StructType: ("map",), mi.VarTupleType: ("list",),
    mi.BoolType: (bool,), mi.IntType: (int,), mi.FloatType: (int, float),
}  # fmt: skip


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


class Source(Struct, frozen=True):
    """A place of one file on its way through the checks: its nodes, its struct, its problems."""

    name: str
    root: Node
    shape: RuleFile
    problems: list[Problem]
    is_published: bool = False
    path: tuple[Step, ...] = ()

    def at(self, *steps: Step) -> "Source":
        """A place below this one."""
        return replace(self, path=(*self.path, *steps))

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
        severity: Severity = "error",
    ) -> None:
        """Note a problem at the value here, at its key, or at one character of its text."""
        path, node = self.path, self.node
        if at_key:
            node = self.root.find(path[:-1]).key(str(path[-1]))
        if offset is not None:
            node = Node("scalar", *node.place(offset))
        self.problems.append(node.problem(self.name, path, message, severity))

    def fault_if_new(self, message: str, *, at_key: bool = False) -> None:
        """Refuse what was let pass once: a version that decides already goes on deciding."""
        severity: Severity = "warning" if self.is_published else "error"
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


def _shown(node: Node) -> str:
    if node.kind == "scalar" and node.value is None:
        return "nothing"
    text = repr(node.text if len(node.text) <= 60 else node.text[:57] + "...")
    return _TEXTS.get(node.kind, text)


class _Shaper:
    """Walks types and nodes side by side."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self._name = name
        self._problems = problems

    def convert(self, node: Node, wanted: Any, path: tuple[Step, ...], says: str = "") -> Any:
        """Make a value of this type, or FAULTY after noting why not."""
        if node.kind == "faulty":
            return FAULTY
        if isinstance(wanted, mi.Metadata):
            extra = wanted.extra or {}
            if "scalar_text" in extra and node.kind == "scalar" and node.value is not None:
                return node.text
            return self.convert(node, wanted.type, path, extra.get("says", says))
        if isinstance(wanted, mi.UnionType):
            fit = next((option for option in wanted.types if _fits(node, option)), None)
            return self.convert(node, fit, path, says) if fit else self._refuse(node, path, says)
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

    def _refuse(self, node: Node, path: tuple[Step, ...], allowed: str) -> Any:
        return self._fault(node, path, f"{_label(path)} must be {allowed}, not {_shown(node)}")

    def _struct(self, node: Node, wanted: mi.StructType, path: tuple[Step, ...]) -> Any:
        if node.kind != "map":
            keys = ", ".join(field.encode_name for field in wanted.fields[:4])
            return self._refuse(node, path, f"a mapping with {keys} ...")
        fields, required = _fields_of(wanted.cls)
        made = dict(getattr(wanted.cls, "stand_ins", {}))
        unknown = 0
        for name, (key, value) in node.entries.items():
            if field := fields.get(name):
                content = self.convert(value, field.type, (*path, name))
                if content is not FAULTY:
                    made[field.name] = content
                continue
            unknown += 1
            hint = did_you_mean(name, fields) if unknown <= _HINTS_MAX else ""
            hint = hint or f"; allowed are {', '.join(fields)}"
            self._fault(key, (*path, name), f"{name} is not known in {_label(path)}{hint}")
        if missing := [name for name in required if name not in node.entries]:
            listed = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
            self._fault(node, path, f"{_label(path)} needs {listed}")
        is_whole = all(fields[name].name in made for name in required)
        return wanted.cls(**made) if is_whole else FAULTY

    def _dict(self, node: Node, wanted: mi.DictType, path: tuple[Step, ...], says: str) -> Any:
        if node.kind != "map":
            return self._refuse(node, path, says or "a mapping of names")
        self._count(node, len(node.entries), wanted, path)
        made: dict[str, Any] = {}
        for name, (key, value) in node.entries.items():
            named = Node("scalar", key.line, key.column, name, name)
            is_named = self.convert(named, wanted.key_type, (*path, name))
            content = self.convert(value, wanted.value_type, (*path, name))
            if content is not FAULTY and is_named is not FAULTY:
                made[name] = content
        return made

    def _tuple(self, node: Node, wanted: mi.VarTupleType, path: tuple[Step, ...]) -> Any:
        if node.kind != "list":
            return self._refuse(node, path, "a list like [...]")
        self._count(node, len(node.items), wanted, path)
        items = enumerate(node.items)
        return tuple([self.convert(item, wanted.item_type, (*path, at)) for at, item in items])

    def _count(self, node: Node, number: int, wanted: Any, path: tuple[Step, ...]) -> None:
        if wanted.min_length is not None and number < wanted.min_length:
            self._fault(node, path, f"{_label(path)} must not be empty")
        if wanted.max_length is not None and number > wanted.max_length:
            self._fault(node, path, f"{_label(path)} has at most {wanted.max_length} members")

    def _scalar(self, node: Node, wanted: Any, path: tuple[Step, ...], says: str) -> Any:
        value: Any = node.value
        if isinstance(wanted, mi.LiteralType):
            return self._choice(node, wanted, path)
        if not _fits(node, wanted):
            return self._refuse(node, path, says or _kind(wanted))
        if isinstance(wanted, mi.DateType):
            return dt.date.fromisoformat(node.text)
        if isinstance(wanted, mi.StrType):
            return self._text(node, wanted, path, says)
        if isinstance(wanted, mi.IntType | mi.FloatType):
            low, high = wanted.ge, wanted.le
            if (low is not None and value < low) or (high is not None and value > high):
                message = f"{_label(path)} must be {_kind(wanted)}, not {node.text[:40]}"
                return self._fault(node, path, message)
            return float(value) if isinstance(wanted, mi.FloatType) else value
        return value

    def _choice(self, node: Node, wanted: mi.LiteralType, path: tuple[Step, ...]) -> Any:
        if (type(node.value), node.value) in [(type(option), option) for option in wanted.values]:
            return node.value
        options = ["true" if option is True else str(option) for option in wanted.values]
        hint = did_you_mean(node.text, options) if node.kind == "scalar" else ""
        allowed = hint or f"; allowed are {', '.join(options)}"
        return self._fault(node, path, f"{_label(path)} cannot be {_shown(node)}{allowed}")

    def _text(self, node: Node, wanted: mi.StrType, path: tuple[Step, ...], says: str) -> Any:
        text, most = node.text, wanted.max_length
        if wanted.pattern is not None and not re.fullmatch(wanted.pattern, text):
            return self._refuse(node, path, says)
        if wanted.min_length is not None and not text.strip():
            return self._fault(node, path, f"{_label(path)} must not be empty")
        if most is not None and len(text) > most:
            return self._fault(node, path, f"{_label(path)} has at most {most} characters")
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
    if isinstance(wanted, mi.Metadata):
        return _fits(node, wanted.type)
    given = type(node.value) if node.kind == "scalar" else node.kind
    if isinstance(wanted, mi.DateType):
        return given is str and _is_date(node.text)
    return given in _TAKEN.get(type(wanted), (str,))


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
