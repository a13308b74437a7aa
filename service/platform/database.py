"""PostgreSQL: the tables' base, and the doors to it.

Everything that locks books or moves grams runs set-based SQL on an asyncpg connection inside one
`database.transaction()`. What is read is one statement of `database.reads`, for people, or of
`database.lists`, for operators. SQLAlchemy knows the tables, for migrations, and asks nothing.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy import DateTime, MetaData, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase

from service.platform.errors import PlainError
from service.platform.reads import PATIENCE_S, Reads
from service.platform.settings import Settings

_NAMES = {
    "pk": "pk_%(table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
}

Connection = asyncpg.Connection | PoolConnectionProxy

# All that a driver raises; what of it passes by itself is told by `is_passing`.
DRIVER_FAULTS = (
    OSError,
    EOFError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    DBAPIError,
)
# No connection (08, 28, 3D), a conflict (40), too little room (53), a server that stops, starts,
# cancels (57) or lets nobody in (55), a transaction that rested for too long because this process
# was stopped (25P03), a server that became a standby (25006), and an unknown outcome (XX000).
_PASSING = ("08", "28", "3D", "40", "53", "55", "57", "25P03", "25006", "XX000")


class DatabaseUnusableError(PlainError):
    """Nobody answers there, or the tables are not ours."""


class Base(DeclarativeBase):
    """Base of every table; alembic and the drift test compare its metadata with the database.

    A column is of the type that its annotation says; whole numbers of another width say so.
    """

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it of the class
        str: Text,
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text),
        dict[str, str]: JSONB,
        dict[str, Any]: JSONB,
        list[dict[str, Any]]: JSONB,
    }


@dataclass(frozen=True, slots=True)
class Write:
    """One data-modifying SQL text with its own $1..$n, to be joined with others by `write_all`."""

    sql: str
    values: tuple[Any, ...]


async def write_all(connection: Connection, writes: Sequence[Write]) -> None:
    """Send these writes as the CTEs of one statement: one round trip whatever their number.

    They see one snapshot and must not touch the same row twice.
    """
    if writes:
        values = [value for write in writes for value in write.values]
        await connection.execute(_joined(tuple(write.sql for write in writes)), *values)


def row_count(status: str) -> int:
    """How many rows a statement touched, from what the driver says of it."""
    return int(status.rpartition(" ")[2])


@lru_cache(maxsize=256)
def _joined(texts: tuple[str, ...]) -> str:
    parts, offset = [], 0
    for position, text in enumerate(texts):
        numbers = [int(number) for number in _PLACEHOLDER.findall(text)]
        shifted = _PLACEHOLDER.sub(lambda m, by=offset: f"${int(m[1]) + by}", text)  # type: ignore[misc]
        parts.append(f"w{position} AS (\n{shifted}\n)")
        offset += max(numbers, default=0)
    return "WITH " + ",\n".join(parts) + "\nSELECT 1"


_PLACEHOLDER = re.compile(r"\$(\d+)")

# Whether the request that is served here may have stored something: it is not run again then.
has_stored = ContextVar("has_stored", default=False)


# So many actions of a lane wait for their held books at once, each on a connection of its own.
PATIENT_AT_ONCE = 2
# Whoever waits longer for a row that somebody holds is told so, and harms nobody else.
_LOCK_TIMEOUT = "2s"
# A transaction of a lane in which each statement takes its longest time has about so many.
_STATEMENTS = 4
# So many connections are enough for what operators read.
_LISTS = 4


@dataclass
class Database:
    """The doors to one PostgreSQL database. Open it once a process, close it at the end."""

    pool: asyncpg.Pool
    lane_pool: asyncpg.Pool
    reads: Reads
    lists: Reads
    silent_s: float
    """A transaction of a lane whose line says nothing for so long is cut."""
    keyed: asyncio.Semaphore
    """What holds a transaction while lanes work for it: half of `pool` is for everybody else."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction on a connection of the writing pool; commits when the block ends well."""
        async with self.pool.acquire(timeout=PATIENCE_S) as connection, connection.transaction():
            yield connection
        has_stored.set(True)

    @asynccontextmanager
    async def lane_transaction(self) -> AsyncIterator[Connection]:
        """One transaction of the writer, whose lanes have connections of their own.

        Otherwise a few people who wait for a held book would leave none for everybody's actions.
        A line on which nothing comes back is cut: its lane would never serve anybody again.
        """
        async with self.lane_pool.acquire(timeout=PATIENCE_S) as connection:
            cut = asyncio.get_running_loop().call_later(self.silent_s, connection.terminate)
            try:
                async with connection.transaction():
                    yield connection
            finally:
                cut.cancel()

    async def close(self) -> None:
        """Give back all connections."""
        await self.pool.close()
        await self.lane_pool.close()
        await self.reads.close()
        await self.lists.close()


