"""Adjustments: an operator corrects what a person can spend, and the log of acts says why."""

from uuid import UUID

from msgspec import Struct

from service.http.decode import Time
from service.ledger.accounts import Account
from service.ledger.balances import Balances, balances_of
from service.ledger.books import Book, book_writes, lock_book, post
from service.platform.acts import Act
from service.platform.database import Connection, write_all
from service.platform.ids import uuid7


class AdjustmentAnswer(Struct, frozen=True):
    """A booked adjustment and the balances afterwards."""

    id: UUID
    participant_id: UUID
    amount_g: int
    reason: str
    at: Time
    balances: Balances


async def adjust(
    connection: Connection, participant_id: UUID, amount_g: int, *, reason: str, act: Act
) -> AdjustmentAnswer:
    """Issue grams to `available`, or take them back from there; also for suspended people.

    What is issued repays what is owed, first.

    Raises BookMissingError, ParticipantErasedError, InsufficientEnergyError.
    """
    book = await lock_book(connection, participant_id)
    book.require_not_erased()
    before = _spendable(book)
    id_, at = uuid7(act.now), book.tick(act.now)
    sides = (Account.ISSUANCE, Account.AVAILABLE)
    if amount_g < 0:
        book.require(Account.AVAILABLE, -amount_g)
        sides = (Account.AVAILABLE, Account.ISSUANCE)
    post(book, *sides, abs(amount_g), cause="adjust", cause_id=id_, at=at)
    await write_all(connection, book_writes([book]))
    told = {"adjustment": str(id_), "amount_g": amount_g, "reason": reason}
    detail = told | {"before": before, "after": _spendable(book)}
    await act.log(connection, "participant.adjust", participant_id, detail)
    return AdjustmentAnswer(id_, participant_id, amount_g, reason, at, balances_of(book))


def _spendable(book: Book) -> dict[str, int]:
    return {"available_g": book[Account.AVAILABLE], "arrears_g": book[Account.ARREARS]}
