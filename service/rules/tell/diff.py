"""What a change of the rules means, in an operator's words and by what the examples come to.

Texts, comments, order of keys, files and rules do not matter here; what people earn and save does.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from service.rules.cel.expression import Scope
from service.rules.cel.tree import Node
from service.rules.language import schema
from service.rules.language.problems import Problem
from service.rules.tell.changes import ChangeAnswer, RulebookDifference, Words
from service.rules.tell.consequences import compare_examples
from service.rules.tell.rule_set import BrokenSetError, RuleSet
from service.rules.tell.words import (
    described,
    fields_of,
    jump,
    leaves,
    limit_amount,
    limit_identity,
    limit_text,
    pairs,
    shown,
)
from service.rules.tell.worries import (
    attribute_worry,
    campaign_worry,
    factor_worry,
    new_rule_worry,
    program_worry,
    rule_worry,
    type_worry,
)

_DEFAULTS = {"saves": "0", "earns": "what it saves"}
_TITLES = ("title", "hint")


def diff(before: Mapping[str, str], after: Mapping[str, str]) -> RulebookDifference:
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
        return RulebookDifference(True, (), (), 0, 0)
    limited = {change.id for change in changes if change.field == "limits"}
    return RulebookDifference(False, changes, *compare_examples(old, new, limited))


class _Comparison:
    """Walks the sections of two sets side by side."""

    def __init__(self, old: RuleSet, new: RuleSet) -> None:
        self._old, self._new = old, new

    def run(self) -> Iterator[ChangeAnswer]:
        """All changes, section by section, in order of ids."""
        old, new = self._old, self._new
        words = Words("program", "", "program", worry=program_worry)
        yield from words.changes(leaves(old.program), leaves(new.program))
        walks: Mapping[str, Callable[[str, Any, Any], Iterator[ChangeAnswer]]] = {
            "factors": self._factor, "types": self._type, "rules": self._rule,
            "campaigns": self._campaign, "badges": self._badge,
        }  # fmt: skip
        for section, compare in walks.items():
            for one in sorted(pairs(getattr(old, section), getattr(new, section))):
                yield from compare(*one)

    def _leaves(self, item: Struct, *, of: RuleSet, but: tuple[str, ...]) -> dict[str, Any]:
        values = leaves(item, but=frozenset(("id", *but)))
        for name in _TITLES:
            text = values.get(name)
            if text and isinstance(text, str):
                values[name] = {of.program.language: text}
        return values

    def _plain(
        self, words: Words, before: Struct | None, after: Struct | None, *but: str
    ) -> Iterator[ChangeAnswer]:
        """Compare what has no expressions; say it whole when one side has none."""
        old = {} if before is None else self._leaves(before, of=self._old, but=but)
        new = {} if after is None else self._leaves(after, of=self._new, but=but)
        if before is not None and after is not None:
            yield from words.changes(old, new)
            return
        values = {name: value for name, value in (old or new).items() if name not in _TITLES}
        warning = words.worry("", before, after)
        yield words.whole(described(values), warning, is_new=before is None)

    def _factor(
        self, name: str, before: schema.Factor | None, after: schema.Factor | None
    ) -> Iterator[ChangeAnswer]:
        users = (self._new if after else self._old).users_of(name)
        used = f", used by {', '.join(users)}" if users else ", used by no rule"
        unit = f" {after.unit}" if after else ""
        words = Words("factors", name, f"factors.{name}")
        words.units = {"value": unit + used, "unit": used}
        if before and after:
            words.worry = partial(factor_worry, before=before, after=after)
        yield from self._plain(words, before, after)

    def _campaign(
        self, name: str, before: schema.Campaign | None, after: schema.Campaign | None
    ) -> Iterator[ChangeAnswer]:
        gone = [one for id_, one in self._old.campaigns.items() if id_ not in self._new.campaigns]
        worry = partial(campaign_worry, gone=gone, most=self._new.draft.worries.get(name))
        words = Words("campaigns", name, f"campaign {name}", worry=worry)
        words.units = {"budget_g": " g"}
        yield from self._plain(words, before, after)

    def _badge(
        self, name: str, before: schema.Badge | None, after: schema.Badge | None
    ) -> Iterator[ChangeAnswer]:
        yield from self._plain(Words("badges", name, f"badge {name}"), before, after)

    def _type(
        self, name: str, before: schema.ActionType | None, after: schema.ActionType | None
    ) -> Iterator[ChangeAnswer]:
        words = Words("action_types", name, name, worry=type_worry)
        yield from self._plain(words, before, after, "attributes", "plausible")
        if before is None or after is None:
            return
        for key, old, new in pairs(before.attributes, after.attributes):
            yield from self._attribute(words, key, old, new)
        if not self._same_expression(name, name, (before.plausible, after.plausible), "condition"):
            yield words.change("plausible", before.plausible, after.plausible, "plausible")

    def _attribute(
        self,
        words: Words,
        key: str,
        before: schema.Attribute | None,
        after: schema.Attribute | None,
    ) -> Iterator[ChangeAnswer]:
        if before is None or after is None:
            told = Words("action_types", words.id, f"{words.label}: attribute {key}")
            warning = "reports without it are refused" if after and after.required else None
            if after is None:
                warning = "reports that still send it are refused"
            for one in filter(None, (before, after)):
                yield told.whole(described(leaves(one)), warning, is_new=before is None)
            return
        unit = "" if after.unit is None else f" {after.unit}"
        for name, old, new in fields_of(leaves(before), leaves(after)):
            told = Words("action_types", words.id, words.label, worry=attribute_worry)
            if name in {"minimum", "maximum"}:
                told.units = {name: unit}
            yield told.change(name, old, new, f"{key} {name}")

    def _rule(
        self, name: str, before: schema.Rule | None, after: schema.Rule | None
    ) -> Iterator[ChangeAnswer]:
        words = Words("rules", name, name, worry=rule_worry)
        if before is None or after is None:
            gone = [old for id_, old in self._old.rules.items() if id_ not in self._new.rules]
            warning = new_rule_worry(after, gone) if after else None
            for one in filter(None, (before, after)):
                yield words.whole(_rule_text(one), warning, is_new=before is None)
            return
        yield from self._plain(words, before, after, "when", "saves", "earns", "limits", "examples")
        for key in ("when", "saves", "earns"):
            yield from self._amount(words, key, before, after)
        yield from _limits(words, before.limits, after.limits)
        yield from _examples(words, before.examples, after.examples)

    def _amount(
        self, words: Words, key: str, before: schema.Rule, after: schema.Rule
    ) -> Iterator[ChangeAnswer]:
        texts = getattr(before, key), getattr(after, key)
        wanted = "condition" if key == "when" else "number"
        default = _DEFAULTS.get(key)
        known = tuple(default if default == "0" and text is None else text for text in texts)
        if self._same_expression(before.action, after.action, known, wanted):
            return
        old, new = (default if default and text is None else text for text in texts)
        before_g, after_g = map(_constant, texts)
        words.units = {} if after_g is None else {key: " g"}
        warning = jump(before_g or 0, after_g or 0)
        yield words.change(key, old, new, key, warning)
        words.units = {}

    def _same_expression(
        self, before_type: str, after_type: str, texts: tuple[Any, ...], wanted: str
    ) -> bool:
        old, new = self._old.scope_of(before_type), self._new.scope_of(after_type)
        if texts[0] == texts[1]:
            return True
        return _meaning(old, texts[0], wanted) == _meaning(new, texts[1], wanted)


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
    keys = ("from_", "until", "when", "saves", "earns")
    given = {key.rstrip("_"): getattr(rule, key) for key in keys}
    parts = [f"{key} {shown(value)}" for key, value in given.items() if value is not None]
    limits = [f"limit {limit_text(limit)}" for limit in rule.limits]
    return ", ".join([f"for {rule.action}", *parts, *limits])


def _limits(
    words: Words, before: tuple[schema.Limit, ...], after: tuple[schema.Limit, ...]
) -> Iterator[ChangeAnswer]:
    old = {limit_identity(limit): limit for limit in before}
    new = {limit_identity(limit): limit for limit in after}
    for _, was, now in pairs(old, new):
        warning = None
        if was is not None and now is None:
            left = ", ".join(limit_text(limit) for limit in after)
            warning = f"left: {left}" if left else "nothing limits it any more"
        elif was is not None and now is not None:
            warning = jump(limit_amount(was), limit_amount(now))
        old_text, new_text = (limit and limit_text(limit) for limit in (was, now))
        yield words.change("limits", old_text, new_text, "limit", warning)
    kept_before = [limit_text(limit) for identity, limit in old.items() if identity in new]
    kept_after = [limit_text(old[identity]) for identity in new if identity in old]
    if kept_before != kept_after:
        told = (", then ".join(kept_before), ", then ".join(kept_after))
        yield words.change("limits", *told, "order of limits")


def _examples(
    words: Words, before: tuple[schema.Example, ...], after: tuple[schema.Example, ...]
) -> Iterator[ChangeAnswer]:
    old = {example.name: example for example in before}
    new = {example.name: example for example in after}
    for name, was, now in pairs(old, new):
        told = f"example {name!r}"
        if was is not None and now is not None and _case(was) == _case(now):
            wanted_then, wanted_now = (described(leaves(one.expect)) for one in (was, now))
            yield words.change("examples", wanted_then, wanted_now, f"{told} expects")
        else:
            old_case, new_case = (example and _case(example) for example in (was, now))
            yield words.change("examples", old_case, new_case, told)


def _case(example: schema.Example) -> str:
    context = leaves(example.context)
    return described({**example.given, **{k: v for k, v in context.items() if v not in ("", 0)}})
