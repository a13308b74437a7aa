"""Streaks: which of the last 64 days were active, and how long the run before them was.

`active_days` has bit i set when the day `active_anchor - i` was active; `active_before` is the
length of the run of active days that ends right before the 64-day window. Actions arrive at most
60 days late, so late days still fall into the window and nothing else has to be read.
"""

from datetime import date

from service.ledger.books import Book

_WINDOW_DAYS = 64
_ALL = (1 << _WINDOW_DAYS) - 1
_SIGN = 1 << (_WINDOW_DAYS - 1)


def streak_days(book: Book, day: date) -> int:
    """How many active days in a row end the day before `day`."""
    if book.active_anchor is None:
        return 0
    first = (book.active_anchor - day).days + 1
    if first < 0:
        return 0
    bits = (book.active_days & _ALL) >> first
    # How many of the lowest bits are set in a row.
    run = (~bits & bits + 1).bit_length() - 1
    return run + book.active_before if first + run == _WINDOW_DAYS else run


def mark_active(book: Book, day: date) -> None:
    """Remember that this day was active; the window moves on when the day is the newest."""
    if day == book.active_anchor and book.active_days & 1:
        return
    anchor, bits = book.active_anchor or day, book.active_days & _ALL
    newest = max(anchor, day)
    # One step more than the window is long forgets the run before it, too.
    for _ in range(min((newest - anchor).days, _WINDOW_DAYS + 1)):
        book.active_before = book.active_before + 1 if bits & _SIGN else 0
        bits = bits << 1 & _ALL
    if (newest - day).days < _WINDOW_DAYS:
        bits |= 1 << (newest - day).days
    book.active_anchor = newest
    book.active_days = bits - (1 << _WINDOW_DAYS) if bits & _SIGN else bits
