"""Rules: their dates, expressions and limits, checked against the type they are for."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from service.rules.cel.expression import Compiled, Expression
from service.rules.cel.ranges import Range
from service.rules.compile.examples import check_examples
from service.rules.compile.limits import (
    LimitDraft,
    compile_limits,
    grams_text,
    warn_of_awards,
    warn_of_self_reports,
)
from service.rules.compile.types import TypeDraft, expression_findings, localized
from service.rules.decide.evaluate import whole_grams
from service.rules.decide.explain import explainer
from service.rules.decide.rulebook import GRAMS_MAX, Factor, Rule
from service.rules.language import schema
from service.rules.language.problems import Step
from service.rules.language.shape import Source, whole


@dataclass(slots=True)
class RuleDraft:
    """A rule in its file, on the way to be compiled."""

    source: Source
    path: tuple[Step, ...]
    shape: schema.Rule
    used_factors: set[str] = field(default_factory=set)
    # Amounts that are constant but rest on factors, whose sources an explanation must name.
    from_factors: dict[str, Expression] = field(default_factory=dict)
    limits: list[LimitDraft] = field(default_factory=list)
    # Between what the energy of one award lies, as far as it is known.
    award: Range | None = None


def compile_rule(
    draft: RuleDraft, types: Mapping[str, TypeDraft], factors: Mapping[str, Factor], language: str
) -> Rule | None:
    """Compile one rule; None when its type, an expression or a factor of it is faulty."""
    source, path, shape = draft.source, draft.path, draft.shape
    starts_on, ends_before = _dates(draft)
    title = localized(source, (*path, "title"), shape.title or shape.id, language)
    given = source.root.find(path).entries
    name = f"rule {shape.id}" if shape.id else "this rule"
    if "examples" not in given or not (shape.examples or given["examples"][1].kind != "list"):
        source.warn((*path, "id"), f"{name} has no example")
    if not {"saves", "earns"} & given.keys():
        source.warn((*path, "id"), f"{name} gives nothing: it has neither saves nor earns")
    kind = types.get(shape.action)
    check_examples(source, path, shape, kind)
    draft.limits = compile_limits(source, path, shape, kind)
    if kind is None or kind.scope is None:
        return None
    when = _when(draft, kind)
    saves_is_whole, saves = _grams(draft, kind, "saves", when, factors)
    earns_is_whole, earns = _grams(draft, kind, "earns", when, factors)
    warn_of_awards(draft.limits, draft.award)
    if shape.id and _takes_self_reports(kind, when):
        warn_of_self_reports(source, path, draft.limits, draft.award)
    if not (saves_is_whole and earns_is_whole) or (when and when.expression is None):
        return None
    if not draft.used_factors <= factors.keys() or not shape.id:
        return None  # one of them is faulty itself
    condition = when.expression if when and when.expression else None
    if condition and condition.constant is True:
        condition = None
    return Rule(
        id=shape.id,
        action=shape.action,
        title=title,
        starts_on=starts_on,
        ends_before=ends_before,
        when=condition,
        saves=0 if saves is None else saves,
        earns=earns,
        limits=tuple(limit.limit for limit in draft.limits),
        explain=explainer(
            draft.from_factors.get("saves", saves or 0),
            draft.from_factors.get("earns", earns),
            kind.attributes,
            factors,
        ),
    )


def _takes_self_reports(kind: TypeDraft, when: Compiled | None) -> bool:
    """Whether a report that only a person or a phone tells may be paid by the rule."""
    facts = (when or kind).facts
    tellers = {teller for _, teller in whole(kind.shape.reported_by)} - {"partner"}
    asked = facts.get("reporter")
    return facts.get("verified") is not True and bool(
        tellers & asked if isinstance(asked, frozenset) else tellers
    )


def _dates(draft: RuleDraft) -> tuple[dt.date | None, dt.date | None]:
    starts_on, ends_before = draft.shape.from_, draft.shape.until
    if starts_on and ends_before and starts_on >= ends_before:
        message = (
            f"until {ends_before} is not after from {starts_on}; until is the day after the last"
        )
        draft.source.fault((*draft.path, "until"), message)
    return starts_on, ends_before


def _when(draft: RuleDraft, kind: TypeDraft) -> Compiled | None:
    if draft.shape.when is None or kind.scope is None:
        return None
    path = (*draft.path, "when")
    outcome = kind.scope.compile(
        str(draft.shape.when), "condition", present=kind.present, facts=kind.facts
    )
    _note(draft, path, outcome)
    if outcome.expression and isinstance(outcome.expression.constant, bool):
        verdict = "always" if outcome.expression.constant else "never"
        draft.source.warn(path, f"this condition {verdict} holds")
    return outcome


def _grams(
    draft: RuleDraft,
    kind: TypeDraft,
    key: str,
    when: Compiled | None,
    factors: Collection[str],
) -> tuple[bool, float | Expression | None]:
    """Compile saves or earns: whether it is whole, and its grams, if it is given at all."""
    text = draft.shape.saves if key == "saves" else draft.shape.earns
    if text is None or kind.scope is None:
        return True, None
    path = (*draft.path, key)
    before = when or kind
    outcome = kind.scope.compile(str(text), "number", present=before.present, facts=before.facts)
    _note(draft, path, outcome)
    if outcome.expression is None:
        return False, None
    draft.award = outcome.grams
    if outcome.grams is not None and not isinstance(outcome.expression.constant, float):
        _check_grams(draft, path, outcome.expression, outcome.grams)
    constant = outcome.expression.constant
    if not isinstance(constant, float):
        return True, outcome.expression
    if outcome.factors:
        draft.from_factors[key] = outcome.expression
    grams = whole_grams(constant)
    if grams is None and outcome.factors.issubset(factors):
        draft.source.fault(
            path, f"{key} must lie between 0 and {GRAMS_MAX:,} g, not {constant:,.15g}"
        )
    return grams is not None, grams if grams == constant else constant


def _check_grams(
    draft: RuleDraft, path: tuple[Step, ...], expression: Expression, grams: Range
) -> None:
    """Tell of amounts that are beyond what an award can be: such an action earns nothing."""
    low, high = grams_text(grams.low), grams_text(grams.high)
    if grams.high < 0 or grams.low > GRAMS_MAX:
        message = f"this lies between {low} and {high} g: no action can earn that"
        draft.source.warn(path, f"{message}; allowed is 0 to {GRAMS_MAX:,} g")
        return
    names = [name for name in expression.tree.names() if not name.startswith(("factors.", "_has_"))]
    if len(names) > len(set(names)):
        return  # what is true of each alone need not be true of them together
    if -math.inf < grams.low < 0:
        message = (
            f"this can come to {low} g, and below 0 an action earns nothing; write max(0, ...)"
        )
        draft.source.warn(path, message)
    if math.inf > grams.high > GRAMS_MAX:
        message = f"this can come to {high} g, and above {GRAMS_MAX:,} g an action earns nothing"
        draft.source.warn(path, f"{message}; write min({GRAMS_MAX}, ...)")


def _note(draft: RuleDraft, path: tuple[Step, ...], outcome: Compiled) -> None:
    expression_findings(draft.source, path, outcome.findings)
    draft.used_factors |= outcome.factors
