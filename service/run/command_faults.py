"""What ends a command and a person can mend, as one plain line."""

from service.platform.database import is_outdated_plan, is_passing
from service.platform.errors import PlainError, SaxaulError
from service.platform.redis_client import REDIS_AWAY

_OF_A_LINE = (ConnectionError, TimeoutError)


def plain_line(error: Exception) -> str | None:
    """The line that tells it; None for what only a traceback explains."""
    if isinstance(error, PlainError | SaxaulError):
        return str(error)
    if isinstance(error, PermissionError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, REDIS_AWAY):
        return f"Redis does not answer: {error}"
    if is_outdated_plan(error):
        return "The tables were changed meanwhile, and nothing was done: run it again."
    # Other faults of the system are of files, and tell too little without a traceback.
    if is_passing(error) and (isinstance(error, _OF_A_LINE) or not isinstance(error, OSError)):
        return f"PostgreSQL does not answer any more: {error}"
    return None
