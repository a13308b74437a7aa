"""How an award comes about, step by step: every expression with its numbers, units and sources.

The numbers are the engine's own: each part of an expression is computed by itself, on the very
values that decide an action.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from service.rules.cel.expression import Expression
from service.rules.cel.tree import Node, literal
from service.rules.decide.evaluate import Award
from service.rules.decide.explain import Carry, carries_of
from service.rules.decide.grams import GRAM_NG, whole_grams
from service.rules.decide.judge import Candidate, Refusal, judge
from service.rules.decide.rulebook import ActionType, Rulebook
from service.rules.language import schema

_METHODS = frozenset(("startsWith", "endsWith", "contains", "matches"))
# What their parts came to says it all.
_TOLD_BY_PARTS = frozenset(("? :", "&&", "||", "!"))
_UNKNOWN = "not known: something that it asks for did not come"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what is asked, how it is computed line by line, and what comes out."""

    name: str
    text: str
    lines: tuple[str, ...] = ()
    result: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an action and its person when its rules are tried."""

    candidate: Candidate
    region: str
    streak_days: int


def explain_steps(
    rulebook: Rulebook,
    kind: schema.ActionType,
    rule: schema.Rule,
    facts: Facts,
    award: Award | None,
) -> list[Step]:
    """Explain what a rule makes of an action; `award` is what came of it, None for nothing."""
    action_type = rulebook.action_types[rule.action]
    parts = _Parts(rulebook, action_type, facts)
    steps = [Step("given", _given(rulebook, action_type, facts))]
    judged = judge(rulebook, facts.candidate, facts.candidate.occurred_at)
    is_readable = not (isinstance(judged, Refusal) and judged.code == "invalid-attributes")
    if is_readable and kind.plausible is not None:
        steps.append(parts.condition("plausible", str(kind.plausible)))
    if isinstance(judged, Refusal):
        steps.append(Step("refused", f"{judged.reason or judged.code}: {judged.detail}"))
        return steps
    steps += _dates(rulebook, rule, facts)
    if rule.when is not None:
        steps.append(parts.condition("when", str(rule.when)))
    if award is None:
        steps.append(Step("result", "the rule does not apply"))
        return steps
    if rule.saves is None:
        steps.append(Step("saves", "nothing is claimed as saved", (), "0 g CO2e"))
    else:
        steps.append(parts.grams("saves", str(rule.saves), "g CO2e"))
    if rule.earns is None:
        steps.append(Step("earns", "what it saves", (), steps[-1].result.replace(" CO2e", "")))
    else:
        steps.append(parts.grams("earns", str(rule.earns), "g"))
    return [*steps, *_after(rulebook, rule.id, award)]


def _given(rulebook: Rulebook, action_type: ActionType, facts: Facts) -> str:
    candidate = facts.candidate
    values = []
    for name, value in candidate.attributes.items():
        attribute = action_type.attributes.get(name)
        unit = f" {attribute.unit}" if attribute and attribute.unit else ""
        values.append(f"{name} {_shown(value)}{unit}")
    local = candidate.occurred_at.astimezone(rulebook.program.timezone)
    verified = "verified" if candidate.verified else "not verified"
    person = f", region {facts.region}" if facts.region else ""
    streak = f", streak of {facts.streak_days} days" if facts.streak_days else ""
    return (
        f"{', '.join(values) or 'no attributes'}; reported by a {candidate.reporter}, {verified},"
        f" on {local:%a %Y-%m-%d %H:%M} ({rulebook.program.timezone.key}){person}{streak}"
    )


def _dates(rulebook: Rulebook, rule: schema.Rule, facts: Facts) -> Iterator[Step]:
    day = rulebook.program.local_date(facts.candidate.occurred_at)
    if rule.from_ is not None:
        yield Step("from", f"{rule.from_}", (), "true" if day >= rule.from_ else "false")
    if rule.until is not None:
        yield Step("until", f"{rule.until}", (), "true" if day < rule.until else "false")


def _after(rulebook: Rulebook, rule_id: str, award: Award) -> Iterator[Step]:
    """What comes after a rule's own grams: campaign, limits, budget, and the award itself."""
    if award.failed:
        yield Step("result", "an expression failed; a rule that fails pays nothing", (), "0 g")
        return
    earned, saved, multiplied = carries_of(award)
    for carry, unit in ((saved, "g CO2e"), (earned, "g")):
        if carry is not None:
            yield Step("carried", *_carried(carry, unit))
    if award.campaign is not None:
        campaign = rulebook.campaigns[award.campaign]
        drawn = f", of which {award.drawn_g} g from its budget" if award.drawn_g else ""
        text = f"{campaign.title.default}: energy counts {_shown(float(campaign.times))} times"
        yield Step("campaign", text, (), f"{award.extra_g} g more{drawn}")
    if multiplied is not None:
        yield Step("carried", *_carried(multiplied, "g"))
    for limit in rulebook.rules[rule_id].limits:
        cuts = f"cuts to {award.energy_g} g" if award.limited_by == limit.text else "cuts nothing"
        by = f" by {limit.source.by}" if limit.source.by else ""
        yield Step("limit", limit.text + by, (), cuts)
    result = f"{award.energy_g} g of energy, {award.saved_g} g CO2e saved"
    yield Step("result", result)


