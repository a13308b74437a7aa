"""Brings a database to the form that this version of the program wants."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base, Connection, DatabaseUnusableError, speak_json
from service.platform.terminal import typed

_FOLDER = Path(__file__).parent.parent.parent / "migrations"
_LOCK = 7_295_041  # any number, the same in every process

Step = Callable[[Connection, bytes], Awaitable[bytes | None]]
"""One page of a step, in a transaction: from behind which place to the next; None: it was all."""


class UnfinishedMigration(Base):
    """A step that goes on after the tables are there, until this row is gone; `after`: how far."""

    __tablename__ = "unfinished_migrations"

    step: Mapped[str] = mapped_column(primary_key=True)
    after: Mapped[bytes]


async def check_migrated(connection: Connection, name: str) -> None:
    """Raise DatabaseUnusableError when a database lacks tables or columns of this version.

    One that a newer version has migrated already is let pass: both run beside each other then.
    """
    try:
        found = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        found = None
    is_wanted = found == wanted_revision()
    if is_wanted and not await connection.fetchval(_IS_UNFINISHED):
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


async def finish_migrations(database_url: str, steps_of: Callable[[], Mapping[str, Step]]) -> None:
    """Go on with what the migrations could not do by themselves, page by page, where it stopped.

    `steps_of` is asked only if there is any. Two processes may do so at once.
    """
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    steps: Mapping[str, Step] = {}
    try:
        await speak_json(connection)
        while await connection.fetchval(_IS_UNFINISHED):
            steps = steps or steps_of()
            async with connection.transaction():
                for step, after in await connection.fetch(_NEXT):
                    end = await steps[step](connection, after)
                    if end is None:
                        await connection.execute(_FINISH, step)
                    else:
                        await connection.execute(_ADVANCE, step, end)
    finally:
        await connection.close()


@cache
def wanted_revision() -> str | None:
    """The revision that this program wants a database to be at."""
    return ScriptDirectory(str(_FOLDER)).get_current_head()


def _upgrade(database_url: str, revision: str) -> None:
    configuration = Config()
    # The library reads its options with interpolation: a bare % in a folder's name would end it.
    configuration.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    configuration.attributes["database_url"] = database_url
    command.upgrade(configuration, revision)


_IS_UNFINISHED = "SELECT EXISTS (SELECT FROM unfinished_migrations)"
_NEXT = "SELECT step, after FROM unfinished_migrations ORDER BY step LIMIT 1 FOR NO KEY UPDATE"
_FINISH = "DELETE FROM unfinished_migrations WHERE step = $1"
_ADVANCE = "UPDATE unfinished_migrations SET after = $2 WHERE step = $1"
