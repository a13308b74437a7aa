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
    run = _leading_run(_bits(book) >> first)
    return run + book.active_before if first + run == _WINDOW_DAYS else run


def mark_active(book: Book, day: date) -> None:
    """Remember that this day was active; the window moves on when the day is the newest."""
    if book.active_anchor is None:
        book.active_anchor, book.active_days, book.active_before = day, 1, 0
        return
    offset = (book.active_anchor - day).days
    if offset < 0:
        _move_window(book, -offset)
        offset = 0
    if offset < _WINDOW_DAYS:
        _store(book, _bits(book) | 1 << offset)


def _move_window(book: Book, days: int) -> None:
    bits = _bits(book)
    for _ in range(min(days, _WINDOW_DAYS)):
        oldest_active = bits >> (_WINDOW_DAYS - 1) & 1
        book.active_before = book.active_before + 1 if oldest_active else 0
        bits = bits << 1 & _ALL
    if days > _WINDOW_DAYS:
        book.active_before = 0
    if book.active_anchor is not None:
        book.active_anchor = date.fromordinal(book.active_anchor.toordinal() + days)
    _store(book, bits)


def _leading_run(bits: int) -> int:
    """How many of the lowest bits are set in a row."""
    return (~bits & bits + 1).bit_length() - 1


def _bits(book: Book) -> int:
    return book.active_days & _ALL


def _store(book: Book, bits: int) -> None:
    book.active_days = bits - (1 << _WINDOW_DAYS) if bits & _SIGN else bits