def _carried(carry: Carry, unit: str) -> tuple[str, tuple[str, ...], str]:
    """How the day's sum came to an award: what was left over before, and what is after."""
    before, exact = carry.before_ng / GRAM_NG, carry.exact_ng / GRAM_NG
    text = f"{_shown(before)} {unit} from earlier that day + {_shown(exact)} {unit}"
    after = before + exact - carry.grams
    return text, (), f"{carry.grams} {unit}, {_shown(round(after, 9))} {unit} carried on"


@dataclass(slots=True)
class _Parts:
    """Takes expressions of one action apart."""

    rulebook: Rulebook
    action_type: ActionType
    facts: Facts
    _values: dict[str, object] = field(init=False)
    _activation: object = field(init=False)

    def __post_init__(self) -> None:
        candidate, program = self.facts.candidate, self.rulebook.program
        local = candidate.occurred_at.astimezone(program.timezone)
        self._values = {
            **candidate.attributes,
            **{f"_has_{key}": key in candidate.attributes for key in self.action_type.attributes},
            "verified": candidate.verified,
            "reporter": candidate.reporter,
            "region": self.facts.region,
            "hour": float(local.hour),
            "weekday": float(local.isoweekday()),
            "streak_days": float(self.facts.streak_days),
        }
        self._activation = self.action_type.scope.activation(self._values)

    def condition(self, name: str, text: str) -> Step:
        """Take a condition apart."""
        lines, result = self._apart(text, "condition")
        return Step(name, _one_line(text), lines, _UNKNOWN if result is None else _shown(result))

    def grams(self, name: str, text: str, unit: str) -> Step:
        """Take an amount apart, and round it as it is paid."""
        lines, result = self._apart(text, "number")
        grams = whole_grams(result) if isinstance(result, float) else None
        told = "no number of grams between 0 and 1,000,000: it fails"
        if grams is not None:
            told = f"{grams} {unit}"
            if result != grams:
                told += f" ({_shown(result)} rounded)"
        return Step(name, _one_line(text), lines, told)

    def _apart(
        self, text: str, wanted: Literal["number", "condition"]
    ) -> tuple[tuple[str, ...], object]:
        """Line by line how an expression is computed, and what comes of it."""
        compiled = self._compiled(text, wanted)
        if compiled is None:
            return (), None
        return tuple(self._lines(compiled.tree)), self._value(compiled.tree)

    def _compiled(self, text: str, wanted: Literal["number", "condition"]) -> Expression | None:
        kind = self.action_type
        return kind.scope.compile(text, wanted, present=frozenset(kind.attributes)).expression

    def _lines(self, tree: Node) -> Iterator[str]:
        """Factors with their sources first, then each part after those that it rests on."""
        taken = list(self._taken(tree))
        names = [str(node.value) for node in taken if node.kind == "name"]
        for name in dict.fromkeys(names):
            if name.startswith("factors."):
                yield self._factor(name.removeprefix("factors."))
        told: set[str] = set()
        for node in taken:
            if node.kind != "call" or literal(node) is not None or node.operator in _TOLD_BY_PARTS:
                continue
            value = self._value(node)
            line = f"{self._with_numbers(node)} = {'?' if value is None else _shown(value)}"
            if line not in told and value is not None:
                told.add(line)
                yield line

    def _taken(self, node: Node) -> Iterator[Node]:
        """Every part that counts, the inner ones first; of two branches the one that is taken."""
        children = list(node.nodes)
        if node.operator == "? :":
            verdict = self._value(children[0])
            children = [children[0], children[1 if verdict is True else 2]]
        for child in children:
            yield from self._taken(child)
        yield node

    def _factor(self, name: str) -> str:
        factor = self.rulebook.factors[name]
        where = f", {factor.url}" if factor.url else ""
        return (
            f"factors.{name} = {_shown(factor.value)} {factor.unit}"
            f" ({factor.source}, {factor.year}{where})"
        )

    def _value(self, node: Node) -> object:
        """What the engine makes of one part; None when that cannot be told."""
        value = literal(node)
        if value is not None:
            return value
        text = source_of(node)
        number = self._compiled(text, "number")
        if number is not None:
            return number.number(self._activation)
        condition = self._compiled(text, "condition")
        return None if condition is None else condition.holds(self._activation)

    def _with_numbers(self, node: Node) -> str:
        """One part with the values of its operands."""
        operands = [self._operand(child) for child in node.nodes]
        if node.operator in _METHODS:
            return f"{operands[0]} {node.operator} {operands[1]}"
        if len(operands) == 1 and node.operator == "-":
            return f"-{operands[0]}"
        if len(operands) == 2 and not node.operator.isalpha():
            sign = "x" if node.operator == "*" else node.operator
            return f"{operands[0]} {sign} {operands[1]}"
        if node.operator == "in":
            return f"{operands[0]} in {operands[1]}"
        return f"{node.operator}({', '.join(operands)})"

    def _operand(self, node: Node) -> str:
        if node.kind == "list":
            return f"[{', '.join(self._operand(child) for child in node.nodes)}]"
        if node.kind == "name":
            return self._named(str(node.value))
        value = self._value(node)
        return "?" if value is None else _shown(value)

    def _named(self, name: str) -> str:
        """A name's value with its unit."""
        if name.startswith("factors."):
            factor = self.rulebook.factors[name.removeprefix("factors.")]
            return f"{_shown(factor.value)} {factor.unit}"
        if name.startswith("_has_"):
            asked = name.removeprefix("_has_")
            return f"has({asked})" if asked in self.facts.candidate.attributes else f"no {asked}"
        attribute = self.action_type.attributes.get(name)
        value = self._values.get(name)
        if attribute is None:
            return f"{name} {_shown(value)}"
        if value is None:
            return f"no {name}"
        return f"{_shown(value)} {attribute.unit}" if attribute.unit else _shown(value)


