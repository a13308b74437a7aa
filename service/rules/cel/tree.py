"""The checked syntax tree of an expression, and what can be proven about it before it ever runs.

cel-expr-python shows a tree only as the bytes of a `cel.expr.CheckedExpr` protobuf, and brings no
message classes for it: the few fields that matter are read from the wire format here.
"""

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from service.rules.cel.pattern_size import PARTS_MAX, parts_of
from service.rules.cel.ranges import ARITHMETIC, Range
from service.rules.cel.text import METHODS
from service.rules.cel.tokens import Finding

# What is declared wrongly can be anything: its faults were told.
ValueType = Literal["number", "text", "boolean", "any"]

_OPERATORS = {
    "_+_": "+", "_-_": "-", "_*_": "*", "_/_": "/", "-_": "-",
    "_==_": "==", "_!=_": "!=", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">=",
    "_&&_": "&&", "_||_": "||", "!_": "!", "_?_:_": "? :", "@in": "in",
}  # fmt: skip
Present = frozenset[str]
Known = TypeVar("Known")
_CALLS = frozenset((*_OPERATORS.values(), *METHODS, *ARITHMETIC))


@dataclass(frozen=True, slots=True)
class Name:
    """A name that an expression may use, with what is known of its values."""

    name: str
    type: ValueType
    optional: bool = False
    minimum: float = -math.inf
    maximum: float = math.inf
    one_of: tuple[str, ...] = ()
    is_whole: bool = False
    # Says what is wrong with a value that actions may carry.
    check: Callable[[object], str | None] | None = field(default=None, compare=False)
    # Why a boolean can never be true.
    never: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the tree: a constant, a name, a call (operators too) or a list."""

    kind: Literal["constant", "name", "call", "list", "other"]
    value: object
    nodes: tuple["Node", ...]
    overload: str
    offset: int

    @property
    def operator(self) -> str:
        """The operator or function that a call applies; nothing for what only looks like one."""
        return str(self.value) if self.kind == "call" else ""

    def names(self) -> Iterator[str]:
        """List every name below, with repetitions."""
        if self.kind == "name":
            yield str(self.value)
        for node in self.nodes:
            yield from node.names()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    if data[at] < 0x80:
        return data[at], at + 1
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Read a message: (field number, varint or bytes), eight-byte numbers as their bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        else:
            length = 8
            if tag & 7 == 2:
                length, at = _varint(data, at)
            yield tag >> 3, data[at : at + length]
            at += length


def _message(data: int | bytes) -> dict[int, int | bytes]:
    return dict(_fields(bytes(data)))


def decode(serialized: bytes, offset_of: Callable[[int], int]) -> Node:
    """Read the tree out of a serialized expression, each node at the operator's own offset."""
    checked = list(_fields(bytes(_message(serialized)[2])))
    overloads = dict(_overload(value) for number, value in checked if number == 2)
    positions = [
        _message(pair)
        for number, source_info in checked
        if number == 5
        for part, pair in _fields(bytes(source_info))
        if part == 4
    ]
    offsets = {int(entry[1]): offset_of(int(entry.get(2, 0))) for entry in positions}
    (root,) = (bytes(value) for number, value in checked if number == 4)
    return _node(root, overloads, offsets)


def _overload(entry: int | bytes) -> tuple[int, str]:
    fields = _message(entry)
    reference = _message(fields[2])
    return int(fields[1]), bytes(reference.get(3, b"")).decode()


def _node(data: bytes, overloads: Mapping[int, str], offsets: Mapping[int, int]) -> Node:
    identity = 0
    kind: Literal["constant", "name", "call", "list", "other"] = "other"
    value: object = None
    nodes: list[Node] = []
    for number, content in _fields(data):
        if number == 2:
            identity = int(content)
        elif number == 3:
            kind, value = "constant", _constant(bytes(content))
        elif number == 4:
            kind, value = "name", bytes(_message(content)[1]).decode()
        elif number in {6, 7}:
            kind = "call" if number == 6 else "list"
            for part, inner in _fields(bytes(content)):
                if number == 6 and part == 2:
                    function = bytes(inner).decode()
                    value = _OPERATORS.get(function, function)
                else:
                    nodes.append(_node(bytes(inner), overloads, offsets))
    return Node(kind, value, tuple(nodes), overloads.get(identity, ""), offsets.get(identity, 0))


def _constant(data: bytes) -> object:
    """Read a constant; null, integers and bytes, which the text does not let in, are None."""
    ((number, value),) = _fields(data)
    readers: Mapping[int, Callable[[int | bytes], object]] = {
        2: bool,
        5: lambda eight: struct.unpack("<d", bytes(eight))[0],
        6: lambda text: bytes(text).decode(),
    }
    return readers[number](value) if number in readers else None


def literal(node: Node) -> object:
    """Tell the value of a literal, also of a negated one; None for anything else."""
    if node.kind == "constant":
        return node.value
    if node.operator == "-" and len(node.nodes) == 1:
        inner = literal(node.nodes[0])
        return -inner if isinstance(inner, float) else None
    return None


