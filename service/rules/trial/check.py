"""Tells whether a set of rules is good: for `rules check`, `rules test` and publishing."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from service.rules.compile.draft import Draft, compile_rulebook
from service.rules.language.load import is_read, read_folder
from service.rules.language.problems import Problem, of_file
from service.rules.trial.coverage import Report, Seen, report
from service.rules.trial.examples import run_examples
from service.rules.trial.scenarios import FOLDER, compile_scenarios, read_scenarios, run_scenario

# Not what an editor's copy or draft is called: mobility.yaml~ or #mobility.yaml#.
_LIKE_RULES = re.compile(r"[^.#].*\.ya?ml\b.*(?<!~)", re.IGNORECASE | re.DOTALL)


def check_folder(folder: Path) -> Draft:
    """Check a folder of rule files; what cannot be read is a problem too."""
    return _checked(folder)[0]


def _checked(folder: Path) -> tuple[Draft, dict[str, str]]:
    files, unreadable = read_folder(folder)
    draft = compile_rulebook(files, unreadable=unreadable)
    return replace(draft, problems=(*strangers_in(folder), *draft.problems)), files


def strangers_in(folder: Path) -> list[Problem]:
    """Warn of what looks like rules or scenarios in a folder of rules and is passed over."""
    return [*_passed_over(folder, known=FOLDER), *_passed_over(folder / FOLDER)]


def _passed_over(folder: Path, *, known: str = "") -> Iterator[Problem]:
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            message = "not read, as its name does not end in .yaml or .yml"
            is_told = _LIKE_RULES.fullmatch(path.name) is not None
            if path.is_dir():
                within = sum(1 for each in path.iterdir() if _LIKE_RULES.fullmatch(each.name))
                message = f"{within} of its files look like rules; subfolders are not read"
                is_told = within > 0 and path.name != known and not path.name.startswith(".")
            if is_told and not is_read(path):
                yield of_file(path, message, "warning")


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


class Trial(Struct, frozen=True):
    """What testing a folder came to. Without a rulebook nothing could run."""

    draft: Draft
    problems: tuple[Problem, ...]
    summary: tuple[str, ...]
    coverage: Report | None


def try_folder(folder: Path) -> Trial:
    """Check a folder of rule files, then run their examples and the scenarios beside them."""
    draft, files = _checked(folder)
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
    problems = (*draft.problems, *differences, *unreadable, *faults, *chain(*outcomes))
    return Trial(draft, problems, tuple(summary), report(files, draft.rulebook, seen))


def problems_json(problems: Sequence[Problem]) -> dict[str, Any]:
    """The report that programs read: the contract's form of `rulebooks/check`."""
    return {
        "ok": not any(problem.severity == "error" for problem in problems),
        "problems": [problem._asdict() for problem in problems],
    }
