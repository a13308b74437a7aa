"""Characters that nobody sees, or that turn the order of letters round: no text for people has any.

The joiners stay, without which Persian, Hindi and families of emoji are not written, and the marks
of direction, which turn nothing round.
"""

import re

# Controls but tab and line end; what has no width; turns of direction; fillers; what stands for an
# object; blank signs of Braille, hieroglyphs and music, and how these are set; tags.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufffc\U00013441\U00013442"
    "\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def unseen_in(text: str) -> str | None:
    """The first of them, as U+200B; None when there is none."""
    found = _UNSEEN.search(text)
    return f"U+{ord(found[0]):04X}" if found else None
