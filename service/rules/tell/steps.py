"""How an award comes about, step by step: every expression with its numbers, units and sources.

The numbers are the engine's own: each part of an expression is computed by itself, on the very
values that decide an action.
"""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from service.rules.cel.expression import Expression
from service.rules.cel.text import METHODS
from service.rules.cel.tree import Node, literal
from service.rules.decide.evaluate import Award
from service.rules.decide.explain import Carry, carries_of
from service.rules.decide.grams import GRAM_NG, whole_grams
from service.rules.decide.judge import Candidate, Refusal, judge
from service.rules.decide.rulebook import ActionType, Rulebook
from service.rules.language import schema

# What their parts came to says it all.
_TOLD_BY_PARTS = frozenset(("? :", "&&", "||", "!"))
_UNKNOWN = "not known: something that it asks for did not come"
_CHOICES = frozenset(("min", "max"))

Wanted = Literal["number", "condition"]


class Step(Struct, frozen=True):
    """One step: what is asked, how it is computed line by line, and what comes out."""

    name: str
    text: str
    lines: tuple[str, ...] = ()
    result: str = ""


class Facts(Struct, frozen=True):
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
    parts = _Parts(rulebook, rulebook.action_types[rule.action], facts)
    steps = [parts.given()]
    judged = judge(rulebook, facts.candidate, facts.candidate.occurred_at)
    is_readable = not (isinstance(judged, Refusal) and judged.code == "invalid-attributes")
    if is_readable and kind.plausible is not None:
        steps.append(parts.condition("plausible", str(kind.plausible)))
    if isinstance(judged, Refusal):
        return [*steps, Step("refused", f"{judged.reason or judged.code}: {judged.detail}")]
    day = rulebook.program.local_date(facts.candidate.occurred_at)
    if rule.from_ is not None:
        steps.append(Step("from", str(rule.from_), result=_shown(day >= rule.from_)))
    if rule.until is not None:
        steps.append(Step("until", str(rule.until), result=_shown(day < rule.until)))
    if rule.when is not None:
        steps.append(parts.condition("when", str(rule.when)))
    if award is None:
        return [*steps, Step("result", "the rule does not apply")]
    saves = Step("saves", "nothing is claimed as saved", result="0 g CO2e")
    if rule.saves is not None:
        saves = parts.grams("saves", str(rule.saves), "g CO2e")
    earns = Step("earns", "what it saves", result=saves.result.replace(" CO2e", ""))
    if rule.earns is not None:
        earns = parts.grams("earns", str(rule.earns), "g")
    return [*steps, saves, earns, *_after(rulebook, rule.id, award)]


def _after(rulebook: Rulebook, rule_id: str, award: Award) -> Iterator[Step]:
    """What comes after a rule's own grams: campaign, limits, budget, and the award itself."""
    if award.failed:
        yield Step("result", "an expression failed; a rule that fails pays nothing", result="0 g")
        return
    earned, saved, multiplied = carries_of(award)
    yield from _carried(saved, "g CO2e")
    yield from _carried(earned, "g")
    if award.campaign is not None:
        campaign = rulebook.campaigns[award.campaign]
        drawn = f", of which {award.drawn_g} g from its budget" if award.drawn_g else ""
        text = f"{campaign.title.default}: energy counts {_shown(float(campaign.times))} times"
        yield Step("campaign", text, result=f"{award.extra_g} g more{drawn}")
    yield from _carried(multiplied, "g")
    for limit in rulebook.rules[rule_id].limits:
        cuts = f"cuts to {award.energy_g} g" if award.limited_by == limit.text else "cuts nothing"
        by = f" by {limit.source.by}" if limit.source.by else ""
        yield Step("limit", limit.text + by, result=cuts)
    yield Step("result", f"{award.energy_g} g of energy, {award.saved_g} g CO2e saved")


def _carried(carry: Carry | None, unit: str) -> Iterator[Step]:
    """How the day's sum came to an award: what was left over before, and what is after."""
    if carry is not None:
        before, exact = carry.before_ng / GRAM_NG, carry.exact_ng / GRAM_NG
        text = f"{_shown(before)} {unit} from earlier that day + {_shown(exact)} {unit}"
        after = _shown(round(before + exact - carry.grams, 9))
        yield Step("carried", text, result=f"{carry.grams} {unit}, {after} {unit} carried on")


