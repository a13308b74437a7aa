"""The way in for a command: the instance's servers, and its database, open and up to date."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.instance.migrate import check_migrated
from service.instance.servers import Servers, instance_name, require_instance, servers
from service.platform.database import Database, open_database
from service.platform.settings import Settings


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that can be worked with. `name` tells people which one, without a password."""

    servers: Servers
    database: Database
    name: str


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
            yield Instance(found, database, name)
        finally:
            await database.close()
