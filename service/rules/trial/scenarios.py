"""Scenarios: people's actions over days under a virtual clock, decided as real ones are.

A file of a rule folder's `tests` is one scenario: a list of steps. What actions use up (limits,
claims, minutes, budgets) and what they build (streaks) carries over from step to step, by the very
functions that judge and evaluate real actions. Scenarios are no rules: they are never published.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from service.rules.cel.text import did_you_mean
from service.rules.decide.evaluate import Award, Decision, appraise, settle, untouched_budgets
from service.rules.decide.judge import Candidate, Claimed, Judged, Refusal, judge
from service.rules.decide.rulebook import CounterKey, Rulebook, Used
from service.rules.decide.standing import Standing, uses_of
from service.rules.language.load import load, read_folder, rule_paths
from service.rules.language.nodes import Node
from service.rules.language.problems import EnoughError, Problem, place_of, shown_name
from service.rules.language.problems import Step as PathStep
from service.rules.language.scenario_schema import RuleExpect, Step, StepExpect
from service.rules.language.shape import shape_list, whole
from service.rules.trial.coverage import Seen
from service.rules.trial.examples import different, instant_of, unverified_reporter

FOLDER = "tests"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that can be run: its steps with their moments, and where they stand."""

    name: str
    root: Node
    steps: tuple[tuple[int, Step, dt.datetime], ...]

    def problem(self, path: tuple[PathStep, ...], message: str) -> Problem:
        """A problem at this value."""
        return self.root.find(path).problem(self.name, path, message)


