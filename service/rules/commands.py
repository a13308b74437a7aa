"""`saxaul rules`: check, test, publish, list. Exit 0 is fine, 1 problems found, 2 wrong usage."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click
import msgspec
from rich.console import Console
from rich.table import Table

from service.clock import Clock
from service.database import open_database
from service.embedded import servers
from service.migrate import migrate
from service.rules.check import check_folder, failed_examples, problems_json
from service.rules.compile import Draft, sha256_of
from service.rules.load import Problem, read_folder
from service.rules.publish import RulebookChangedError, RulebookInvalidError, publish
from service.rules.schema import json_schema
from service.settings import load_settings, with_secret_key

_Format = Literal["text", "json"]
_FOLDER = click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default="rules"
)
_FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to report."
)
_STRICT = click.option("--strict", is_flag=True, help="Let warnings fail too.")


@click.group()
def rules() -> None:
    """Check, test and publish the rules."""


@rules.command()
@_FOLDER
@_FORMAT
@_STRICT
def check(folder: Path, form: _Format, *, strict: bool) -> None:
    """Check the rule files of FOLDER (default: rules): every problem in one go."""
    draft = check_folder(folder)
    _report(draft.problems, form, _counted(draft, folder))
    sys.exit(_exit_code(draft.problems, strict=strict))


@rules.command()
@_FOLDER
@_FORMAT
@_STRICT
def test(folder: Path, form: _Format, *, strict: bool) -> None:
    """Check the rule files of FOLDER, then run the examples in them."""
    draft = check_folder(folder)
    differences = failed_examples(draft)
    problems = [*draft.problems, *differences]
    failed = len({(problem.file, problem.path) for problem in differences})
    count = len(draft.examples)
    summary = f"{count - failed} of {count} examples as expected" if draft.rulebook else ""
    _report(problems, form, summary)
    sys.exit(_exit_code(problems, strict=strict))


@rules.command()
def schema() -> None:
    """Print the JSON Schema of rule files, for editors."""
    click.echo(schema_text(), nl=False)


def schema_text() -> str:
    """The JSON Schema as openapi/rules.schema.json holds it."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"


@rules.command("publish")
@_FOLDER
@click.option("--note", required=True, help="What changed and why, for those who come after.")
@click.option("--based-on", type=int, help="Refuse unless this version is the active one.")
def publish_folder(folder: Path, note: str, based_on: int | None) -> None:
    """Check and test the rule files of FOLDER, store them as a version and make it active."""
    files, unreadable = read_folder(folder)
    if unreadable:
        _report(unreadable, "text", "")
        sys.exit(1)
    # What another folder holds says nothing of the watched one: its next start must not undo this.
    is_watched = folder.resolve() == load_settings().rules_dir.resolve()
    try:
        version = asyncio.run(_publish(files, note, based_on, is_watched=is_watched))
    except RulebookInvalidError as error:
        _report(error.problems, "text", "nothing was published")
        sys.exit(1)
    except RulebookChangedError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    click.echo(f"version {version} is active; running processes switch within 2 s")


@rules.command("list")
def list_versions() -> None:
    """List the published versions, the newest first."""
    table = Table("", "version", "published", "author", "note", "rules hash", box=None)
    for row in asyncio.run(_versions()):
        table.add_row(*row)
    Console().print(table)


async def _publish(
    files: dict[str, str], note: str, based_on: int | None, *, is_watched: bool
) -> int:
    settings = with_secret_key(load_settings())
    async with servers(settings, "saxaul rules publish") as found:
        await migrate(found.database_url)
        database = await open_database(settings, found.database_url)
        try:
            async with database.transaction() as connection:
                clock = Clock()
                await clock.refresh(connection)
                return await publish(
                    connection,
                    files,
                    author=getpass.getuser(),
                    note=note,
                    now=clock.now(),
                    based_on=based_on,
                    folder_sha256=sha256_of(files) if is_watched else None,
                )
        finally:
            await database.close()


async def _versions() -> list[tuple[str, ...]]:
    settings = with_secret_key(load_settings())
    async with servers(settings, "saxaul rules list") as found:
        await migrate(found.database_url)
        database = await open_database(settings, found.database_url)
        try:
            rows = await database.pool.fetch(_VERSIONS)
        finally:
            await database.close()
    return [
        (
            "*" if row["is_active"] else "",
            str(row["version"]),
            f"{row['created_at']:%Y-%m-%d %H:%M}Z",
            row["author"],
            row["note"],
            row["sha256"].hex()[:12],
        )
        for row in rows
    ]


def _report(problems: Sequence[Problem], form: _Format, summary: str) -> None:
    if form == "json":
        report = msgspec.json.format(msgspec.json.encode(problems_json(problems)), indent=2)
        click.echo(report.decode())
        return
    for problem in problems:
        click.echo(str(problem))
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if errors or warnings:
        click.echo(f"{errors} errors, {warnings} warnings")
    if summary:
        click.echo(summary)


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


_VERSIONS = """
SELECT r.version, r.sha256, r.author, r.note, r.created_at, a.version IS NOT NULL AS is_active
FROM rulebooks r LEFT JOIN active_rulebook a ON a.version = r.version
ORDER BY r.version DESC LIMIT 200"""

commands: list[click.Command] = [rules]