def outcomes(
    node: Node,
    known: Known,
    look: Callable[[Node, Known], tuple[Known, Known]],
    either: Callable[[Known, Known], Known],
    never: Known,
) -> tuple[Known, Known]:
    """Tell what is known if a condition is true, and if it is false.

    `look` tells it of what joins no conditions, `either` what is known where it is not known which
    of two ways was taken; `never` is known where no action can ever come to.
    """

    def walk(node: Node, known: Known) -> tuple[Known, Known]:
        if known is None:
            return never, never
        operator, nodes = node.operator, node.nodes
        if isinstance(node.value, bool):
            return (known, never) if node.value else (never, known)
        if operator not in {"!", "&&", "||", "? :"}:
            return look(node, known)
        if_true, if_false = walk(nodes[0], known)
        if operator == "!":
            return if_false, if_true
        then_true, then_false = walk(nodes[1], if_false if operator == "||" else if_true)
        if operator == "&&":
            return then_true, either(if_false, then_false)
        if operator == "||":
            return either(if_true, then_true), then_false
        else_true, else_false = walk(nodes[2], if_false)
        return either(then_true, else_true), either(then_false, else_false)

    return walk(node, known)


@dataclass(slots=True)
class Analysis:
    """What a walk over the tree found, and which optional attributes surely came if it holds."""

    names: Mapping[str, Name]
    regex_fault: Callable[[str], str | None]
    findings: list[Finding]
    pattern_parts: int = 0

    def run(self, root: Node, present: Present) -> Present:
        """Check all of it; `present` are optional attributes known to have come."""
        self._constructs(root, in_list_place=False)
        when_true, _ = self._presence(root, present)
        return when_true

    def _constructs(self, node: Node, *, in_list_place: bool) -> None:
        self._construct(node, in_list_place=in_list_place)
        for index, child in enumerate(node.nodes):
            self._constructs(child, in_list_place=node.operator == "in" and index == 1)
        if node.operator == "/":
            self._division(node)
        elif node.operator == "matches":
            self._pattern(node)

    def _construct(self, node: Node, *, in_list_place: bool) -> None:
        value = node.value
        if node.kind == "other" or (node.kind == "call" and node.operator not in _CALLS):
            self._add(node, "this construct is not allowed in a rule")
        elif node.kind == "list" and not in_list_place:
            self._add(node, "a list may only stand after in")
        elif node.kind == "list" and not node.nodes:
            self._add(node, "this list is empty, so that nothing is in it")
        elif node.kind == "list" and len({*map(self._type, node.nodes)} - {"any"}) > 1:
            self._add(node, "the members of a list must be of one type")
        elif (
            node.operator == "+"
            and not node.overload.startswith("add_double")
            and not self._is_unsure(node)
        ):
            self._add(node, "'+' adds numbers only")
        elif isinstance(value, str) and node.kind == "constant" and "\0" in value:
            self._add(node, "a text cannot hold a NUL character")

    def _type(self, node: Node) -> str:
        if node.kind == "constant":
            return type(node.value).__name__
        if node.kind == "name":
            name = self.names.get(str(node.value))
            kinds = {"number": "float", "text": "str", "boolean": "bool", "any": "any"}
            return kinds[name.type] if name else "float"
        if node.operator == "? :":
            return self._type(node.nodes[1])
        return "float" if node.operator in ARITHMETIC else "bool"

    def _pattern(self, node: Node) -> None:
        pattern = literal(node.nodes[1])
        if not isinstance(pattern, str):
            self._add(node.nodes[1], "matches() takes a quoted pattern")
        elif self.pattern_parts > PARTS_MAX:
            pass  # which was told; each costs time to look at
        elif fault := self.regex_fault(pattern):
            self._add(node.nodes[1], f"the pattern is not valid: {fault}")
        else:
            self.pattern_parts += parts_of(pattern)
            if self.pattern_parts > PARTS_MAX:
                message = f"the patterns of an expression have at most {PARTS_MAX:,} parts together"
                self._add(node.nodes[1], message)

    def _is_unsure(self, node: Node) -> bool:
        """Whether something below was declared wrongly, so that nothing can be said of it."""
        return any(name in self.names and self.names[name].type == "any" for name in node.names())

    def _division(self, node: Node) -> None:
        divisor = node.nodes[1]
        if self._magnitude(divisor).low <= 0 and not self._is_unsure(divisor):
            built = "build it by * and / from numbers other than 0 and attributes with a minimum"
            self._add(divisor, f"this divisor could be 0; {built} above 0")

    def _magnitude(self, node: Node) -> Range:
        """Bound a divisor's absolute value; 0 when nothing can be promised."""
        value = literal(node)
        if isinstance(value, float):
            return Range(abs(value), abs(value))
        name = self.names.get(str(node.value)) if node.kind == "name" else None
        if name and name.minimum > 0:
            return Range(name.minimum, name.maximum)
        if node.operator in {"*", "/"}:
            ranges = [self._magnitude(child) for child in node.nodes]
            if all(known.low > 0 for known in ranges):
                return ARITHMETIC[node.operator](ranges)
        return Range(0, 0)

    def _presence(self, node: Node, present: Present) -> tuple[Present, Present]:
        """Find uses of optional attributes that may be missing.

        Answers which are present for sure when the node is true, and when it is false.
        """
        every = frozenset(name.name for name in self.names.values() if name.optional)
        return outcomes(node, present, self._use, frozenset.intersection, every)

    def _use(self, node: Node, present: Present) -> tuple[Present, Present]:
        text = str(node.value) if node.kind == "name" else ""
        if text.startswith("_has_"):
            return present | {text.removeprefix("_has_")}, present
        name = self.names.get(text)
        if name and name.optional and text not in present:
            asks = f"ask has({text}) && ... or has({text}) ? ... : 0"
            self._add(node, f"{text} may be missing; {asks}")
        for child in node.nodes:
            self._presence(child, present)
        return present, present

    def _add(self, node: Node, message: str) -> None:
        self.findings.append(Finding(node.offset, message))
