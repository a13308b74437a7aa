"""The accounts of a book. A balance is credits minus debits; all of a book's balances sum to 0."""

from enum import IntEnum


class Account(IntEnum):
    """One column of `books`; the number is what `transfers` stores and what its hash covers."""

    ISSUANCE = 1
    RIPENING = 2
    AVAILABLE = 3
    PLEDGED = 4
    PLANTED = 5
    EXPIRED = 6
    GIFTS = 7
    ARREARS = 8

    @property
    def column(self) -> str:
        """Its name in the table and on the wire."""
        return self.name.lower()
