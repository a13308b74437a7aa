"""The way in for a command: the instance's servers, and its database, open and up to date."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, TypeVarTuple

from msgspec import Struct

from service.instance.migrate import check_migrated
from service.instance.servers import Servers, instance_name, require_instance, servers
from service.platform.clock import Clock
from service.platform.database import Database, open_database
from service.platform.settings import Settings, load_settings

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Instance(Struct, frozen=True):
    """An instance that can be worked with. `name` tells people which one, without a password."""

    settings: Settings
    servers: Servers
    database: Database
    clock: Clock
    name: str


def on_instance(what: str, work: Callable[[Instance, *Ts], Awaitable[T]], *given: *Ts) -> T:
    """What a command works out on the instance of the settings. Raises as `open_instance`."""

    async def done() -> T:
        async with open_instance(load_settings(), what) as instance:
            return await work(instance, *given)

    return asyncio.run(done())


@asynccontextmanager
async def open_instance(settings: Settings, what: str) -> AsyncIterator[Instance]:
    """The running instance, or the one of the state folder, started for the block's time.

    Raises EmbeddedError when there is none, DatabaseUnusableError when its database does not answer
    or lacks tables.
    """
    require_instance(settings)
    name = instance_name(settings)
    async with servers(settings, what) as found:
        database = await open_database(settings, found.database_url)
        try:
            async with database.pool.acquire() as connection:
                await check_migrated(connection, name)
                clock = Clock()
                await clock.refresh(connection)
            yield Instance(settings, found, database, clock, name)
        finally:
            await database.close()
