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

from msgspec import Struct

from service.embedded.account import data_folder
from service.embedded.children import EmbeddedError, end_leftover
from service.embedded.home import Home, Running, remove_socket_leftovers
from service.embedded.postgres import Postgres, start_postgres, stop_postgres
from service.embedded.redis import RedisServer, start_redis, stop_redis
from service.migrate import migrate
from service.settings import Settings

# As long as a start may take: PostgreSQL waits up to 30 s for a killed one's lock.
_NOTE_S = 40.0


class Servers(Struct, frozen=True):
    """Where PostgreSQL and Redis listen, embedded or not."""

    database_url: str
    redis_url: str


@asynccontextmanager
async def servers(settings: Settings, what: str = "a command") -> AsyncIterator[Servers]:
    """The servers of the running instance; started for the block's time when nothing runs.

    An embedded database that is started here is migrated, too, so that a command finds its tables.
    With both addresses set nothing embedded is touched. Raises EmbeddedError with one line.
    """
    if not needs_embedded(settings):
        yield Servers(database_url=settings.database_url, redis_url=settings.redis_url)
        return
    home = Home(settings.home)
    deadline = time.monotonic() + _NOTE_S
    while not home.take_lock():
        note = home.read_note()
        if note is not None:
            yield Servers(database_url=note.database_url, redis_url=note.redis_url)
            return
        if time.monotonic() > deadline:
            raise EmbeddedError(f"the instance that uses {home.path} does not get its servers up.")
        await asyncio.sleep(0.1)
    try:
        async with started_servers(settings, home, what=what) as found:
            if settings.embedded_database:
                await migrate(found.database_url)
            yield found
    finally:
        home.free_lock()


def needs_embedded(settings: Settings) -> bool:
    """Whether a server of ours is wanted, and with it the state folder."""
    return settings.embedded_database or settings.embedded_redis


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

    `what` and `url` tell others who uses the folder.
    """
    await _end_leftovers(home)
    postgres: Postgres | None = None
    redis: RedisServer | None = None
    try:
        if settings.embedded_redis:
            redis = await start_redis(home)
        if settings.embedded_database:
            postgres = await start_postgres(home, durable=durable)
        found = Servers(
            database_url=postgres.url if postgres else settings.database_url,
            redis_url=redis.url if redis else settings.redis_url,
        )
        started = [server for server in (postgres, redis) if server is not None]
        home.note(
            Running(
                pid=os.getpid(),
                what=what,
                url=url,
                database_url=found.database_url,
                redis_url=found.redis_url,
                children={server.mark: server.process.pid for server in started},
            )
        )
        yield found
    finally:
        if redis is not None:
            await stop_redis(redis)
        if postgres is not None:
            await stop_postgres(postgres)
        home.forget()


def has_server_ended(settings: Settings) -> bool:
    """Whether PostgreSQL or Redis, children of this process, ended by itself."""
    running = Home(settings.home).read_note()
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
