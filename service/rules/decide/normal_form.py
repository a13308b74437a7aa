"""When two texts name the same thing: one form for every way to spell a number or a code.

A scanner adds a tab, a keyboard writes full width or small letters: it is the same box.
"""

import unicodedata

# Letters, marks and symbols that show nothing; all others say so by their category.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)


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
    return unicodedata.category(character)[0] in "ZC" or character in _BLANK
