"""Adjustments: an operator corrects what a person can spend, and the log of acts says why."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.ledger.accounts import Account
from service.ledger.books import Book, book_writes, lock_book, post
from service.platform.acts import Act
from service.platform.database import Connection, write_all
from service.platform.ids import uuid7


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Grams given (above 0) or taken (below 0), and the book afterwards."""

    id: UUID
    amount_g: int
    at: datetime
    book: Book


async def adjust(
    connection: Connection,
    participant_id: UUID,
    amount_g: int,
    *,
    reason: str,
    act: Act,
) -> Adjustment:
    """Issue grams to `available`, or take them back from there; also for suspended people.

    What is issued repays what is owed, first.

    Raises BookMissingError, ParticipantErasedError, InsufficientEnergyError.
    """
    book = await lock_book(connection, participant_id)
    book.require_not_erased()
    before = _spendable(book)
    adjustment = Adjustment(uuid7(act.now), amount_g, book.tick(act.now), book)
    sides = (Account.ISSUANCE, Account.AVAILABLE)
    if amount_g < 0:
        book.require(Account.AVAILABLE, -amount_g)
        sides = (Account.AVAILABLE, Account.ISSUANCE)
    post(book, *sides, abs(amount_g), cause="adjust", cause_id=adjustment.id, at=adjustment.at)
    await write_all(connection, book_writes([book]))
    await act.log(
        connection,
        "participant.adjust",
        participant_id,
        {
            "adjustment": str(adjustment.id),
            "amount_g": amount_g,
            "reason": reason,
            "before": before,
            "after": _spendable(book),
        },
    )
    return adjustment


def _spendable(book: Book) -> dict[str, int]:
    return {"available_g": book[Account.AVAILABLE], "arrears_g": book[Account.ARREARS]}
