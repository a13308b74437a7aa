"""What people read all day: one prepared statement a time, on connections that only read.

They are apart from those that write, so that neither waits for the other. No transaction is begun
or ended, and nothing stands between the caller and the driver: asyncpg's own pool makes a task, a
timer and a proxy for each use, which cost more than the statement does in this process.
"""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

# Who waits longer for a free connection is told that the service is busy.
PATIENCE_S = 5.0

Row = asyncpg.Record


class Reads:
    """So many connections, each made when it is first needed, and anew once it was lost."""

    def __init__(
        self, connect: Callable[[], Awaitable[asyncpg.Connection]], size: int, silent_s: float
    ) -> None:
        """`connect` opens one more; after `silent_s` without an answer a line is cut."""
        self._connect = connect
        self._silent_s = silent_s
        self._loop = asyncio.get_running_loop()
        self._turns = asyncio.Semaphore(size)
        self._free: list[asyncpg.Connection | None] = [None] * size

    async def fetch(self, sql: str, *values: object) -> list[Row]:
        """All rows of a statement. Raises TimeoutError when no connection becomes free in time."""
        if self._turns.locked():
            async with asyncio.timeout(PATIENCE_S):
                await self._turns.acquire()
        else:
            await self._turns.acquire()
        connection = self._free.pop()
        try:
            if connection is None or connection.is_closed():
                connection = await self._connect()
            cut = self._loop.call_later(self._silent_s, connection.terminate)
            try:
                rows: list[Row] = await connection.fetch(sql, *values)
            finally:
                cut.cancel()
            return rows
        finally:
            self._free.append(connection)
            self._turns.release()

    async def first(self, sql: str, *values: object) -> Row | None:
        """The first row, if there is one."""
        return next(iter(await self.fetch(sql, *values)), None)

    async def close(self) -> None:
        """End all connections; those in use end with their statement."""
        for connection in self._free:
            if connection is not None:
                await connection.close()
