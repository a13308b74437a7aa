"""Files of rules before they decide: read of a version, compiled, compared, checked and tried."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.platform.database import Connection
from service.platform.errors import NotFoundError, SaxaulError
from service.rules.compile.draft import Draft, compile_rulebook
from service.rules.decide.rulebook import Rulebook
from service.rules.language.problems import Problem
from service.rules.tell.changes import RulebookDifference
from service.rules.tell.diff import diff
from service.rules.tell.rule_set import BrokenSetError
from service.rules.trial.check import failed_examples, failed_scenarios, problems_json
from service.rules.trial.scenarios import read_scenarios

# A thousand rules of one type with an example each; they take some ten seconds.
_TRIED_MAX = 1_000_000
VERSION_MAX = 2**31 - 1
ACTIVE = "SELECT version FROM active_rulebook"


class RulebookInvalidError(SaxaulError):
    """A rule set with errors, or whose examples come out otherwise. Nothing was stored."""

    code = "rulebook-invalid"

    def __init__(self, problems: list[Problem]) -> None:
        """Carry every problem, for people as lines and for programs as facts."""
        errors = [problem for problem in problems if problem.severity == "error"]
        more = f" (and {len(errors) - 1} more)" if errors[1:] else ""
        super().__init__(f"{errors[0]}{more}")
        self.problems = problems

    @property
    def facts(self) -> dict[str, Any]:
        """The problems as JSON."""
        return {"problems": problems_json(self.problems)["problems"]}


def checked_draft(files: Mapping[str, str], scenarios: Mapping[str, str] | None = None) -> Draft:
    """Check files, run their examples and these scenarios. Raises RulebookInvalidError."""
    return _tried(compile_rulebook(files), scenarios or {})


def checked_folder(folder: Path, files: Mapping[str, str], unreadable: Sequence[Problem]) -> Draft:
    """Check what was read of a folder's rules, and its scenarios. Raises RulebookInvalidError."""
    scenarios, faults = read_scenarios(folder)
    return _tried(compile_rulebook(files, unreadable=unreadable), scenarios, faults)


def _tried(draft: Draft, scenarios: Mapping[str, str], unreadable: Sequence[Problem] = ()) -> Draft:
    """Run examples and scenarios, of which some may be unreadable. Raises RulebookInvalidError."""
    problems = [*draft.problems, *unreadable]
    # Each example tries all rules of its type, which multiplies.
    types = draft.rulebook.action_types if draft.rulebook else {}
    tried = sum(len(types[case.rule.action].rules) for case in draft.examples if types)
    if tried > _TRIED_MAX:
        told = f"the examples would try {tried:,} rules; {_TRIED_MAX:,} are allowed"
        problems.append(Problem("rules", 1, 1, "", told))
    else:
        problems += failed_examples(draft)
        problems += failed_scenarios(draft, scenarios)
    if any(problem.severity == "error" for problem in problems):
        raise RulebookInvalidError(problems)
    return draft


async def difference_of(
    connection: Connection, before: int, after: int | None
) -> RulebookDifference | None:
    """What changes between two versions; None when one of them cannot be read."""
    if after is None:
        return None
    try:
        sides = [await files_of(connection, version) for version in (before, after)]
        return await asyncio.to_thread(diff, *sides)
    except (NotFoundError, BrokenSetError):
        return None


def diff_or_raise(before: Mapping[str, str], after: Mapping[str, str]) -> RulebookDifference:
    """Compare two sets of files. Raises RulebookInvalidError when one has errors."""
    try:
        return diff(before, after)
    except BrokenSetError as error:
        raise RulebookInvalidError(error.problems) from error


async def files_of(connection: Connection, version: int) -> dict[str, str]:
    """The files of a published version, by name. Raises NotFoundError."""
    files: dict[str, str] | None = None
    if 0 < version <= VERSION_MAX:
        files = await connection.fetchval("SELECT files FROM rulebooks WHERE version = $1", version)
    if files is None:
        raise NotFoundError("There is no version {version} of the rules.", version=version)
    return files


def compile_rulebook_or_raise(files: Mapping[str, str], version: int = 0) -> Rulebook:
    """The rulebook of these files. Raises RulebookInvalidError."""
    draft = compile_rulebook(files, version)
    if draft.rulebook is None:
        raise RulebookInvalidError(list(draft.problems))
    return draft.rulebook