class _Parts:
    """Takes expressions of one action apart."""

    def __init__(self, rulebook: Rulebook, action_type: ActionType, facts: Facts) -> None:
        self.rulebook, self.action_type, self.facts = rulebook, action_type, facts
        candidate = facts.candidate
        self._local = candidate.occurred_at.astimezone(rulebook.program.timezone)
        self._values = {
            **candidate.attributes,
            **{f"_has_{key}": key in candidate.attributes for key in action_type.attributes},
            "verified": candidate.verified,
            "reporter": candidate.reporter,
            "region": facts.region,
            "hour": float(self._local.hour),
            "weekday": float(self._local.isoweekday()),
            "streak_days": float(facts.streak_days),
        }
        self._activation = action_type.scope.activation(self._values)

    def given(self) -> Step:
        """What was reported, by whom and when."""
        facts, candidate = self.facts, self.facts.candidate
        given = candidate.attributes.items()
        values = ", ".join(f"{name} {self._with_unit(name, value)}" for name, value in given)
        verified = "verified" if candidate.verified else "not verified"
        person = f", region {facts.region}" if facts.region else ""
        streak = f", streak of {facts.streak_days} days" if facts.streak_days else ""
        return Step(
            "given",
            f"{values or 'no attributes'}; reported by a {candidate.reporter}, {verified}, on"
            f" {self._local:%a %Y-%m-%d %H:%M} ({self.rulebook.program.timezone.key})"
            f"{person}{streak}",
        )

    def _with_unit(self, name: str, value: object) -> str:
        attribute = self.action_type.attributes.get(name)
        unit = f" {attribute.unit}" if attribute and attribute.unit else ""
        return f"{_shown(value)}{unit}"

    def condition(self, name: str, text: str) -> Step:
        """Take a condition apart."""
        lines, result = self._apart(text, "condition")
        return Step(
            name, " ".join(text.split()), lines, _UNKNOWN if result is None else _shown(result)
        )

    def grams(self, name: str, text: str, unit: str) -> Step:
        """Take an amount apart, and round it as it is paid."""
        lines, result = self._apart(text, "number")
        grams = whole_grams(result) if isinstance(result, float) else None
        told = "no number of grams between 0 and 1,000,000: it fails"
        if grams is not None:
            told = f"{grams} {unit}"
            if result != grams:
                told += f" ({_shown(result)} rounded)"
        return Step(name, " ".join(text.split()), lines, told)

    def _apart(self, text: str, wanted: Wanted) -> tuple[tuple[str, ...], object]:
        """Line by line how an expression is computed, and what comes of it."""
        compiled = self._compiled(text, wanted)
        if compiled is None:
            return (), None
        return tuple(self._lines(compiled.tree)), self._value(compiled.tree)

    def _compiled(self, text: str, wanted: Wanted) -> Expression | None:
        kind = self.action_type
        return kind.scope.compile(text, wanted, present=frozenset(kind.attributes)).expression

    def _lines(self, tree: Node) -> Iterator[str]:
        """Factors with their sources first, then each part after those that it rests on."""
        taken = list(self._taken(tree))
        names = dict.fromkeys(str(node.value) for node in taken if node.kind == "name")
        yield from (self._factor(name) for name in names if name.startswith("factors."))
        calls = [node for node in taken if node.kind == "call" and literal(node) is None]
        computed = [node for node in calls if node.operator not in _TOLD_BY_PARTS]
        told = [(node, self._value(node)) for node in computed]
        lines = [
            f"{self._with_numbers(n)} = {_shown(value)}" for n, value in told if value is not None
        ]
        yield from dict.fromkeys(lines)

    def _taken(self, node: Node) -> Iterator[Node]:
        """Every part that counts, the inner ones first; of two branches the one that is taken."""
        children = node.nodes
        if node.operator == "? :":
            children = (children[0], children[1 if self._value(children[0]) is True else 2])
        for child in children:
            yield from self._taken(child)
        yield node

    def _factor(self, name: str) -> str:
        factor = self.rulebook.factors[name.removeprefix("factors.")]
        where = f", {factor.url}" if factor.url else ""
        source = f"{factor.source}, {factor.year}{where}"
        return f"{name} = {_shown(factor.value)} {factor.unit} ({source})"

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
        operator, operands = node.operator, [self._operand(child) for child in node.nodes]
        if len(operands) == 2 and operator not in _CHOICES:
            return f"{operands[0]} {'x' if operator == '*' else operator} {operands[1]}"
        return f"-{operands[0]}" if operator == "-" else f"{operator}({', '.join(operands)})"

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
        value = self._values.get(name)
        if name not in self.action_type.attributes:
            return f"{name} {_shown(value)}"
        return f"no {name}" if value is None else self._with_unit(name, value)


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
    operator = node.operator
    if operator == "? :":
        return "({} ? {} : {})".format(*parts)
    if operator in METHODS:
        return f"{parts[0]}.{operator}({parts[1]})"
    if len(parts) == 2 and operator not in _CHOICES:
        return f"({parts[0]} {operator} {parts[1]})"
    return f"{operator}({', '.join(parts)})"


def _literal_source(value: object) -> str:
    if not isinstance(value, str):
        return _shown(value) if isinstance(value, bool) else repr(value)
    plain = (c if c.isalnum() or c in " -_.:,;" else f"\\U{ord(c):08x}" for c in value)
    return f'"{"".join(plain)}"'


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.6g}" if not float(value).is_integer() else str(int(value))
    return repr(value)


def lines_of(steps: list[Step]) -> Iterator[str]:
    """The steps as people read them."""
    for step in steps:
        result = f": {step.result}" if step.result and not step.lines else ""
        yield f"{step.name:<10} {step.text}{result}"
        yield from (f"{'':<12} {line}" for line in step.lines)
        if step.lines and step.result:
            yield f"{'':<10} = {step.result}"
