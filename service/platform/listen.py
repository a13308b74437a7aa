"""One connection a process that only listens: moves of the clock, erasures, new rulebooks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog

from service.platform.beside import beside
from service.platform.database import DRIVER_FAULTS, Connection

# How long a word can be missed when the connection dies without a sign.
_PING_S = 20.0
_AGAIN_S = 0.5
_PATIENCE_S = 5.0

# Called with each new connection: begin to listen there, and catch up on what was missed.
Follow = Callable[[Connection], Awaitable[None]]

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def listening(url: str, follows: Sequence[Follow]) -> AsyncIterator[None]:
    """Keep a listening connection for the block's time, a new one when it breaks.

    Returns into the block once everything listens. Raises OSError or asyncpg.PostgresError when
    the first connection fails.
    """
    connection = await _connected(url, follows)
    async with beside(_keep(url, follows, connection)):
        yield


async def _connected(url: str, follows: Sequence[Follow]) -> asyncpg.Connection:
    connection = await asyncpg.connect(url, timeout=_PATIENCE_S, command_timeout=_PATIENCE_S)
    try:
        for follow in follows:
            await follow(connection)
    except BaseException:
        # Also when cancelled: nobody else has this connection to close it.
        connection.terminate()
        raise
    return connection


async def _keep(url: str, follows: Sequence[Follow], connection: asyncpg.Connection | None) -> None:
    try:
        while True:
            try:
                if connection is None:
                    connection = await _connected(url, follows)
                await _until_broken(connection)
            except DRIVER_FAULTS as error:
                _log.warning("listening_broken", error=repr(error))
            if connection is not None:
                connection.terminate()
                connection = None
            await asyncio.sleep(_AGAIN_S)
    finally:
        if connection is not None:
            connection.terminate()


async def _until_broken(connection: asyncpg.Connection) -> None:
    closed = asyncio.Event()
    connection.add_termination_listener(lambda _: closed.set())
    while not closed.is_set():
        try:
            await asyncio.wait_for(closed.wait(), _PING_S)
        except TimeoutError:
            await connection.execute("SELECT 1")
