"""`saxaul rules`. Exit 0 is fine, 1 problems found, 2 wrong usage."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from service.rules.check import check_folder, failed_examples
from service.rules.commands_report import FOLDER, FORMAT, Format, report
from service.rules.commands_versions import commands as version_commands
from service.rules.compile import Draft
from service.rules.load import Problem
from service.rules.schema import json_schema

_STRICT = click.option("--strict", is_flag=True, help="Let warnings fail too.")


@click.group()
def rules() -> None:
    """Check, test and publish the rules."""


@rules.command()
@FOLDER
@FORMAT
@_STRICT
def check(folder: Path, form: Format, *, strict: bool) -> None:
    """Check the rule files of FOLDER (default: rules): every problem in one go."""
    draft = check_folder(folder)
    report(draft.problems, form, _counted(draft, folder))
    sys.exit(_exit_code(draft.problems, strict=strict))


@rules.command()
@FOLDER
@FORMAT
@_STRICT
def test(folder: Path, form: Format, *, strict: bool) -> None:
    """Check the rule files of FOLDER, then run the examples in them."""
    draft = check_folder(folder)
    differences = failed_examples(draft)
    problems = [*draft.problems, *differences]
    failed = len({(problem.file, problem.path) for problem in differences})
    count = len(draft.examples)
    summary = f"{count - failed} of {count} examples as expected" if draft.rulebook else ""
    report(problems, form, summary)
    sys.exit(_exit_code(problems, strict=strict))


@rules.command()
def schema() -> None:
    """Print the JSON Schema of rule files, for editors."""
    click.echo(schema_text(), nl=False)


def schema_text() -> str:
    """The JSON Schema as openapi/rules.schema.json holds it."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"


def _counted(draft: Draft, folder: Path) -> str:
    if draft.rulebook is None:
        return ""
    book = draft.rulebook
    return (
        f"{folder}: {len(book.action_types)} action types, {len(book.rules)} rules,"
        f" {len(book.factors)} factors, {len(draft.examples)} examples"
    )


def _exit_code(problems: Sequence[Problem], *, strict: bool) -> int:
    return int(any(problem.severity == "error" or strict for problem in problems))


for _command in version_commands:
    rules.add_command(_command)

commands: list[click.Command] = [rules]