def source_of(node: Node) -> str:
    """An expression that means this part of a tree."""
    value = literal(node)
    if value is not None:
        return _literal_source(value)
    if node.kind == "name":
        name = str(node.value)
        return f"has({name.removeprefix('_has_')})" if name.startswith("_has_") else name
    parts = [source_of(child) for child in node.nodes]
    if node.kind == "list":
        return f"[{', '.join(parts)}]"
    if node.operator == "? :":
        return f"({parts[0]} ? {parts[1]} : {parts[2]})"
    if node.operator in _METHODS:
        return f"{parts[0]}.{node.operator}({parts[1]})"
    if len(parts) == 1 and node.operator in {"!", "-"}:
        return f"{node.operator}({parts[0]})"
    if len(parts) == 2 and (not node.operator.isalpha() or node.operator == "in"):
        return f"({parts[0]} {node.operator} {parts[1]})"
    return f"{node.operator}({', '.join(parts)})"


def _literal_source(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = (c if c.isalnum() or c in " -_.:,;" else f"\\U{ord(c):08x}" for c in value)
        return '"' + "".join(plain) + '"'
    return repr(value)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.6g}" if value != int(value) else str(int(value))
    return repr(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def lines_of(steps: list[Step]) -> Iterator[str]:
    """The steps as people read them."""
    for step in steps:
        yield f"{step.name:<10} {step.text}" + (
            f": {step.result}" if step.result and not step.lines else ""
        )
        for line in step.lines:
            yield f"{'':<12} {line}"
        if step.lines and step.result:
            yield f"{'':<10} = {step.result}"
