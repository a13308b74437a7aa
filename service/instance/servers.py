"""Real servers for whoever has none: PostgreSQL and Redis as children of this process.

One process, the holder of the state folder's lock, starts and stops them; every other one finds
them through the note that the holder leaves there. A server whose address is set is never started.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from service.instance.account import data_folder
from service.instance.children import EmbeddedError, Server, end_leftover
from service.instance.home import Home, Running, is_there, remove_socket_leftovers
from service.instance.migrate import migrate
from service.instance.postgres import start_postgres
from service.instance.redis import start_redis
from service.platform.database import database_name
from service.platform.settings import Settings
from service.platform.terminal import typed

# As long as a start may take: PostgreSQL waits up to 30 s for a killed one's lock, then come the
# migrations and the rules.
_NOTE_S = 60.0


class NoInstanceError(EmbeddedError):
    """A command was typed where there is nothing for it."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"there is no instance in the state folder {home}: type this where yours was started,"
            f" let SAXAUL_HOME name its folder, or start one with `{typed('run')}`."
        )


class Servers(Struct, frozen=True):
    """Where PostgreSQL and Redis listen, embedded or not.

    `has_fresh_redis` tells that Redis was started for this block: it holds nothing yet.
    """

    database_url: str
    redis_url: str
    has_fresh_redis: bool = False


@asynccontextmanager
async def servers(settings: Settings, what: str = "a command") -> AsyncIterator[Servers]:
    """The servers of the running instance; started for the block's time when nothing runs.

    An embedded database that is started here is migrated, too, so that a command finds its tables.
    With both addresses set nothing embedded is touched. Raises EmbeddedError with one line.
    """
    if not needs_embedded(settings):
        yield Servers(settings.database_url, settings.redis_url)
        return
    home = Home(settings.home)
    deadline = time.monotonic() + _NOTE_S
    while not home.take_lock():
        note = home.read_note()
        if note is not None and note.is_ready:
            yield Servers(note.database_url, note.redis_url)
            return
        if time.monotonic() > deadline:
            raise EmbeddedError(f"the instance that uses {home.path} does not get its servers up.")
        await asyncio.sleep(0.1)
    try:
        async with started_servers(settings, home, what=what) as found:
            if settings.embedded_database:
                await migrate(found.database_url)
            home.note_ready()
            yield found
    finally:
        home.free_lock()


def needs_embedded(settings: Settings) -> bool:
    """Whether a server of ours is wanted, and with it the state folder."""
    return settings.embedded_database or settings.embedded_redis


def require_instance(settings: Settings) -> None:
    """Raise NoInstanceError where no embedded database was ever made. Makes no folder.

    One that is just being made, by a first start, counts.
    """
    if not settings.embedded_database or is_in_use(settings):
        return
    if settings.home.is_dir() and data_folder(settings.home).exists():
        return
    raise NoInstanceError(settings.home)


def is_in_use(settings: Settings) -> bool:
    """Whether the servers run already, or are being started, by somebody else."""
    if not needs_embedded(settings):
        return True
    if not is_there(settings.home, "lock"):
        return False
    home = Home(settings.home)
    if not home.take_lock():
        return True
    home.free_lock()
    return False


def instance_name(settings: Settings) -> str:
    """What a command works on, for people to read: never with a password."""
    if settings.embedded_database:
        return f"the instance in {settings.home}"
    return f"the database {database_name(settings.database_url)}"


def take_home(settings: Settings) -> Home:
    """The state folder with its lock. Raises EmbeddedError when another process has it."""
    home = Home(settings.home)
    if home.take_lock():
        return home
    note = home.read_note()
    using = f"{note.what}, process {note.pid}{note.url and ', ' + note.url}" if note else "starting"
    raise EmbeddedError(f"the state folder {home.path} is in use by another instance ({using}).")


@asynccontextmanager
async def started_servers(
    settings: Settings, home: Home, *, what: str, url: str = "", durable: bool = True
) -> AsyncIterator[Servers]:
    """Start what has no address in the settings; stop it after the block. The lock must be held.

    `what` and `url` tell others who uses the folder; they wait until `note_ready` was called.
    """
    await _end_leftovers(home)
    found, started = Servers(settings.database_url, settings.redis_url), list[Server]()
    try:
        if settings.embedded_redis:
            started.append(redis := await start_redis(home))
            found = replace(found, redis_url=redis.url, has_fresh_redis=True)
        if settings.embedded_database:
            started.append(postgres := await start_postgres(home, durable=durable))
            found = replace(found, database_url=postgres.url)
        children = {server.mark: server.process.pid for server in started}
        home.note(Running(os.getpid(), what, url, found.database_url, found.redis_url, children))
        yield found
    finally:
        for server in started:
            await server.stop()
        home.forget()


def has_server_ended(home: Home) -> bool:
    """Whether PostgreSQL or Redis, children of this process, ended by itself."""
    running = home.read_note()
    for pid in running.children.values() if running else ():
        try:
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        if ended is not None:
            return True
    return False


async def reset_home(settings: Settings) -> None:
    """Remove all embedded state. Raises EmbeddedError when an instance uses it."""
    home = take_home(settings)
    try:
        await _end_leftovers(home)
        elsewhere = data_folder(home.path).parent
        remove_socket_leftovers(home.path)
        home.empty(*([elsewhere] if elsewhere != home.path else []))
    except OSError as error:
        raise EmbeddedError(f"cannot remove {error.filename}: {error.strerror}.") from error
    finally:
        home.free_lock()


async def _end_leftovers(home: Home) -> None:
    """End the servers of a killed run where the kernel did not: it does so on Linux only."""
    note = home.read_note()
    home.forget()
    if note is not None:
        for mark, pid in note.children.items():
            await end_leftover(pid, mark, signal.SIGINT)
