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


def balances_of(book: Book) -> Balances:
    """The balances of a working copy, after what was posted to it."""
    return Balances(
        ripening_g=book[Account.RIPENING],
        available_g=book[Account.AVAILABLE],
        pledged_g=book[Account.PLEDGED],
        planted_g=book[Account.PLANTED],
        expired_g=book[Account.EXPIRED],
        arrears_g=book[Account.ARREARS],
    )
