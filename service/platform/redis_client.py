"""Redis: one client a process, with short patience, because everything in it can be missed."""

from typing import Any

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

# What passes by itself: it is away, full or busy, or another node is about to take over.
REDIS_AWAY = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.TryAgainError,
    redis.exceptions.ClusterError,
)
_PATIENCE_S = 1.0
_CONNECTIONS_MAX = 64


class _Pool(BlockingConnectionPool):
    """Whoever stops waiting passes on the turn that may have come to them in the same moment.

    Python before 3.13 forgets it: others would wait beside free connections.
    """

    async def get_connection(self) -> Any:  # type: ignore[override]
        try:
            return await super().get_connection()  # type: ignore[no-untyped-call]
        except BaseException:
            # Also when cancelled: whoever waits behind would never hear of the free connection.
            async with self._condition:
                self._condition.notify()
            raise


def open_redis(url: str) -> Redis:
    """A client of this server; it connects at its first command.

    Who comes when all connections are in use waits for one, as long as for an answer: what Redis
    answers in time gives them back much sooner.
    """
    pool = _Pool.from_url(
        url,
        timeout=_PATIENCE_S,
        socket_timeout=_PATIENCE_S,
        socket_connect_timeout=_PATIENCE_S,
        max_connections=_CONNECTIONS_MAX,
        health_check_interval=0,
        # One new attempt mends a connection that the server closed; more would only wait longer.
        retry=Retry(NoBackoff(), 1),
    )
    return Redis.from_pool(pool)
