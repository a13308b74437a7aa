"""`saxaul rules`. Exit 0 is fine, 1 problems found, 2 wrong usage."""

import sys
from pathlib import Path

import click

from service.actions import commands_explain
from service.platform.terminal import commands_of
from service.rulebooks import commands_test, commands_versions
from service.rulebooks.commands_report import FOLDER, FORMAT, STRICT, Format, exit_code, report
from service.rules.compile.draft import Draft
from service.rules.trial.check import check_folder


@click.group()
def rules() -> None:
    """Check, test and publish the rules."""


@rules.command()
@FOLDER
@FORMAT
@STRICT
def check(folder: Path, form: Format, *, strict: bool) -> None:
    """Check the rule files of FOLDER (default: rules): every problem in one go."""
    draft = check_folder(folder)
    report(draft.problems, form, _counted(draft, folder))
    sys.exit(exit_code(draft.problems, strict=strict))


def _counted(draft: Draft, folder: Path) -> str:
    if draft.rulebook is None:
        return ""
    book = draft.rulebook
    return (
        f"{folder}: {len(book.action_types)} action types, {len(book.rules)} rules,"
        f" {len(book.factors)} factors, {len(draft.examples)} examples"
    )


for _module in (commands_test, commands_explain, commands_versions):
    for _command in commands_of(_module):
        rules.add_command(_command)
