"""What the commands of rules share: their options, which sets they read, how they tell problems."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click
import msgspec

from service.instance.open import Instance, on_instance
from service.platform.database import Connection
from service.platform.errors import SaxaulError
from service.rulebooks.checked import ACTIVE, RulebookInvalidError, files_of
from service.rules.compile.draft import compile_rulebook
from service.rules.language.load import read_folder
from service.rules.language.problems import Problem
from service.rules.tell.changes import counted
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
        click.echo(f"{counted(errors, 'error')}, {counted(warnings, 'warning')}")
    if summary:
        click.echo(summary)


@contextmanager
def problems_told(form: Format = "text", summary: str = "") -> Iterator[None]:
    """Report what is wrong with a rule set, and end the command."""
    try:
        yield
    except (BrokenSetError, RulebookInvalidError) as error:
        report(error.problems, form, summary)
        sys.exit(1)


def print_json(value: object) -> None:
    """Print a report for programs."""
    click.echo(pretty(value))


def pretty(value: object) -> str:
    """JSON as people read it."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def is_version(text: str) -> bool:
    """Whether this names a published version, not a folder."""
    return text == "active" or (text.isascii() and text.isdigit())


def folder_files(text: str) -> dict[str, str]:
    """The rule files of a folder. Raises click.UsageError, and BrokenSetError with every problem.

    Only when a file cannot be read is it told here already what is wrong with the others.
    """
    if not Path(text).is_dir():
        raise click.UsageError(f"{text} is neither a folder nor a version.")
    files, unreadable = read_folder(Path(text))
    if unreadable:
        raise BrokenSetError(compile_rulebook(files, unreadable=unreadable).errors)
    return files


def sets_of(what: str, *texts: str) -> list[Mapping[str, str]]:
    """The files of each folder or version; for versions only a database is opened, for `what`.

    Raises click.UsageError, BrokenSetError.
    """
    sides: dict[str, Mapping[str, str]] = {}
    problems: list[Problem] = []
    versions = [text for text in texts if is_version(text)]
    for text in dict.fromkeys(texts):
        if text in versions:
            continue
        try:
            sides[text] = folder_files(text)
        except BrokenSetError as error:
            problems += error.problems
    if problems:
        # What is wrong with the other folder is told as well.
        for files in sides.values():
            problems += compile_rulebook(files).errors
        raise BrokenSetError(problems)
    if versions:
        sides |= on_instance(what, _published, versions)
    return [sides[text] for text in texts]


async def _published(instance: Instance, versions: list[str]) -> dict[str, dict[str, str]]:
    async with instance.database.pool.acquire() as connection:
        return {text: (await version_files(connection, text))[1] for text in versions}


async def version_files(connection: Connection, text: str) -> tuple[int, dict[str, str]]:
    """A version or the active one, with its files. Raises click.UsageError."""
    version = int(text) if text != "active" else await connection.fetchval(ACTIVE)
    if version is None:
        raise click.UsageError("No version is active yet.")
    try:
        return version, await files_of(connection, version)
    except SaxaulError as error:
        raise click.UsageError(str(error)) from error