async def open_database(settings: Settings, url: str) -> Database:
    """Connect all doors. Raises DatabaseUnusableError when nobody answers."""
    server_settings = {
        "application_name": "saxaul",
        "statement_timeout": str(settings.statement_timeout_ms),
        "idle_in_transaction_session_timeout": str(settings.statement_timeout_ms),
        "lock_timeout": _LOCK_TIMEOUT,
        "plan_cache_mode": "force_generic_plan",
        "timezone": "UTC",
        "jit": "off",
    }

    def make_pool(smallest: int, largest: int) -> asyncpg.Pool:
        return asyncpg.create_pool(
            url,
            min_size=smallest,
            max_size=largest,
            server_settings=server_settings,
            init=speak_json,
            reset=_keep_session,
        )

    async def connect_reader(plans: str) -> asyncpg.Connection:
        reading = {"default_transaction_read_only": "on", "plan_cache_mode": plans}
        only_reads = {**server_settings, **reading}
        connection = await asyncpg.connect(url, server_settings=only_reads)
        await speak_json(connection)
        return connection

    try:
        pool = await make_pool(1, settings.writer_pool)
    except (ValueError, *DRIVER_FAULTS) as error:
        # ValueError: asyncpg reads the address here, and ssl files that it names.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatabaseUnusableError(
            f"PostgreSQL does not let us in to the database {database_name(url)}: {reason}"
        ) from error
    lane_pool = await make_pool(0, settings.lanes + PATIENT_AT_ONCE)
    # The statements of a batch each have their time.
    silent_s = settings.statement_timeout_ms / 1_000 * _STATEMENTS
    reads = Reads(partial(connect_reader, "force_generic_plan"), settings.database_pool, silent_s)
    lists = Reads(partial(connect_reader, "auto"), _LISTS, silent_s)
    keyed = asyncio.Semaphore(settings.writer_pool // 2)
    return Database(pool, lane_pool, reads, lists, silent_s, keyed)


def database_name(url: str) -> str:
    """A database's address for people: name and host, no user and no password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or dict(parse_qsl(parts.query)).get("host", "localhost")
    return f"{parts.path.lstrip('/') or 'of the default name'} at {host}"


def is_outdated_plan(error: BaseException) -> bool:
    """Whether the tables changed under a prepared statement, which is forgotten by now.

    The transaction did nothing; the same again is prepared anew.
    """
    outdated = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
    return isinstance(_of_driver(error), outdated)


def is_passing(error: BaseException) -> bool:
    """Whether running the same transaction again may succeed, or may find it done."""
    found = _of_driver(error)
    if isinstance(found, asyncpg.PostgresError):
        return is_outdated_plan(found) or (found.sqlstate or "").startswith(_PASSING)
    if isinstance(found, DBAPIError):
        return found.connection_invalidated
    # What asyncpg could not encode is a ValueError as well.
    return isinstance(found, DRIVER_FAULTS) and not isinstance(found, ValueError)


def _of_driver(error: BaseException) -> BaseException:
    """What asyncpg raised, where SQLAlchemy stands between."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error
    return error


async def _keep_session(_connection: Connection) -> None:
    """Spare the round trip that cleans a session: nobody here changes more than a transaction."""


async def speak_json(connection: Connection) -> None:
    """Send and read jsonb as Python values."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
    )


def sqlalchemy_url(url: str) -> str:
    """The same address in SQLAlchemy's form: driver asyncpg; `host=` for a socket folder stays."""
    parts = urlsplit(url)
    query = urlencode(parse_qsl(parts.query), safe="/")
    return urlunsplit(("postgresql+asyncpg", parts.netloc, parts.path, query, ""))
