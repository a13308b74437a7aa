"""A book's balances as every answer shows them."""

import msgspec

from service.ledger import models
from service.ledger.accounts import Account
from service.ledger.books import Book


class Balances(msgspec.Struct, frozen=True):
    """Whole grams by account. `arrears_g` is 0 or negative: reversed energy spent before."""

    ripening_g: int
    available_g: int
    pledged_g: int
    planted_g: int
    expired_g: int
    arrears_g: int


_ACCOUNTS = [Account[name.removesuffix("_g").upper()] for name in Balances.__struct_fields__]


def balances_of(book: Book) -> Balances:
    """The balances of a working copy, after what was posted to it."""
    return Balances(*[book[account] for account in _ACCOUNTS])


def stored_balances(book: models.Book) -> Balances:
    """The balances of a book as it stands in its table."""
    return Balances(*[getattr(book, account.column) for account in _ACCOUNTS])
