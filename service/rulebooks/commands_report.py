"""What the commands of rules share: their options, and how they tell problems."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click
import msgspec

from service.rulebooks.publish import RulebookInvalidError
from service.rules.language.problems import Problem
from service.rules.tell.rule_set import BrokenSetError
from service.rules.trial.check import problems_json

Format = Literal["text", "json"]
FOLDER = click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default="rules"
)
FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to report."
)

STRICT = click.option("--strict", is_flag=True, help="Let warnings fail too.")


def exit_code(problems: Sequence[Problem], *, strict: bool) -> int:
    """0 when nothing was found that counts, else 1."""
    return int(any(problem.severity == "error" or strict for problem in problems))


def report(problems: Sequence[Problem], form: Format, summary: str) -> None:
    """Print every problem on a line of its own, or all of them as JSON."""
    if form == "json":
        print_json(problems_json(problems))
        return
    for problem in problems:
        click.echo(str(problem))
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if errors or warnings:
        click.echo(f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}")
    if summary:
        click.echo(summary)


@contextmanager
def refusing(form: Format = "text", summary: str = "") -> Iterator[None]:
    """Rules that cannot be used are told problem by problem, and end the command with 1."""
    try:
        yield
    except (BrokenSetError, RulebookInvalidError) as error:
        report(error.problems, form, summary)
        sys.exit(1)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_json(value: object) -> None:
    """Print a report for programs."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
