"""Brings a database to the form that this version of the program wants."""

import asyncio
from functools import cache
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from service.database import Connection, DatabaseUnusableError
from service.typed import typed

_FOLDER = Path(__file__).parent.parent / "migrations"
_LOCK = 7_295_041  # any number, the same in every process


async def check_migrated(connection: Connection, name: str) -> None:
    """Raise DatabaseUnusableError when a database lacks tables or columns of this version.

    One that a newer version has migrated already is let pass: both run beside each other then.
    """
    try:
        found = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        found = None
    if found == wanted_revision():
        return
    if found is None:
        raise DatabaseUnusableError(
            f"{name} has no tables of Saxaul yet: `{typed('migrate')}` makes them."
        )
    known = {script.revision for script in ScriptDirectory(str(_FOLDER)).walk_revisions()}
    if found in known:
        raise DatabaseUnusableError(
            f"{name} is as an older version of Saxaul left it:"
            f" `{typed('migrate')}` brings it up to date."
        )


async def migrate(database_url: str, revision: str = "head") -> None:
    """Run the pending migrations, all in one transaction.

    Two processes may do so at once: the second one waits and finds nothing to do.
    """
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        # In a thread: alembic is synchronous, and its environment runs a loop of its own.
        await asyncio.to_thread(_upgrade, database_url, revision)
    finally:
        await connection.close()


@cache
def wanted_revision() -> str | None:
    """The revision that this program wants a database to be at."""
    return ScriptDirectory(str(_FOLDER)).get_current_head()


def _upgrade(database_url: str, revision: str) -> None:
    configuration = Config()
    configuration.set_main_option("script_location", str(_FOLDER))
    configuration.attributes["database_url"] = database_url
    command.upgrade(configuration, revision)
