"""Tells whether a set of rules is good: for `rules check`, `rules test` and publishing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.rules.compile import Draft, compile_rulebook
from service.rules.coverage import Report, Seen, report
from service.rules.examples import run_examples
from service.rules.load import Problem, read_folder
from service.rules.scenarios import compile_scenarios, read_scenarios, run_scenario


def check_folder(folder: Path) -> Draft:
    """Check a folder of rule files; what cannot be read is a problem too."""
    files, unreadable = read_folder(folder)
    return compile_rulebook(files, unreadable=unreadable)


def failed_examples(draft: Draft) -> list[Problem]:
    """Run all examples of a draft that has no errors."""
    return [] if draft.rulebook is None else run_examples(draft.rulebook, draft.examples)


def failed_scenarios(draft: Draft, texts: Mapping[str, str]) -> list[Problem]:
    """Check scenarios (name to text), and run them with the rules of a draft without errors."""
    scenarios, problems = compile_scenarios(texts, draft.rulebook)
    if draft.rulebook is None:
        return problems
    seen = Seen()
    for scenario in scenarios:
        problems += run_scenario(draft.rulebook, scenario, seen)
    return problems


@dataclass(frozen=True, slots=True)
class Trial:
    """What testing a folder came to. Without a rulebook nothing could run."""

    draft: Draft
    problems: tuple[Problem, ...]
    summary: tuple[str, ...]
    coverage: Report | None


def try_folder(folder: Path) -> Trial:
    """Check a folder of rule files, then run their examples and the scenarios beside them."""
    files, unreadable = read_folder(folder)
    draft = compile_rulebook(files, unreadable=unreadable)
    texts, unreadable = read_scenarios(folder)
    scenarios, faults = compile_scenarios(texts, draft.rulebook)
    if draft.rulebook is None:
        return Trial(draft, (*draft.problems, *unreadable, *faults), (), None)
    seen = Seen()
    differences = run_examples(draft.rulebook, draft.examples, seen)
    wrong = len({(problem.file, problem.path) for problem in differences})
    number = len(draft.examples)
    summary = [f"{number - wrong} of {number} examples as expected"]
    outcomes = [run_scenario(draft.rulebook, scenario, seen) for scenario in scenarios]
    if texts or unreadable:
        fine, steps = outcomes.count([]), sum(len(scenario.steps) for scenario in scenarios)
        number = len(texts) + len(unreadable)
        summary.append(f"{fine} of {number} scenarios as expected, {steps} steps")
    found = [*unreadable, *faults, *(problem for outcome in outcomes for problem in outcome)]
    problems = (*draft.problems, *differences, *found)
    return Trial(draft, problems, tuple(summary), report(files, draft.rulebook, seen))


def problems_json(problems: Sequence[Problem]) -> dict[str, Any]:
    """The report that programs read: the contract's form of `rulebooks/check`."""
    return {
        "ok": not any(problem.severity == "error" for problem in problems),
        "problems": [problem._asdict() for problem in problems],
    }