def read_scenarios(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """Read the scenario files of a rule folder as text; there need not be any."""
    tests = folder / FOLDER
    try:
        is_empty = not rule_paths(tests)
    except (FileNotFoundError, NotADirectoryError):
        is_empty = True
    except OSError:
        is_empty = False  # there are some, perhaps, and reading them tells why nobody can
    return ({}, []) if is_empty else read_folder(tests)


def compile_scenarios(
    files: Mapping[str, str], rulebook: Rulebook | None
) -> tuple[list[Scenario], list[Problem]]:
    """Check scenario files; those with a problem cannot be run.

    Without a rulebook, where the rules have errors, names are not looked up and nothing can be run.
    """
    try:
        return _compiled(files, rulebook)
    except EnoughError as error:
        return [], error.problems


def _compiled(
    files: Mapping[str, str], rulebook: Rulebook | None
) -> tuple[list[Scenario], list[Problem]]:
    nodes, problems = load(files)
    zone = None if rulebook is None else rulebook.program.timezone
    scenarios = []
    for name, root in sorted(nodes.items()):
        shown = shown_name(name)
        steps = shape_list(shown, root, Step, problems)
        scenario = Scenario(shown, root, tuple(_timed(shown, root, steps, zone, problems)))
        if rulebook is not None:
            for index, step in whole(steps):
                problems += _unknown(scenario, index, step, rulebook)
        scenarios.append(scenario)
    problems.sort(key=place_of)
    faulty = {problem.file for problem in problems}
    return [scenario for scenario in scenarios if scenario.name not in faulty], problems


def run_scenario(rulebook: Rulebook, scenario: Scenario, seen: Seen) -> list[Problem]:
    """Run every step; each that comes out otherwise is a problem at what was expected."""
    world = World(rulebook, seen)
    problems = []
    for index, step, at in scenario.steps:
        faults: list[tuple[tuple[PathStep, ...], str]] = []
        for time in range(1, step.times + 1):
            outcome = world.report(step, at, time)
            if not faults:
                again = f", time {time} of {step.times}" if step.times > 1 else ""
                faults = [
                    (path, f"{again}: {text}") for path, text in _faults(step.expect, outcome)
                ]
        label = f"step {index + 1} ({step.name or f'{step.participant}, {step.action}'})"
        problems += [
            scenario.problem((index, "expect", *path), label + text) for path, text in faults
        ]
    return problems


@dataclass(slots=True)
class _Person:
    """What has to be remembered of somebody."""

    region: str = ""
    standing: Standing = field(default_factory=Standing)
    active_days: set[dt.date] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Holder:
    """Whose action holds a claim, and what it left behind."""

    participant: str
    is_verified: bool
    occurred_at: dt.datetime
    action_id: UUID
    uses: tuple[tuple[CounterKey, Used], ...]


class World:
    """What the steps so far have left behind."""

    def __init__(self, rulebook: Rulebook, seen: Seen) -> None:
        self._rulebook = rulebook
        self._seen = seen
        self._people: dict[str, _Person] = defaultdict(_Person)
        self._claims: dict[tuple[Claimed, str], _Holder] = {}
        self._actions = 0
        self._budgets = untouched_budgets(rulebook)

    def report(self, step: Step, at: dt.datetime, time: int = 1) -> Refusal | Decision:
        """Decide on a step, in the order in which a real action is refused or paid."""
        person = self._people[step.participant]
        if step.context.region is not None:
            person.region = step.context.region
        judged = judge(self._rulebook, candidate(step, at, time, self._rulebook), at)
        who = step.participant
        refusal = judged if isinstance(judged, Refusal) else self._refusal(who, judged)
        if refusal is not None or isinstance(judged, Refusal):
            assert refusal is not None  # a refusal by the catalogue is one
            return refusal
        days = streak_before(person.active_days, judged.local_date)
        awards = appraise(self._rulebook, judged, region=person.region, streak_days=days)
        if any(award.promises for award in awards):
            for holder in self._rivals(who, judged):
                self._take_back(holder)
        usage = person.standing.usage
        decision = settle(self._rulebook, judged, awards, usage=usage, budgets=self._budgets)
        self._remember(who, judged, decision)
        return decision

    def _keys(self, who: str, judged: Judged) -> list[tuple[Claimed, str]]:
        return [(claim, who if claim.is_own else "") for claim in judged.claims]

    def _rivals(self, who: str, judged: Judged) -> list[_Holder]:
        """What nobody verified and this partner's report takes the claims from."""
        if not judged.candidate.verified:
            return []
        held = [self._claims[key] for key in self._keys(who, judged) if key in self._claims]
        return [holder for holder in held if not holder.is_verified]

    def _take_back(self, holder: _Holder) -> None:
        self._claims = {key: held for key, held in self._claims.items() if held is not holder}
        standing = self._people[holder.participant].standing
        standing.give_back(holder.uses)
        standing.forget(holder.occurred_at, holder.action_id)

    def _refusal(self, who: str, judged: Judged) -> Refusal | None:
        rivals = self._rivals(who, judged)
        beaten = [rival.action_id for rival in rivals]
        if trip := self._people[who].standing.met(judged, beaten):
            times = f"{trip.starts_at:%m-%d %H:%M} to {trip.ends_at:%m-%d %H:%M}"
            return Refusal("action-refused", "overlap", f"It meets the trip of {times}.")
        held = [self._claims.get(key) for key in self._keys(who, judged)[:1]]
        if any(holder is not None and holder not in rivals for holder in held):
            return Refusal("action-refused", "already-claimed", "It was paid before.")
        return None

    def _remember(self, who: str, judged: Judged, decision: Decision) -> None:
        self._actions += 1
        person, uses = self._people[who], tuple(uses_of(decision.awards))
        action_id = UUID(int=self._actions)
        person.standing.travel(judged, action_id)
        person.standing.use(uses)
        if decision.gives:
            of = judged.candidate
            holder = _Holder(who, of.verified, of.occurred_at, action_id, uses)
            for claim in self._keys(who, judged):
                self._claims.setdefault(claim, holder)
        for award in decision.awards:
            if award.campaign is not None and award.drawn_g:
                self._budgets[award.campaign] -= award.drawn_g
        person.active_days.add(judged.local_date)
        awards = {award.rule: award for award in decision.awards}
        for rule in self._rulebook.action_types[judged.candidate.type].rules:
            if rule.is_on(judged.local_date):
                self._seen.note(rule, awards.get(rule.id))


def candidate(step: Step, at: dt.datetime, time: int, rulebook: Rulebook) -> Candidate:
    """The action that a step tells of, this time of its times."""
    context = step.context
    occurred_at = at
    if context.occurred_at is not None:
        occurred_at = instant_of(context.occurred_at, rulebook.program.timezone)
    reporter = _reporter(step, rulebook)
    verified = reporter == "partner" if context.verified is None else context.verified
    return Candidate(
        type=step.action,
        attributes={
            name: value.replace("{n}", str(time)) if isinstance(value, str) else value
            for name, value in step.attributes.items()
        },
        occurred_at=occurred_at,
        reporter=reporter,
        verified=verified,
        partner_id=context.partner or ("partner" if reporter == "partner" else None),
    )


def _reporter(step: Step, rulebook: Rulebook) -> str:
    """Who reports a step: as it says, else the partner where nobody else may."""
    context = step.context
    if context.reporter is not None:
        return context.reporter
    kind = rulebook.action_types.get(step.action)
    allowed = kind.reported_by if kind else frozenset({"participant"})
    person = unverified_reporter(allowed)
    if context.verified is None:
        return person if context.partner is None else "partner"
    return "partner" if context.verified else person


def streak_before(active: set[dt.date], day: dt.date) -> int:
    """How many active days in a row end the day before."""
    run = 0
    while day - dt.timedelta(days=run + 1) in active:
        run += 1
    return run


def _timed(
    name: str,
    root: Node,
    steps: Sequence[Step],
    zone: dt.tzinfo | None,
    problems: list[Problem],
) -> Iterator[tuple[int, Step, dt.datetime]]:
    """Give each step its moment; the clock only goes forward.

    Where the zone is not known, moments with an offset cannot be compared with those without.
    """

    def fault(path: tuple[PathStep, ...], message: str) -> None:
        problems.append(root.find(path).problem(name, path, message))

    last: dt.datetime | None = None
    for index, step in whole(steps):
        try:
            at = instant_of(step.at, zone)
        except ValueError as error:
            fault((index, "at"), f"there is no such time: {error}")
            continue
        if step.context.occurred_at is not None:
            try:
                instant_of(step.context.occurred_at, zone)
            except ValueError as error:
                fault((index, "context", "occurred_at"), f"there is no such time: {error}")
                continue
        if last is not None and (at.tzinfo is None) == (last.tzinfo is None) and at < last:
            message = (
                f"the clock only goes forward: a step before this one is at {last:%Y-%m-%dT%H:%M}"
            )
            fault((index, "at"), message)
            continue
        last = at
        yield index, step, at


def _unknown(scenario: Scenario, index: int, step: Step, rulebook: Rulebook) -> Iterator[Problem]:
    """Names that this rulebook does not know; nothing could ever fulfil them."""
    expect = step.expect
    if step.action not in rulebook.action_types and expect.refused != "unknown-action-type":
        hint = did_you_mean(step.action, rulebook.action_types)
        yield scenario.problem((index, "action"), f"there is no action type {step.action}{hint}")
    for rule_id, wanted in expect.rules.items():
        path: tuple[PathStep, ...] = (index, "expect", "rules", rule_id)
        if rule_id not in rulebook.rules:
            hint = did_you_mean(rule_id, rulebook.rules)
            key = scenario.root.find(path[:-1]).key(rule_id)
            yield key.problem(scenario.name, path, f"there is no rule {rule_id}{hint}")
        yield from _unknown_campaign(scenario, path, wanted, rulebook)
    yield from _unknown_campaign(scenario, (index, "expect"), expect, rulebook)


def _unknown_campaign(
    scenario: Scenario,
    path: tuple[PathStep, ...],
    expect: StepExpect | RuleExpect,
    rulebook: Rulebook,
) -> Iterator[Problem]:
    campaign = expect.campaign
    if campaign is not None and campaign not in rulebook.campaigns:
        hint = did_you_mean(campaign, rulebook.campaigns)
        yield scenario.problem((*path, "campaign"), f"there is no campaign {campaign}{hint}")


def _faults(
    expect: StepExpect, outcome: Refusal | Decision
) -> Iterator[tuple[tuple[PathStep, ...], str]]:
    """Say where an outcome differs from what was expected, and what came instead."""
    if isinstance(outcome, Refusal):
        reason = outcome.reason or outcome.code
        if expect.refused != reason:
            path = () if expect.refused is None else ("refused",)
            yield path, f"it is refused as {reason}: {outcome.detail}"
        return
    came = _came(outcome.awards)
    if expect.refused is not None:
        yield ("refused",), f"it is accepted; {came}"
        return
    yield from _grams_faults(expect, outcome, came)
    awards: Mapping[str, Award] = {award.rule: award for award in outcome.awards}
    for rule_id, wanted in expect.rules.items():
        for key, text in _rule_faults(rule_id, wanted, awards.get(rule_id)):
            yield ("rules", rule_id, *key), f"{text}; {came}"


def _grams_faults(
    expect: StepExpect, outcome: Decision, came: str
) -> Iterator[tuple[tuple[PathStep, ...], str]]:
    for award in outcome.awards:
        if award.failed:
            yield (), f"an expression of {award.rule} failed: it gives no grams to pay"
    if expect.skipped is True and outcome.awards:
        yield ("skipped",), f"a rule applies; {came}"
    got = _got(outcome.saved_g, outcome.energy_g, outcome.awards)
    for key, text in different(expect, got):
        yield (key,), f"{text}; {came}"


def _rule_faults(
    rule_id: str, expect: RuleExpect, award: Award | None
) -> Iterator[tuple[tuple[str, ...], str]]:
    if award is None:
        if expect.skipped is not True:
            yield (), f"{rule_id} does not apply"
        return
    if expect.skipped is True:
        yield ("skipped",), f"{rule_id} applies"
    for key, text in different(expect, _got(award.saved_g, award.energy_g, (award,))):
        yield (key,), f"{text} by {rule_id}"


def _got(saved_g: int, energy_g: int, awards: Sequence[Award]) -> dict[str, object]:
    """What came of awards, by the keys of what is expected."""
    limited_by = next((award.limited_by for award in awards if award.limited_by), None)
    campaign = next((award.campaign for award in awards if award.campaign), None)
    return {"saves": saved_g, "earns": energy_g, "limited_by": limited_by, "campaign": campaign}


def _came(awards: Sequence[Award]) -> str:
    """What came: each award in a few words."""
    texts = []
    for award in awards:
        campaign = f" in {award.campaign}" if award.campaign else ""
        cut = f", cut by {award.limited_by}" if award.limited_by else ""
        texts.append(
            f"{award.rule} saves {award.saved_g} g and earns {award.energy_g} g{campaign}{cut}"
        )
    return "; ".join(texts) or "no rule applies"
