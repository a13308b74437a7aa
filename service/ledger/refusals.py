"""Why an order is not booked, where it is not the order that refuses itself."""

import asyncpg

from service.ledger.orders import Order, RequestOrder
from service.platform.errors import SaxaulError, UnavailableError


class QueueFullError(UnavailableError):
    """More is waiting than the lanes may hold; nothing was stored."""

    text = "The service has more to record than it can hold; try again shortly."


class NotRecordedError(UnavailableError):
    """The database failed or did not say how it ended; sending it again is always safe."""

    text = "The action may not be stored; send it again with the same key."


class MaybeStoredError(UnavailableError):
    """The database did not say how it ended, and nothing would tell a copy of this from another."""

    text = "This may be stored already; look before you send it again."


class ActionFaultError(SaxaulError):
    """One order that neither we nor PostgreSQL could digest, found by halving its batch.

    `is_of_data`: PostgreSQL refused its values, and will whenever they come again.
    """

    code = "internal-error"
    text = "This action could not be recorded; it was logged for the operators."
    is_of_data: bool = False


def fault_of(order: Order, error: Exception) -> SaxaulError:
    """What is told of an order that failed alone."""
    if isinstance(order, RequestOrder) and isinstance(error, asyncpg.UniqueViolationError):
        # Only what is drawn can be there already, such as a tree's number; the next draw differs.
        return NotRecordedError()
    return ActionFaultError(is_of_data=_is_of_data(error))


def _is_of_data(error: BaseException) -> bool:
    """Whether the values are what is wrong: they do not fit (22), or break a constraint (23)."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(("22", "23"))
    # What asyncpg could not encode.
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
