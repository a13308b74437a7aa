"""What an expression can come to: comparisons that are decided before any action is reported.

Every attribute has bounds or a list of texts. They are carried through arithmetic as intervals, and
narrowed by what a condition has asked before: `distance_km > 5 && distance_km < 3` never holds. A
bound is never narrower than the truth, so that what is called decided is decided.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from service.rules.cel.ranges import ARITHMETIC, EVERY, MIRRORED, Range, decided, hull, narrowed
from service.rules.cel.text import did_you_mean
from service.rules.cel.tokens import Finding
from service.rules.cel.tree import Name, Node, literal, outcomes

Fact = Range | frozenset[str] | bool
# What is known at a place of the expression, by name; None where no action can ever come to.
Facts = Mapping[str, Fact] | None

# A list of a thousand members that can never be has told enough by the first ones.
_FINDINGS_MAX = 50
_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}


@dataclass(slots=True)
class Bounds:
    """Walks over a checked tree and notes, as warnings, what can only come out one way."""

    names: Mapping[str, Name]
    factors: Mapping[str, float]
    findings: list[Finding]
    # What was known before this expression: the plausible of the type, or the rule's when.
    before: Mapping[str, Fact] = field(default_factory=dict)

    def run(self, root: Node) -> Facts:
        """Look at all of it; answer what is known where it holds."""
        return self._walk(root, self.before)[0]

    def grams(self, root: Node) -> Range:
        """Bound the number that an expression gives."""
        return self._range(root, self.before)

    def _walk(self, node: Node, facts: Facts) -> tuple[Facts, Facts]:
        """Tell what is known if this node is true, and if it is false."""
        return outcomes(node, facts, self._look, _either, None)

    def _look(self, node: Node, known: Facts) -> tuple[Facts, Facts]:
        facts = known or {}
        if node.kind == "name":
            return self._flag(node, str(node.value), facts)
        for child in node.nodes:
            self._walk(child, facts)
        look = {"in": self._member, **dict.fromkeys(MIRRORED, self._comparison)}
        look |= dict.fromkeys(_TESTS, self._test)
        return look[node.operator](node, facts) if node.operator in look else (facts, facts)

    def _flag(self, node: Node, text: str, facts: Mapping[str, Fact]) -> tuple[Facts, Facts]:
        name = self.names.get(text.removeprefix("_has_"))
        if name is None or (name.type != "boolean" and not text.startswith("_has_")):
            return facts, facts
        if text.startswith("_has_"):
            if not name.optional and name.type != "any":
                self._warn(node, f"this is always true: {name.name} is required")
            return facts, facts
        if name.never:
            return self._always(node, facts, f": {name.never}", verdict=False)
        known = facts.get(text)
        if isinstance(known, bool):
            return self._always(node, facts, f" here: {text} was asked before", verdict=known)
        return {**facts, text: True}, {**facts, text: False}

    def _comparison(self, node: Node, facts: Mapping[str, Fact]) -> tuple[Facts, Facts]:
        left, right = node.nodes
        operator = node.operator
        if literal(left) is not None and right.kind == "name":
            left, right, operator = right, left, MIRRORED[operator]
        name, value = self.names.get(str(left.value)), literal(right)
        if left.kind == "name" and name is not None and isinstance(value, str):
            return self._same_text(node, operator, name, value, facts)
        if not self._is_number(left) or not self._is_number(right):
            return facts, facts
        verdict = decided(operator, self._range(left, facts), self._range(right, facts))
        if verdict is not None:
            if self._varies(node):
                return self._always(node, facts, self._why(node, facts), verdict=verdict)
            return (facts, None) if verdict else (None, facts)
        if left.kind == "name" and name is not None and isinstance(value, float):
            known = self._range(left, facts)
            true, false = narrowed(operator, known, value)
            return {**facts, name.name: true}, {**facts, name.name: false}
        return facts, facts

    def _same_text(
        self, node: Node, operator: str, name: Name, value: str, facts: Mapping[str, Fact]
    ) -> tuple[Facts, Facts]:
        if operator not in {"==", "!="}:
            return facts, facts
        is_same = operator == "=="
        compared = f" here: {name.name} was compared before"
        why = ""
        known = facts.get(name.name)
        if name.one_of and value not in name.one_of:
            why = f": {_listed(name)}{did_you_mean(value, name.one_of)}"
        elif not name.one_of and (fault := _refused(name, value)):
            why = f": {fault}"
        elif isinstance(known, frozenset) and value not in known:
            why = compared
        if why:
            return self._always(node, facts, why, verdict=not is_same)
        alone = frozenset((value,))
        if known == alone:
            return self._always(node, facts, compared, verdict=is_same)
        same = {**facts, name.name: alone}
        choices = known if isinstance(known, frozenset) else frozenset(name.one_of)
        other = {**facts, name.name: choices - alone} if choices else facts
        return (same, other) if is_same else (other, same)

    def _member(self, node: Node, facts: Mapping[str, Fact]) -> tuple[Facts, Facts]:
        left, members = node.nodes
        name = self.names.get(str(left.value))
        if left.kind != "name" or name is None:
            return facts, facts
        values = [literal(member) for member in members.nodes]
        can_be = 0
        for member, value in zip(members.nodes, values, strict=True):
            if fault := self._never(name, value):
                self._warn(member, fault)
            else:
                can_be += 1
        if values and not can_be:
            return None, facts
        texts = [value for value in values if isinstance(value, str)]
        if len(texts) < len(values) or not texts:
            return facts, facts
        known = facts.get(name.name)
        choices = known if isinstance(known, frozenset) else frozenset(name.one_of)
        if choices and choices <= set(texts):
            return self._always(node, facts, f": {_listed(name)}", verdict=True)
        true = frozenset(texts) & choices if choices else frozenset(texts)
        if not true:
            why = f" here: {name.name} was compared before"
            return self._always(node, facts, why, verdict=False)
        false = {**facts, name.name: choices - true} if choices else facts
        return {**facts, name.name: true}, false

    def _never(self, name: Name, value: object) -> str:
        """Say why an attribute is never this member of a list, or nothing."""
        if isinstance(value, str) and name.one_of and value not in name.one_of:
            return f"this never is: {_listed(name)}{did_you_mean(value, name.one_of)}"
        if isinstance(value, str) and not name.one_of and (fault := _refused(name, value)):
            return f"this never is: {fault}"
        if isinstance(value, float) and not _declared(name).holds(value):
            return f"this never is: {_told(name.name, _declared(name), Range(value, value))}"
        return ""

    def _test(self, node: Node, facts: Mapping[str, Fact]) -> tuple[Facts, Facts]:
        left, right = node.nodes
        name, value = self.names.get(str(left.value)), literal(right)
        if left.kind != "name" or name is None or not name.one_of or not isinstance(value, str):
            return facts, facts
        test = _TESTS[node.operator]
        verdicts = {test(choice, value) for choice in name.one_of}
        if len(verdicts) > 1:
            return facts, facts
        return self._always(node, facts, f": {_listed(name)}", verdict=verdicts.pop())

    def _is_number(self, node: Node) -> bool:
        if node.kind == "name":
            name = self.names.get(str(node.value))
            return name.type == "number" if name else str(node.value).startswith("factors.")
        if node.kind == "constant":
            return isinstance(node.value, float)
        if node.operator == "? :":
            return self._is_number(node.nodes[1]) and self._is_number(node.nodes[2])
        return node.operator in ARITHMETIC and all(map(self._is_number, node.nodes))

    def _range(self, node: Node, facts: Mapping[str, Fact]) -> Range:
        """Bound a number; of a choice, what either side can come to."""
        if node.kind == "constant":
            return Range(node.value, node.value) if isinstance(node.value, float) else EVERY
        if node.kind == "name":
            text = str(node.value)
            known = facts.get(text)
            if isinstance(known, Range):
                return known
            if text.startswith("factors."):
                value = self.factors.get(text.removeprefix("factors."), math.nan)
                return EVERY if math.isnan(value) else Range(value, value)
            name = self.names.get(text)
            return _declared(name) if name else EVERY
        ranges = [self._range(child, facts) for child in node.nodes]
        if node.operator == "? :":
            return hull(ranges[1], ranges[2])
        compute = ARITHMETIC.get(node.operator)
        return compute(ranges) if compute else EVERY

    def _why(self, node: Node, facts: Mapping[str, Fact]) -> str:
        """Say which bounds decide a comparison, and whether they were asked for before."""
        sides = node.nodes
        ranges = [self._range(side, facts) for side in sides]
        told = [
            _told(str(side.value) if side.kind == "name" else where, own, other)
            for where, side, own, other in zip(
                ("the left side", "the right side"), sides, ranges, ranges[::-1], strict=True
            )
            if self._varies(side)
        ]
        declared = [self._range(side, {}) for side in sides]
        is_narrowed = decided(node.operator, declared[0], declared[1]) is None
        return f"{' here' if is_narrowed else ''}: {', '.join(told)}"

    def _varies(self, node: Node) -> bool:
        return any(name in self.names for name in node.names())

    def _always(
        self, node: Node, facts: Mapping[str, Fact], why: str, *, verdict: bool
    ) -> tuple[Facts, Facts]:
        """Warn of what comes out one way only."""
        self._warn(node, f"this is always {str(verdict).lower()}{why}")
        return (facts, None) if verdict else (None, facts)

    def _warn(self, node: Node, message: str) -> None:
        if len(self.findings) < _FINDINGS_MAX:
            self.findings.append(Finding(node.offset, message, "warning"))


def _listed(name: Name) -> str:
    return f"{name.name} is one of {', '.join(name.one_of)}"


def _refused(name: Name, value: str) -> str:
    """Say why an attribute can never be this text, or nothing."""
    fault = name.check(value) if name.check else None
    return f"{name.name} {fault}" if fault else ""


def _told(label: str, known: Range, other: Range) -> str:
    """Say what is known of a side of a comparison with the other one."""
    is_within = known.low <= other.low == other.high <= known.high
    if known.is_whole and is_within and not other.low.is_integer():
        return f"{label} is a whole number"
    low, high = f"{known.low:.12g}", f"{known.high:.12g}"
    if low == high:
        return f"{label} is {low}"
    if math.isinf(known.high):
        return f"{label} is at least {low}"
    if math.isinf(known.low):
        return f"{label} is at most {high}"
    return f"{label} lies between {low} and {high}"


def _declared(name: Name) -> Range:
    return Range(name.minimum, name.maximum, name.is_whole)


def _either(one: Facts, other: Facts) -> Facts:
    """What is known where it is not known which of two ways was taken."""
    if one is None or other is None:
        return other if one is None else one
    joined: dict[str, Fact] = {}
    for name in one.keys() & other.keys():
        first, second = one[name], other[name]
        if isinstance(first, Range) and isinstance(second, Range):
            joined[name] = hull(first, second)
        elif isinstance(first, frozenset) and isinstance(second, frozenset):
            joined[name] = first | second
        elif first is second:
            joined[name] = first
    return joined
