"""What a change of the rules means, in an operator's words and by what the examples come to.

Texts, comments, order of keys, files and rules do not matter here; what people earn and save does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Struct

from service.rules.cel.expression import Scope
from service.rules.cel.tree import Node
from service.rules.language import schema
from service.rules.language.problems import Problem
from service.rules.tell.consequences import Consequence, compare_examples
from service.rules.tell.rule_set import BrokenSetError, RuleSet
from service.rules.tell.words import (
    described,
    fields_of,
    in_languages,
    jump,
    leaves,
    limit_amount,
    limit_identity,
    limit_text,
    shown,
)
from service.rules.tell.worries import (
    FactorWorry,
    attribute_worry,
    campaign_worry,
    new_rule_worry,
    program_worry,
    rule_worry,
    type_worry,
)

Section = Literal["program", "factors", "action_types", "rules", "campaigns", "badges"]
Kind = Literal["added", "removed", "changed"]

_DEFAULTS = {"saves": "0", "earns": "what it saves"}
_TITLES = ("title", "hint")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `warning` says why it deserves a second look before it is published."""

    section: Section
    id: str
    field: str
    kind: Kind
    before: str | None
    after: str | None
    text: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs; `examples` tells how many were compared, `left` how many were not."""

    changes: tuple[Change, ...]
    consequences: tuple[Consequence, ...]
    examples: int
    left: int

    @property
    def same(self) -> bool:
        """Whether both sets mean the same."""
        return not self.changes

    def lines(self) -> Iterator[tuple[str, bool]]:
        """The report for people: each line, and whether it deserves a second look."""
        if self.same:
            yield "no difference in meaning", False
            return
        for change in self.changes:
            why = f" ({change.warning})" if change.warning else ""
            yield f"{'!' if why else ' '} {change.text}{why}", bool(why)
        if self.consequences:
            yield "the examples come to:", False
        for consequence in self.consequences:
            why = f" ({consequence.warning})" if consequence.warning else ""
            yield f"{'!' if why else ' '} {consequence.text}{why}", bool(why)
        loud = sum(change.warning is not None for change in self.changes)
        loud += sum(consequence.warning is not None for consequence in self.consequences)
        told = f"{_counted(len(self.changes), 'change')}, "
        otherwise = sum(bool(consequence.before) for consequence in self.consequences)
        if otherwise:
            told += f"{_counted(otherwise, 'example')} otherwise"
        else:
            told += "every example comes out as before"
        if new := len(self.consequences) - otherwise:
            told += f", {_counted(new, 'new one')}"
        yield f"{told}; {loud} to look at twice (!)" if loud else told, False
        if self.left:
            yield f"{self.left} examples were not compared: there are too many", False


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def difference_json(difference: Difference) -> dict[str, Any]:
    """The report for programs."""
    return {"same": difference.same, **msgspec.to_builtins(difference)}


def diff(before: Mapping[str, str], after: Mapping[str, str]) -> Difference:
    """Compare two sets of rule files (name to text). Raises BrokenSetError, for both at once."""
    sides: list[RuleSet] = []
    problems: list[Problem] = []
    for files in (before, after):
        try:
            sides.append(RuleSet(files))
        except BrokenSetError as error:
            problems += error.problems
    if problems:
        raise BrokenSetError(problems)
    old, new = sides
    changes = tuple(_Comparison(old, new).run())
    if not changes:
        return Difference((), (), 0, 0)
    limited = {change.id for change in changes if change.field == "limits"}
    compared = compare_examples(old.draft, new.draft, limited)
    return Difference(changes, compared.consequences, compared.examples, compared.left)


@dataclass(slots=True)
class _Words:
    """How differences of one section are told."""

    section: Section
    id: str
    label: str
    units: Mapping[str, str] = field(default_factory=dict)
    worry: Callable[[str, Any, Any], str | None] = lambda _name, _old, _new: None

    def changes(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
        """Tell each value that differs."""
        for name, old, new in fields_of(before, after):
            yield self.change(name, old, new, name)

    def change(
        self, name: str, old: Any, new: Any, told: str, warning: str | None = None
    ) -> Change:
        """Tell one value that differs; None stands for one that is not there."""
        was = None if old is None else shown(old)
        now = None if new is None else shown(new)
        unit = self.units.get(name, "")
        told = f"{told} " if told else ""
        kind: Kind = "added" if was is None else "removed" if now is None else "changed"
        text = {
            "added": f"{told}{now}{unit} (new)",
            "removed": f"{told}{was}{unit} removed",
            "changed": f"{told}{was} -> {now}{unit}",
        }[kind]
        why = warning or self.worry(name, old, new)
        return Change(self.section, self.id, name, kind, was, now, f"{self.label}: {text}", why)

    def whole(self, kind: Kind, what: str, warning: str | None = None) -> Change:
        """Tell that all of it came or went."""
        was, now = (None, what) if kind == "added" else (what, None)
        text = f"{self.label}: {kind}" + (f": {what}" if what else "")
        return Change(self.section, self.id, "", kind, was, now, text, warning)


class _Comparison:
    """Walks the sections of two sets side by side."""

    def __init__(self, old: RuleSet, new: RuleSet) -> None:
        self._old, self._new = old, new

    def run(self) -> Iterator[Change]:
        """All changes, section by section, in order of ids."""
        old, new = self._old, self._new
        words = _Words("program", "", "program", worry=program_worry)
        yield from words.changes(leaves(old.program), leaves(new.program))
        yield from self._each(old.factors, new.factors, self._factor)
        yield from self._each(old.types, new.types, self._type)
        yield from self._each(old.rules, new.rules, self._rule)
        yield from self._each(old.campaigns, new.campaigns, self._campaign)
        yield from self._each(old.badges, new.badges, self._badge)

    @staticmethod
    def _each(
        old: Mapping[str, Any],
        new: Mapping[str, Any],
        compare: Callable[[str, Any, Any], Iterator[Change]],
    ) -> Iterator[Change]:
        for name in sorted({*old, *new}):
            before, after = old.get(name), new.get(name)
            if before != after:
                yield from compare(name, before, after)

    def _leaves(self, item: Struct, *, of: RuleSet, but: tuple[str, ...]) -> dict[str, Any]:
        values = leaves(item, but=frozenset(("id", *but)))
        for name in _TITLES:
            if values.get(name):
                values[name] = in_languages(values[name], of.program.language)
        return values

    def _plain(
        self, words: _Words, before: Struct | None, after: Struct | None, *but: str
    ) -> Iterator[Change]:
        """Compare what has no expressions; say it whole when one side has none."""
        old = {} if before is None else self._leaves(before, of=self._old, but=but)
        new = {} if after is None else self._leaves(after, of=self._new, but=but)
        if before is not None and after is not None:
            yield from words.changes(old, new)
            return
        values = {name: value for name, value in (old or new).items() if name not in _TITLES}
        kind: Kind = "added" if before is None else "removed"
        yield words.whole(kind, described(values), words.worry("", before, after))

    def _factor(
        self, name: str, before: schema.Factor | None, after: schema.Factor | None
    ) -> Iterator[Change]:
        users = (self._new if after else self._old).users_of(name)
        used = f", used by {', '.join(users)}" if users else ", used by no rule"
        unit = f" {after.unit}" if after else ""
        words = _Words("factors", name, f"factors.{name}")
        words.units = {"value": unit + used, "unit": used}
        if before and after:
            words.worry = FactorWorry(before, after).tell
        yield from self._plain(words, before, after)

    def _campaign(
        self, name: str, before: schema.Campaign | None, after: schema.Campaign | None
    ) -> Iterator[Change]:
        gone = [one for id_, one in self._old.campaigns.items() if id_ not in self._new.campaigns]
        worry = partial(campaign_worry, gone=gone)
        words = _Words("campaigns", name, f"campaign {name}", worry=worry)
        words.units = {"budget_g": " g"}
        yield from self._plain(words, before, after)

    def _badge(
        self, name: str, before: schema.Badge | None, after: schema.Badge | None
    ) -> Iterator[Change]:
        yield from self._plain(_Words("badges", name, f"badge {name}"), before, after)

    def _type(
        self, name: str, before: schema.ActionType | None, after: schema.ActionType | None
    ) -> Iterator[Change]:
        words = _Words("action_types", name, name, worry=type_worry)
        if before is None or after is None:
            yield from self._plain(words, before, after, "attributes", "plausible")
            return
        yield from self._plain(words, before, after, "attributes", "plausible")
        for key in dict.fromkeys((*before.attributes, *after.attributes)):
            yield from self._attribute(
                words, key, before.attributes.get(key), after.attributes.get(key)
            )
        if not self._same_expression(name, name, (before.plausible, after.plausible), "condition"):
            yield words.change("plausible", before.plausible, after.plausible, "plausible")

    def _attribute(
        self,
        words: _Words,
        key: str,
        before: schema.Attribute | None,
        after: schema.Attribute | None,
    ) -> Iterator[Change]:
        if before is None or after is None:
            attribute = before or after
            assert attribute is not None  # one of the two has it
            values = described(leaves(attribute))
            told = _Words("action_types", words.id, f"{words.label}: attribute {key}")
            kind: Kind = "added" if before is None else "removed"
            warning = None
            if kind == "removed":
                warning = "reports that still send it are refused"
            elif after is not None and after.required:
                warning = "reports without it are refused"
            yield told.whole(kind, values, warning)
            return
        unit = "" if after.unit is None else f" {after.unit}"
        for name, old, new in fields_of(leaves(before), leaves(after)):
            told = _Words("action_types", words.id, words.label, worry=attribute_worry)
            if name in {"minimum", "maximum"}:
                told.units = {name: unit}
            yield told.change(name, old, new, f"{key} {name}")

    def _rule(
        self, name: str, before: schema.Rule | None, after: schema.Rule | None
    ) -> Iterator[Change]:
        words = _Words("rules", name, name, worry=rule_worry)
        if before is None or after is None:
            rule = before or after
            assert rule is not None  # one of the two has it
            kind: Kind = "added" if before is None else "removed"
            gone = [old for id_, old in self._old.rules.items() if id_ not in self._new.rules]
            warning = new_rule_worry(rule, gone) if kind == "added" else None
            yield words.whole(kind, _rule_text(rule), warning)
            return
        yield from self._plain(words, before, after, "when", "saves", "earns", "limits", "examples")
        for key in ("when", "saves", "earns"):
            yield from self._amount(words, key, before, after)
        yield from _limits(words, before.limits, after.limits)
        yield from _examples(words, before.examples, after.examples)

    def _amount(
        self, words: _Words, key: str, before: schema.Rule, after: schema.Rule
    ) -> Iterator[Change]:
        texts = getattr(before, key), getattr(after, key)
        wanted = "condition" if key == "when" else "number"
        default = _DEFAULTS.get(key)
        known = tuple(default if default == "0" and text is None else text for text in texts)
        if self._same_expression(before.action, after.action, known, wanted):
            return
        old, new = (default if default and text is None else text for text in texts)
        amounts = _constant(texts[0]), _constant(texts[1])
        if amounts[1] is not None:
            words.units = {key: " g"}
        warning = None
        if amounts[0] is not None and amounts[1] is not None:
            warning = jump(amounts[0], amounts[1])
        yield words.change(key, old, new, key, warning)
        words.units = {}

    def _same_expression(
        self, before_type: str, after_type: str, texts: tuple[Any, ...], wanted: str
    ) -> bool:
        if texts[0] == texts[1]:
            return True
        trees = (
            _meaning(self._old.scope_of(before_type), texts[0], wanted),
            _meaning(self._new.scope_of(after_type), texts[1], wanted),
        )
        return trees[0] == trees[1]


def _meaning(known: tuple[Scope, frozenset[str]] | None, text: Any, wanted: Any) -> object:
    """What an expression means, apart from how it is written; None when it changes nothing."""
    if text is None:
        return None
    if known is None:
        return str(text)
    scope, attributes = known
    expression = scope.compile(str(text), wanted, present=attributes).expression
    if expression is None:
        return str(text)
    if expression.constant is True:
        return None
    if isinstance(expression.constant, float) and not any(expression.tree.names()):
        return expression.constant
    return _bare(expression.tree)


def _bare(node: Node) -> tuple[object, ...]:
    return (node.kind, node.value, *(_bare(child) for child in node.nodes))


def _constant(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _rule_text(rule: schema.Rule) -> str:
    """A whole rule in one line."""
    parts = [f"for {rule.action}"]
    for key in ("from_", "until", "when", "saves", "earns"):
        value = getattr(rule, key)
        if value is not None:
            parts.append(f"{key.rstrip('_')} {shown(value)}")
    parts += [f"limit {limit_text(limit)}" for limit in rule.limits]
    return ", ".join(parts)


def _limits(
    words: _Words, before: tuple[schema.Limit, ...], after: tuple[schema.Limit, ...]
) -> Iterator[Change]:
    old = {limit_identity(limit): limit for limit in before}
    new = {limit_identity(limit): limit for limit in after}
    for identity in dict.fromkeys((*old, *new)):
        was, now = old.get(identity), new.get(identity)
        if was == now:
            continue
        warning = None
        if was is not None and now is None:
            left = ", ".join(limit_text(limit) for limit in after)
            warning = f"left: {left}" if left else "nothing limits it any more"
        elif was is not None and now is not None:
            warning = jump(limit_amount(was), limit_amount(now))
        old_text, new_text = (None if limit is None else limit_text(limit) for limit in (was, now))
        yield words.change("limits", old_text, new_text, "limit", warning)
    kept_before = [limit_text(limit) for identity, limit in old.items() if identity in new]
    kept_after = [limit_text(old[identity]) for identity in new if identity in old]
    if kept_before != kept_after:
        told = (", then ".join(kept_before), ", then ".join(kept_after))
        yield words.change("limits", *told, "order of limits")


def _examples(
    words: _Words, before: tuple[schema.Example, ...], after: tuple[schema.Example, ...]
) -> Iterator[Change]:
    old = {example.name: example for example in before}
    new = {example.name: example for example in after}
    for name in dict.fromkeys((*old, *new)):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        told = f"example {name!r}"
        if was is not None and now is not None and _case(was) == _case(now):
            told += " expects"
            yield words.change("examples", _expects(was), _expects(now), told)
        else:
            old_case, new_case = (None if one is None else _case(one) for one in (was, now))
            yield words.change("examples", old_case, new_case, told)


def _case(example: schema.Example) -> str:
    context = leaves(example.context)
    return described({**example.given, **{k: v for k, v in context.items() if v not in ("", 0)}})


def _expects(example: schema.Example) -> str:
    return described(leaves(example.expect))
