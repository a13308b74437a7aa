"""Processes that live no longer than ours."""

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from msgspec import Struct

from service.platform.errors import PlainError

Process = subprocess.Popen[bytes]

_LAUNCH = str(Path(__file__).with_name("launch.py"))


class EmbeddedError(PlainError):
    """The embedded servers cannot work here."""


class Owner(Struct, frozen=True):
    """The system user that a server runs as."""

    uid: int
    gid: int
    name: str


def user_name(uid: int) -> str:
    """The name of a system user, its number when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def start_child(
    command: Sequence[str],
    *,
    at_parents_death: signal.Signals,
    owner: Owner | None = None,
    output: IO[Any] | None = None,
    environment: Mapping[str, str] | None = None,
    own_group: bool = False,
) -> Process:
    """Start a process that the kernel signals when this one dies. Call it from the main thread.

    With `own_group` a Ctrl-C of the terminal does not reach it: its stop is decided here.
    """
    identity = f"{owner.uid}:{owner.gid}" if owner else ""
    launcher = [sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), str(int(at_parents_death))]
    return subprocess.Popen(
        [*launcher, identity, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        cwd="/" if owner else None,
        env=environment,
        process_group=0 if own_group else None,
    )


class Server(Struct, frozen=True):
    """A running server: its address, and how it ends. `mark` tells its process from others."""

    process: Process
    url: str
    mark: str
    sockets: Path
    gentle: signal.Signals
    patience_s: float

    async def stop(self) -> None:
        """Stop it. The folder that a killed one left is taken up by the next."""
        await stop_child(self.process, self.gentle, self.patience_s)
        with suppress(OSError):
            self.sockets.rmdir()


async def has_begun(
    process: Process, answers: Awaitable[bool], gentle: signal.Signals, patience_s: float
) -> bool:
    """Whether a server that was just started answers; it is ended when it does not.

    Also at a Ctrl-C: nobody else would end it.
    """
    answered = False
    try:
        answered = await answers
    finally:
        if not answered:
            await stop_child(process, gentle, patience_s)
    return answered


async def stop_child(process: Process, gentle: signal.Signals, patience_s: float) -> bool:
    """Ask a child to end, then end it. True when asking was enough."""
    if process.poll() is None:
        process.send_signal(gentle)
    if await wait_until_gone(process, patience_s):
        return True
    process.kill()
    await wait_until_gone(process, 5)
    return False


async def wait_until_gone(process: Process, patience_s: float) -> bool:
    """Wait for a child to end by itself; False when it still lives after this time."""
    deadline = time.monotonic() + patience_s
    while process.poll() is None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def end_leftover(pid: int, mark: str, gentle: signal.Signals) -> None:
    """End a server of an instance that was killed, if the process is still that server.

    `mark` must stand in its command line, because a process id may be somebody else's by now.
    """
    for asked in (gentle, signal.SIGKILL):
        if mark not in _command_line(pid):
            return
        with suppress(ProcessLookupError):
            os.kill(pid, asked)
        for _ in range(250):
            await asyncio.sleep(0.02)
            if mark not in _command_line(pid):
                return


def _command_line(pid: int) -> str:
    """The command line of a process, "" when there is none; a zombie has none either."""
    if Path("/proc/self").exists():
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            return ""
    listed = subprocess.run(
        ["/bin/ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout
