"""Rules: their dates, expressions and limits, checked against the type they are for."""

import math
from collections.abc import Collection, Mapping
from typing import Literal

from msgspec import Struct, field

from service.rules.cel.expression import Compiled, Expression, Scope
from service.rules.cel.ranges import Range
from service.rules.compile.examples import check_examples
from service.rules.compile.limits import LimitDraft, compile_limits, grams_text, warn_of_awards
from service.rules.compile.texts import check_dates, localized, note_findings
from service.rules.compile.types import TypeDraft
from service.rules.decide.explain import explainer
from service.rules.decide.grams import whole_grams
from service.rules.decide.rulebook import GRAMS_MAX, Rule
from service.rules.language import schema
from service.rules.language.shape import Source, whole


class RuleDraft(Struct):
    """A rule in its file, on the way to be compiled."""

    source: Source
    shape: schema.Rule
    used_factors: set[str] = field(default_factory=set)
    # Amounts that are constant but rest on factors, whose sources an explanation must name.
    from_factors: dict[str, Expression] = field(default_factory=dict)
    limits: list[LimitDraft] = field(default_factory=list)
    # Between what the energy of one award lies, as far as it is known.
    award: Range | None = None
    # The same of a report that nobody verifies, where it earns anything.
    believed: Range | None = None


def compile_rule(
    draft: RuleDraft,
    types: Mapping[str, TypeDraft],
    factors: Mapping[str, schema.Factor],
    language: str,
) -> Rule | None:
    """Compile one rule; None when its type, an expression or a factor of it is faulty."""
    source, shape = draft.source, draft.shape
    check_dates(source, shape.from_, shape.until)
    title = localized(source.at("title"), shape.title or shape.id, language)
    given = source.node.entries
    name = f"rule {shape.id}" if shape.id else "this rule"
    if "examples" not in given or not (shape.examples or given["examples"][1].kind != "list"):
        source.at("id").warn(f"{name} has no example")
    if not {"saves", "earns"} & given.keys():
        source.at("id").warn(f"{name} gives nothing: it has neither saves nor earns")
    kind = types.get(shape.action)
    check_examples(source, shape, kind)
    draft.limits = compile_limits(source, shape, kind)
    if kind is None or kind.scope is None:
        return None
    when = _compiled(draft, kind.scope, "when", kind.plausible)
    condition = when.expression if when else None
    if condition and isinstance(condition.constant, bool):
        verdict = "always" if condition.constant else "never"
        source.at("when").warn(f"this condition {verdict} holds")
    before = when or kind.plausible
    saves_is_whole, saves = _grams(draft, kind.scope, "saves", before, factors)
    saved = draft.award
    earns_is_whole, earns = _grams(draft, kind.scope, "earns", before, factors)
    warn_of_awards(draft.limits, draft.award)
    if shape.id and draft.award and _takes_self_reports(kind, when):
        draft.believed = draft.award if draft.award.high > 0 else None
        if kind.claim and saved and draft.award.high <= 0 < saved.high:
            each = f"each can save {grams_text(min(saved.high, GRAMS_MAX))} g, which no limit ends"
            source.at("id").warn(f"nobody verifies the numbers claimed here: {each}; it earns 0 g")
    if not (saves_is_whole and earns_is_whole) or (when and condition is None):
        return None
    if not draft.used_factors <= factors.keys() or not shape.id:
        return None  # one of them is faulty itself
    if condition and condition.constant is True:
        condition = None
    return Rule(
        id=shape.id,
        action=shape.action,
        title=title,
        starts_on=shape.from_,
        ends_before=shape.until,
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
    facts = (when or kind.plausible).facts
    tellers = {teller for _, teller in whole(kind.shape.reported_by)} - {"partner"}
    asked = facts.get("reporter")
    return facts.get("verified") is not True and bool(
        tellers & asked if isinstance(asked, frozenset) else tellers
    )


def _compiled(
    draft: RuleDraft,
    scope: Scope,
    key: Literal["when", "saves", "earns"],
    before: Compiled,
) -> Compiled | None:
    """Compile one of a rule's expressions, if it is given; `before` tells what holds there."""
    text = getattr(draft.shape, key)
    if text is None:
        return None
    wanted: Literal["number", "condition"] = "condition" if key == "when" else "number"
    outcome = scope.compile(str(text), wanted, present=before.present, facts=before.facts)
    note_findings(draft.source.at(key), outcome.findings)
    draft.used_factors |= outcome.factors
    return outcome


def _grams(
    draft: RuleDraft,
    scope: Scope,
    key: Literal["saves", "earns"],
    before: Compiled,
    factors: Collection[str],
) -> tuple[bool, float | Expression | None]:
    """Compile what is saved or earned: whether it is whole, and its grams, if given at all."""
    outcome = _compiled(draft, scope, key, before)
    if outcome is None:
        return True, None
    expression, source = outcome.expression, draft.source.at(key)
    if expression is None:
        return False, None
    draft.award = outcome.grams
    constant = expression.constant
    if not isinstance(constant, float):
        if outcome.grams is not None:
            _check_grams(source, expression, outcome.grams)
        return True, expression
    if outcome.factors:
        draft.from_factors[key] = expression
    grams = whole_grams(constant)
    if grams is None and outcome.factors.issubset(factors):
        allowed = f"between 0 and {GRAMS_MAX:,} g"
        source.fault(f"{key} must lie {allowed}, not {constant:,.15g}")
    return grams is not None, grams if grams == constant else constant


def _check_grams(source: Source, expression: Expression, grams: Range) -> None:
    """Tell of amounts that are beyond what an award can be: such an action earns nothing."""
    low, high = grams_text(grams.low), grams_text(grams.high)
    if grams.high < 0 or grams.low > GRAMS_MAX:
        message = f"this lies between {low} and {high} g: no action can earn that"
        source.warn(f"{message}; allowed is 0 to {GRAMS_MAX:,} g")
        return
    names = [name for name in expression.tree.names() if not name.startswith(("factors.", "_has_"))]
    if len(names) > len(set(names)):
        return  # what is true of each alone need not be true of them together
    if -math.inf < grams.low < 0:
        message = f"this can come to {low} g, and below 0 an action earns nothing"
        source.warn(f"{message}; write max(0, ...)")
    if math.inf > grams.high > GRAMS_MAX:
        message = f"this can come to {high} g, and above {GRAMS_MAX:,} g an action earns nothing"
        source.warn(f"{message}; write min({GRAMS_MAX}, ...)")
