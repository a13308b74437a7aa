"""What ends a command and a person can mend, as one plain line."""

import asyncpg
import redis.exceptions

from service.address import AddressError
from service.database import DatabaseUnusableError
from service.embedded.children import EmbeddedError
from service.errors import SaxaulError
from service.settings import SettingsError
from service.supervise import RunError

# Their message is one line that says what a person can do.
_PLAIN = (
    AddressError,
    DatabaseUnusableError,
    EmbeddedError,
    RunError,
    SaxaulError,
    SettingsError,
)
_POSTGRES_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    ConnectionRefusedError,
    ConnectionResetError,
)
_REDIS_GONE = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)


def plain_line(error: Exception) -> str | None:
    """The line that tells it; None for what only a traceback explains."""
    if isinstance(error, _PLAIN):
        return str(error)
    if isinstance(error, PermissionError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, _POSTGRES_GONE):
        return f"PostgreSQL does not answer any more: {error}"
    if isinstance(error, _REDIS_GONE):
        return f"Redis does not answer: {error}"
    return None
