"""Texts that other people read: what may stand in them, and the one form they are kept in.

A rule answers the text as it is stored, or raises TextError with what is wrong. A field of a wire
struct takes one as `Annotated[str, Meta(...), nickname]`; commands call it.
"""

import re
import unicodedata

from precis_i18n import get_profile

from service.rules.told import Told

NICKNAME_MAX = 64
_NICKNAME = get_profile("NicknameCasePreserved")
# What asks for the coloured picture of a sign: phones write it behind a heart. Without it the same
# sign stands there.
_PICTURE = "\ufe0f"
# Controls, what has no width, what turns the order of letters round, tags and fillers. The joiners
# stay, without which Persian, Hindi and families of emoji are not written, and the marks of
# direction, which turn nothing round.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_VISIBLE = frozenset("LNPS")
_NOTHING_SEEN = "must hold something that can be seen"


class TextError(ValueError):
    """Why a text cannot be shown to others: the end of a sentence that begins with its name."""


def nickname(text: str) -> str:
    """What a person, or a team of them, is called: the Nickname of RFC 8266, its case kept."""
    try:
        name: str = _NICKNAME.enforce(text.replace(_PICTURE, ""))
    except UnicodeEncodeError as error:
        if error.reason.endswith("/empty"):
            raise TextError(_NOTHING_SEEN) from error
        code = ord(error.object[error.start])
        raise TextError(Told("must not hold the character U+{code:04X}", code=code)) from error
    if len(name) > NICKNAME_MAX:
        text = "must have at most {most} characters, as {name}... has not"
        raise TextError(Told(text, most=NICKNAME_MAX, name=name[:20]))
    return _seen(name)


def label(text: str) -> str:
    """The name of a thing, in one line."""
    if found := re.search(r"[\t\n]", text := text.strip()):
        raise TextError(Told("must be one line, without U+{code:04X}", code=ord(found[0])))
    return prose(text)


def prose(text: str) -> str:
    """What somebody writes to others: a reason, a note, a dedication. It may have several lines."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").strip())
    if found := _HIDDEN.search(text):
        raise TextError(Told("must not hold the character U+{code:04X}", code=ord(found[0])))
    return _seen(text)


def _seen(text: str) -> str:
    if not any(unicodedata.category(character)[0] in _VISIBLE for character in text):
        raise TextError(_NOTHING_SEEN)
    return text
