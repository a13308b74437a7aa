"""Scenarios: people's actions over days under a virtual clock, decided as real ones are.

A file of a rule folder's `tests` is one scenario: a list of steps. What actions use up (limits,
claims, minutes, budgets) and what they build (streaks) carries over from step to step, by the very
functions that judge and evaluate real actions. Scenarios are no rules: they are never published.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from service.rules.cel.text import did_you_mean
from service.rules.compile.texts import instant_of
from service.rules.decide.evaluate import Award, Decision
from service.rules.decide.judge import Refusal
from service.rules.decide.rulebook import Rulebook
from service.rules.language.load import load, read_folder, rule_paths
from service.rules.language.nodes import Node
from service.rules.language.problems import EnoughError, Problem, place_of, shown_name
from service.rules.language.problems import Step as PathStep
from service.rules.language.scenario_schema import RuleExpect, Step, StepExpect
from service.rules.language.shape import shape_list, whole
from service.rules.trial.coverage import Seen
from service.rules.trial.examples import different
from service.rules.trial.world import World

FOLDER = "tests"

Fault = tuple[tuple[PathStep, ...], str]
"""Where under `expect` something is otherwise, and how."""


class Scenario(Struct):
    """A scenario that can be run: its steps with their moments, and where they stand."""

    name: str
    root: Node
    steps: tuple[tuple[int, Step, dt.datetime], ...] = ()

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
    zone = None if rulebook is None else rulebook.program.timezone
    scenarios = []
    try:
        nodes, problems = load(files)
        for name, root in sorted(nodes.items()):
            scenario = Scenario(shown_name(name), root)
            steps = shape_list(scenario.name, root, Step, problems)
            scenario.steps = tuple(_timed(scenario, steps, zone, problems))
            scenarios.append(scenario)
            if rulebook is not None:
                for index, step in whole(steps):
                    problems += _unknown(scenario, index, step, rulebook)
    except EnoughError as error:
        return [], error.problems
    problems.sort(key=place_of)
    faulty = {problem.file for problem in problems}
    return [scenario for scenario in scenarios if scenario.name not in faulty], problems


def run_scenario(rulebook: Rulebook, scenario: Scenario, seen: Seen) -> list[Problem]:
    """Run every step; each that comes out otherwise is a problem at what was expected."""
    world = World(rulebook, seen)
    problems = []
    for index, step, at in scenario.steps:
        faults: list[Fault] = []
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


def _timed(
    scenario: Scenario, steps: Sequence[Step], zone: dt.tzinfo | None, problems: list[Problem]
) -> Iterator[tuple[int, Step, dt.datetime]]:
    """Give each step its moment; the clock only goes forward.

    Where the zone is not known, moments with an offset cannot be compared with those without.
    """
    last: dt.datetime | None = None
    for index, step in whole(steps):
        path: tuple[PathStep, ...] = (index, "at")
        try:
            at = instant_of(step.at, zone)
            if step.context.occurred_at is not None:
                path = (index, "context", "occurred_at")
                instant_of(step.context.occurred_at, zone)
        except ValueError as error:
            problems.append(scenario.problem(path, f"there is no such time: {error}"))
            continue
        if last is not None and (at.tzinfo is None) == (last.tzinfo is None) and at < last:
            before = f"a step before this one is at {last:%Y-%m-%dT%H:%M}"
            message = f"the clock only goes forward: {before}"
            problems.append(scenario.problem((index, "at"), message))
            continue
        last = at
        yield index, step, at


def _unknown(scenario: Scenario, index: int, step: Step, rulebook: Rulebook) -> Iterator[Problem]:
    """Names that this rulebook does not know; nothing could ever fulfil them."""
    expect, at = step.expect, (index, "expect")
    if step.action not in rulebook.action_types and expect.refused != "unknown-action-type":
        hint = did_you_mean(step.action, rulebook.action_types)
        yield scenario.problem((index, "action"), f"there is no action type {step.action}{hint}")
    expected: dict[tuple[PathStep, ...], RuleExpect] = {
        (*at, "rules", rule_id): wanted for rule_id, wanted in expect.rules.items()
    }
    for path, wanted in {**expected, at: expect}.items():
        name = str(path[-1])
        if path != at and name not in rulebook.rules:
            hint = did_you_mean(name, rulebook.rules)
            key = scenario.root.find(path[:-1]).key(name)
            yield key.problem(scenario.name, path, f"there is no rule {name}{hint}")
        campaign = wanted.campaign
        if campaign is not None and campaign not in rulebook.campaigns:
            hint = did_you_mean(campaign, rulebook.campaigns)
            yield scenario.problem((*path, "campaign"), f"there is no campaign {campaign}{hint}")


def _faults(expect: StepExpect, outcome: Refusal | Decision) -> Iterator[Fault]:
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
    for award in outcome.awards:
        if award.failed:
            yield (), f"an expression of {award.rule} failed: it gives no grams to pay"
    for key, text in _differences(expect, outcome, outcome.awards, "a rule"):
        yield key, f"{text}; {came}"
    awards = {award.rule: award for award in outcome.awards}
    for rule_id, wanted in expect.rules.items():
        faults: Iterable[Fault] = ()
        if rule_id in awards:
            award = awards[rule_id]
            faults = _differences(wanted, award, (award,), rule_id, f" by {rule_id}")
        elif wanted.skipped is not True:
            faults = [((), f"{rule_id} does not apply")]
        for key, text in faults:
            yield ("rules", rule_id, *key), f"{text}; {came}"


def _differences(
    expect: RuleExpect, came: Decision | Award, awards: Sequence[Award], who: str, by: str = ""
) -> Iterator[Fault]:
    """Where what came of a rule, or of all, is not what is expected of it."""
    if expect.skipped is True and awards:
        yield ("skipped",), f"{who} applies"
    limited_by = next((award.limited_by for award in awards if award.limited_by), None)
    campaign = next((award.campaign for award in awards if award.campaign), None)
    got = {"saves": came.saved_g, "earns": came.energy_g}
    for key, text in different(expect, {**got, "limited_by": limited_by, "campaign": campaign}):
        yield (key,), f"{text}{by}"


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
