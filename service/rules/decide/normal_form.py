"""When two texts name the same thing: one form for every way to spell a number or a code.

A scanner adds a tab, a keyboard writes full width or small letters: it is the same box.
"""

import unicodedata

from service.rules.unseen import unseen_in

# Marks that choose the look of the sign before them, which texts for people need.
_SELECTORS = frozenset("\u180b\u180c\u180d\u180f" + "".join(map(chr, range(0xFE00, 0xFE10))))


def normal_form(text: str) -> str:
    """NFKC, case-folded, without white space and invisible characters at the ends.

    What is nothing else is the empty text. What a character only looks like stays another one (a
    hyphen U+2010, a Cyrillic A): patterns refuse these.
    """
    if text.isascii() and text.isprintable() and text.strip() == text:
        return text.lower()
    return tidied(tidied(text).casefold())


def tidied(text: str) -> str:
    """NFKC, from the first visible character to the last: as it was meant to be written."""
    text = unicodedata.normalize("NFKC", text)
    start, end = 0, len(text)
    while start < end and _is_blank(text[start]):
        start += 1
    while start < end and _is_blank(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_blank(character: str) -> bool:
    is_space = unicodedata.category(character)[0] in "ZC"
    return is_space or character in _SELECTORS or unseen_in(character) is not None
