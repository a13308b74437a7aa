"""A book's balances as every answer shows them."""

import msgspec

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


# What holds them, in a table and in a working copy.
BALANCES = [name.removesuffix("_g") for name in Balances.__struct_fields__]
_ACCOUNTS = [Account[name.upper()] for name in BALANCES]


def balances_of(book: Book) -> Balances:
    """The balances of a working copy, after what was posted to it."""
    return Balances(*[book[account] for account in _ACCOUNTS])
