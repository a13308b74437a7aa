"""`saxaul rules diff`, `publish`, `list`, `show`, `pull`, `activate`: versions of the rules."""

import getpass
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from service.http.texts import TextError, prose
from service.instance.open import Instance, on_instance
from service.platform.acts import Act
from service.platform.settings import load_settings
from service.rulebooks.checked import checked_draft
from service.rulebooks.commands_report import (
    FOLDER,
    FORMAT,
    Format,
    exit_code,
    print_json,
    problems_told,
    report,
    sets_of,
)
from service.rulebooks.publish import RulebookChangedError, activate, publish
from service.rulebooks.queries import RulebookAnswer, RulebookSummary, get_version, list_versions
from service.rules.compile.draft import sha256_of
from service.rules.language.load import read_folder, rule_paths
from service.rules.tell.changes import RulebookDifference
from service.rules.tell.diff import diff
from service.rules.trial.check import strangers_in, try_folder

_LISTED_MAX = 200


@click.command("diff")
@click.argument("before")
@click.argument("after")
@FORMAT
def diff_sets(before: str, after: str, form: Format) -> None:
    """Tell what changes from BEFORE to AFTER: each a folder, a version or `active`.

    In words, and by what the examples of both come to. A line with ! deserves a second look. A
    folder whose name is a number is written ./7.
    """
    with problems_told(form):
        difference = diff(*sets_of("saxaul rules diff", before, after))
    if form == "json":
        print_json(difference)
    else:
        print_difference(difference)


def print_difference(difference: RulebookDifference, *, err: bool = False) -> None:
    """Print a difference in words, what deserves a second look in red."""
    for line, is_loud in difference.lines():
        click.secho(line, fg="red" if is_loud else None, bold=is_loud, err=err)


@click.command("publish")
@FOLDER
@click.option("--note", required=True, help="What changed and why, for those who come after.")
@click.option("--based-on", type=int, help="Refuse unless this version is the active one.")
def publish_folder(folder: Path, note: str, based_on: int | None) -> None:
    """Check and test the rule files of FOLDER, store them as a version and make it active."""
    try:
        note = prose(note)
    except TextError as error:
        told = "--note is for those who come after: say what changed and why"
        raise click.UsageError(f"{told}; it {error}.") from error
    files, _ = read_folder(folder)
    trial = try_folder(folder)
    if exit_code(trial.problems, strict=False):
        # Scenarios too: they are tests of these rules, though they are not published with them.
        report(trial.problems, "text", "nothing was published")
        sys.exit(1)
    for problem in strangers_in(folder):
        click.echo(str(problem), err=True)
    # What another folder holds says nothing of the watched one: its next start must not undo this.
    is_watched = folder.resolve() == load_settings().rules_dir.resolve()
    folder_sha256 = sha256_of(files) if is_watched else None
    try:
        with problems_told(summary="nothing was published"):
            given = files, note, based_on, folder_sha256
            version = on_instance("saxaul rules publish", _publish, *given)
    except RulebookChangedError as error:
        click.echo(str(error), err=True)
        if error.diff is not None:
            print_difference(error.diff, err=True)
        sys.exit(1)
    click.echo(f"version {version} is active; running processes switch within 2 s")


@click.command("list")
def list_published() -> None:
    """List the published versions, the newest first."""
    table = Table("", "version", "published", "author", "note", "rules hash", box=None)
    for view in on_instance("saxaul rules list", _versions):
        table.add_row(
            "*" if view.active else "",
            str(view.version),
            f"{view.created_at:%Y-%m-%d %H:%M}Z",
            view.author,
            view.note,
            view.sha256[:12],
        )
    Console().print(table)


@click.command("activate")
@click.argument("version", type=int)
def activate_version(version: int) -> None:
    """Let a published VERSION decide again: roll back or forward.

    What the folder of rules last published is not published again until somebody changes it.
    """
    with problems_told(summary=f"version {version} cannot be read by this program"):
        changed = on_instance("saxaul rules activate", _activate, version)
    switch = "; running processes switch within 2 s" if changed else " already"
    click.echo(f"version {version} is active{switch}")


@click.command("show")
@click.argument("version", type=int)
@click.option("--file", "wanted", help="Only this file, as it is.")
def show_version(version: int, wanted: str | None) -> None:
    """Print a published VERSION: who published it and why, and the text of its files."""
    view = on_instance("saxaul rules show", _version, version)
    files = view.files
    if wanted is not None:
        if wanted not in files:
            click.echo(f"version {version} holds {', '.join(sorted(files))}", err=True)
            sys.exit(1)
        click.echo(files[wanted], nl=False)
        return
    active = ", active" if view.active else ""
    click.echo(f"# version {view.version}{active}: {view.note}")
    click.echo(f"# by {view.author}, {view.created_at:%Y-%m-%d %H:%M}Z, sha256 {view.sha256}")
    for name, text in sorted(files.items()):
        click.echo(f"# --- {name}")
        click.echo(text, nl=not text.endswith("\n"))


@click.command("pull")
@click.argument("version", type=int)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite files of other content.")
def pull_version(version: int, folder: Path, *, force: bool) -> None:
    """Write the files of a published VERSION into FOLDER.

    Rule files of other content are overwritten with --force only; what else lies there stays, and
    is told of when it would be published along.
    """
    files = on_instance("saxaul rules pull", _version, version).files
    paths = rule_paths(folder) if folder.is_dir() else ()
    others = [path.name for path in paths if path.name not in files]
    changed = [name for name, text in sorted(files.items()) if not _holds(folder / name, text)]
    in_the_way = [name for name in changed if os.path.lexists(folder / name)]
    if in_the_way and not force:
        click.echo(f"{folder} holds other content; --force overwrites it:", err=True)
        for name in in_the_way:
            click.echo(f"  {name}", err=True)
        sys.exit(1)
    folder.mkdir(parents=True, exist_ok=True)
    for name in changed:
        _write(folder / name, files[name])
    written = ", ".join(changed) if changed else "nothing to write"
    click.echo(f"{folder} holds version {version}: {written}")
    for name in others:
        click.echo(f"{folder}/{name} is no part of version {version}; it stays", err=True)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def _write(path: Path, text: str) -> None:
    """Put a file in its place whole: a watcher must never see half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _act(instance: Instance) -> Act:
    """An act of whoever types, now."""
    return Act(getpass.getuser(), "", instance.clock.now())


async def _publish(
    instance: Instance,
    files: Mapping[str, str],
    note: str,
    based_on: int | None,
    folder_sha256: str | None,
) -> int:
    draft = checked_draft(files)
    async with instance.database.transaction() as connection:
        act = _act(instance)
        return await publish(
            connection, files, draft, act, note=note, based_on=based_on, folder_sha256=folder_sha256
        )


async def _activate(instance: Instance, version: int) -> bool:
    async with instance.database.transaction() as connection:
        return await activate(connection, version, _act(instance))


async def _versions(instance: Instance) -> list[RulebookSummary]:
    return await list_versions(instance.database.lists, limit=_LISTED_MAX)


async def _version(instance: Instance, version: int) -> RulebookAnswer:
    return await get_version(instance.database.lists, version)
