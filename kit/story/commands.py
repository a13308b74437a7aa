"""`saxaul demo`: starts a fresh instance, lets it tell the story, and removes every trace of it."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console

from kit.ports import free_port
from kit.replay.api import ApiError, open_api
from kit.story.tell import tell_story
from service.instance.children import EmbeddedError, start_child, stop_child
from service.instance.servers import reset_home
from service.platform.settings import Settings, child_environment, load_only

_READY_S = 45.0
_STOP_S = 20.0
_PREFIX = "saxaul-demo-"


@click.command()
def demo() -> None:
    """Tell the whole story in a fresh instance of its own, then exit. Leaves nothing behind."""
    settings = load_only("env", "rules_dir")
    if settings.env == "production":
        raise click.ClickException(
            "the demo makes a development instance of its own, and SAXAUL_ENV=production is set:"
            " unset it for this command."
        )
    console = Console(highlight=False)
    try:
        sys.exit(asyncio.run(_demo(console, settings.rules_dir.absolute())))
    except ApiError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


async def _demo(console: Console, rules: Path) -> int:
    """Run until the end of the story, or until somebody asks to stop; clean up either way."""
    telling = asyncio.create_task(_tell(console, rules))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # Once: a second Ctrl-C must not break off the cleaning up.
        if not telling.cancelling():
            telling.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        await telling
    except asyncio.CancelledError:
        console.print("stopped")
        return 1
    return 0


async def _tell(console: Console, rules: Path) -> None:
    began = time.monotonic()
    async with _instance(console, rules) as url, open_api(url) as api:
        await tell_story(api, console)
    console.print(f"Told in {time.monotonic() - began:.0f} s; the instance is gone again.")


@asynccontextmanager
async def _instance(console: Console, rules: Path) -> AsyncIterator[str]:
    """The address of a fresh instance in a temporary folder, which is removed at the end."""
    await _remove_left_over()
    home = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        port = free_port()
        console.print("Starting a fresh instance with its own PostgreSQL and Redis ...")
        with (home / "run.log").open("wb") as log:
            process = start_child(
                [sys.executable, "-m", "service", "run"],
                at_parents_death=signal.SIGTERM,
                output=log,
                # Rules that somebody works on are worth a demo; all else is the instance's own.
                environment=child_environment(
                    home=str(home),
                    port=str(port),
                    rules_dir=str(rules),
                ),
                own_group=True,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            await _until_ready(process, url, home / "run.log")
            yield url
        finally:
            await stop_child(process, signal.SIGTERM, patience_s=_STOP_S)
    finally:
        await _remove(home)


async def _remove(home: Path) -> None:
    try:
        # As root the data may lie elsewhere; only the program knows where.
        await reset_home(msgspec.structs.replace(Settings(), home=home))
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _remove_left_over() -> None:
    """Remove the folders of demos that were killed: nobody else comes back to them."""
    for home in _left_over():
        await _remove(home)


def _left_over() -> list[Path]:
    return [
        home
        for home in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*")
        if home.stat().st_uid == os.getuid() and not _lives(home.name.split("-")[2])
    ]


def _lives(owner: str) -> bool:
    """Whether a process lives. What has no number for a name is none of ours, and left alone."""
    if not owner.isdecimal():
        return True
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait for the instance. Raises EmbeddedError with the last line that it said."""
    deadline = time.monotonic() + _READY_S
    async with open_api(url, patience_s=0) as api:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if (await api.send("GET", "/health/ready")).is_success:
                    return
            except ApiError:
                await asyncio.sleep(0.1)
    raise EmbeddedError(f"the demo's instance did not start: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
