"""Runs the examples that stand in the rules, by the very functions that judge real actions."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec import Struct

from service.rules.compile.draft import ExampleCase
from service.rules.compile.texts import instant_of
from service.rules.decide.evaluate import Award, Usage, appraise, settle, untouched_budgets
from service.rules.decide.judge import Candidate, Refusal, judge
from service.rules.decide.rulebook import Program, Rule, Rulebook
from service.rules.language.problems import Problem
from service.rules.language.schema import Example, ExampleContext, Expect
from service.rules.trial.coverage import Seen

_NOON = dt.time(12)
_ORDINARY_DAY = dt.date(2026, 1, 14)


def run_examples(
    rulebook: Rulebook, cases: Iterable[ExampleCase], seen: Seen | None = None
) -> list[Problem]:
    """Run every example; each that comes out otherwise is a problem at its `expect`."""
    problems: list[Problem] = []
    for case in cases:
        outcome = decide_example(rulebook, case.rule, case.shape)
        problems += _differences(case, outcome)
        if seen is not None and not isinstance(outcome, Refusal):
            occurred_at = _occurred_at(case.rule, case.shape.context, rulebook.program)
            if case.rule.is_on(rulebook.program.local_date(occurred_at)):
                seen.note(case.rule, outcome)
    return problems


def example_candidate(rulebook: Rulebook, rule: Rule, example: Example) -> Candidate:
    """The action that an example of this rule tells of."""
    context, reporters = example.context, rulebook.action_types[rule.action].reported_by
    verified = reporters == {"partner"} if context.verified is None else context.verified
    return Candidate(
        type=rule.action,
        attributes=dict(example.given),
        occurred_at=_occurred_at(rule, context, rulebook.program),
        reporter="partner" if verified else unverified_reporter(reporters),
        verified=verified,
        partner_id=None,
    )


def decide_example(
    rulebook: Rulebook, rule: Rule, example: Example, usage: Usage | None = None
) -> Refusal | Award | None:
    """What an example comes to under this rulebook; None when its rule does not apply.

    `usage` is what its person has used of the limits before. One that names its time is decided
    with the campaigns of that time, their budgets untouched; the others show the rule alone.
    """
    candidate = example_candidate(rulebook, rule, example)
    judged = judge(rulebook, candidate, candidate.occurred_at)
    if isinstance(judged, Refusal):
        return judged
    context = example.context
    awards = appraise(rulebook, judged, region=context.region, streak_days=context.streak_days)
    if context.occurred_at is None:
        for award in awards:
            award.offers = ()
    budgets = untouched_budgets(rulebook)
    decision = settle(rulebook, judged, awards, usage=usage or {}, budgets=budgets)
    return next((award for award in decision.awards if award.rule == rule.id), None)


def _differences(case: ExampleCase, award: Refusal | Award | None) -> Iterator[Problem]:
    at = case.source.at("expect")
    for fault in _faults(case.shape.expect, award):
        message = f"example '{case.shape.name}' of {case.rule.id}: {fault}"
        yield at.node.problem(at.name, at.path, message)


def _faults(expect: Expect, award: Refusal | Award | None) -> list[str]:
    if isinstance(award, Refusal):
        reason = award.reason or award.code
        is_wanted = expect.refused == reason
        return [] if is_wanted else [f"it is refused as {reason}: {award.detail}"]
    if expect.refused is not None:
        return ["it is accepted"]
    if award is None:
        return [] if expect.skipped is True else ["the rule does not apply (when, from or until)"]
    if expect.skipped is True:
        return ["the rule applies"]
    if award.failed:
        return ["an expression failed: it gives no number of grams between 0 and 1,000,000"]
    got = {"saves": award.saved_g, "earns": award.energy_g, "limited_by": award.limited_by}
    return [text for _, text in different(expect, got)]


def different(expect: Struct, got: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Say which values came otherwise than expected, by their keys."""
    for key, value in got.items():
        wanted = getattr(expect, key)
        if wanted is not None and wanted != value:
            yield key, f"{key} is {value if value is not None else 'nothing'}, not {wanted}"


def unverified_reporter(allowed: Collection[str]) -> str:
    """Who reports what nobody verified: a partner only where nobody else may."""
    return next((who for who in ("participant", "device") if who in allowed), "partner")


def _occurred_at(rule: Rule, context: ExampleContext, program: Program) -> dt.datetime:
    """The example's time; else noon of a day on which the rule's dates allow it."""
    if context.occurred_at is not None:
        return instant_of(context.occurred_at, program.timezone)
    day = _ORDINARY_DAY
    if rule.starts_on is not None and day < rule.starts_on:
        day = rule.starts_on
    elif rule.ends_before is not None and day >= rule.ends_before:
        day = rule.ends_before - dt.timedelta(days=1)
    return dt.datetime.combine(day, _NOON, program.timezone)
