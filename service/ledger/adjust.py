"""Adjustments: an operator corrects what a person can spend, and the log of acts says why."""

from uuid import UUID

from msgspec import Struct

from service.http.decode import Time
from service.ledger.accounts import Account
from service.ledger.balances import Balances, balances_of
from service.ledger.books import Book, post
from service.ledger.orders import RequestOrder, Work
from service.platform.acts import Act
from service.platform.ids import uuid7


class AdjustmentAnswer(Struct, frozen=True):
    """A booked adjustment and the balances afterwards."""

    id: UUID
    participant_id: UUID
    amount_g: int
    reason: str
    at: Time
    balances: Balances


class Adjusting(Work):
    """Books the adjustments of one batch, and logs who did it and why."""

    rank = 3

    def decide(self, order: "AdjustOrder") -> AdjustmentAnswer:
        """Issue grams to `available`, or take them back from there; also for suspended people.

        What is issued repays what is owed, first. Raises ParticipantErasedError,
        InsufficientEnergyError.
        """
        book, amount_g = self.batch.books[order.participant_id], order.amount_g
        book.require_not_erased()
        before = _spendable(book)
        sides = (Account.ISSUANCE, Account.AVAILABLE)
        if amount_g < 0:
            book.require(Account.AVAILABLE, -amount_g)
            sides = (Account.AVAILABLE, Account.ISSUANCE)
        id_, at = uuid7(order.act.now), book.tick(order.act.now)
        post(book, *sides, abs(amount_g), cause="adjust", cause_id=id_, at=at)
        self.batch.change(order.participant_id)
        told = {"adjustment": str(id_), "amount_g": amount_g, "reason": order.reason}
        detail = told | {"before": before, "after": _spendable(book)}
        self.batch.log(order, order.act, "participant.adjust", order.participant_id, detail)
        owner, held = order.participant_id, balances_of(book)
        return AdjustmentAnswer(id_, owner, amount_g, order.reason, at, held)


class AdjustOrder(RequestOrder, kw_only=True):
    """An operator adds to what somebody can spend, or below 0 takes from it."""

    work = Adjusting
    amount_g: int
    reason: str
    act: Act


def _spendable(book: Book) -> dict[str, int]:
    return {"available_g": book[Account.AVAILABLE], "arrears_g": book[Account.ARREARS]}
