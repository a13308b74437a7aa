"""The terminal: a bar for long work, and how this program is typed where a person is."""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn


def commands_of(module: ModuleType) -> list[click.Command]:
    """The commands that a module makes."""
    return [each for each in vars(module).values() if isinstance(each, click.Command)]


@contextmanager
def share_bar(
    what: str, time: ProgressColumn, *, is_quiet: bool = False
) -> Iterator[Callable[..., None]]:
    """A bar on stderr of how much is done, gone at the end, and only where a person sees it.

    It is moved by what this yields: the share done, of 1; a text beside it, whose {rate} becomes
    `counted` by the seconds since the beginning; and other words to stand before it than `what`.
    """
    console = Console(stderr=True)
    text, percent = TextColumn("{task.description}"), TextColumn("{task.percentage:>3.0f} %")
    columns = (text, BarColumn(), percent, TextColumn("{task.fields[told]}"), time)
    is_quiet = is_quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=is_quiet) as progress:
        bar = progress.add_task(what, total=1.0, told="")

        def show(share: float, told: str, counted: int, description: str = what) -> None:
            told = told.format(rate=int(counted / (progress.tasks[bar].elapsed or 1.0)))
            progress.update(bar, completed=share, told=told, description=description)

        yield show


def typed(words: str) -> str:
    """The command of these words: `saxaul run`, or `.venv/bin/saxaul run` after `make run`."""
    ours = Path(sys.executable).with_name("saxaul")
    on_path = shutil.which("saxaul")
    if on_path is not None and Path(on_path).absolute() == ours:
        return f"saxaul {words}"
    program = [str(ours)] if ours.exists() else [sys.executable, "-m", "service"]
    if Path(program[0]).is_relative_to(folder := Path.cwd()):
        program[0] = os.path.relpath(program[0], folder)
    return f"{shlex.join(program)} {words}"
