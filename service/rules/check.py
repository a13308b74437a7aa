"""Tells whether a set of rules is good: for `rules check`, `rules test` and publishing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.rules.compile import Draft, compile_rulebook
from service.rules.examples import run_examples
from service.rules.load import Problem, read_folder


def check_folder(folder: Path) -> Draft:
    """Check a folder of rule files; what cannot be read is a problem too."""
    files, unreadable = read_folder(folder)
    return compile_rulebook(files, unreadable=unreadable)


def failed_examples(draft: Draft) -> list[Problem]:
    """Run all examples of a draft that has no errors."""
    return [] if draft.rulebook is None else run_examples(draft.rulebook, draft.examples)


def problems_json(problems: Sequence[Problem]) -> dict[str, Any]:
    """The report that programs read: the contract's form of `rulebooks/check`."""
    return {
        "ok": not any(problem.severity == "error" for problem in problems),
        "problems": [problem._asdict() for problem in problems],
    }
