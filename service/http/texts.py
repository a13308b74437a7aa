"""Texts that other people read: what may stand in them, and the one form they are kept in.

A rule answers the text as it is stored, or raises TextError with what is wrong. A field of a wire
struct takes one as `Annotated[str, Meta(...), nickname]`; commands call it.
"""

import re
import unicodedata

from precis_i18n import get_profile

from service.rules.decide.normal_form import tidied
from service.rules.told import Told
from service.rules.unseen import unseen_in

NICKNAME_MAX = 64
_NICKNAME = get_profile("NicknameCasePreserved")
# What asks for the coloured picture of a sign: phones write it behind a heart. Without it the same
# sign stands there.
_PICTURE = "\ufe0f"


class TextError(ValueError):
    """Why a text cannot be shown to others: the end of a sentence that begins with its name."""

    def __init__(self, told: Told) -> None:
        """Keep what can be said in other languages, too."""
        super().__init__(told)
        self.told = told


def nickname(text: str) -> str:
    """What a person, or a team of them, is called: the Nickname of RFC 8266, its case kept."""
    if found := unseen_in(text := text.replace(_PICTURE, "")):
        raise _hiding(found)
    try:
        name: str = _NICKNAME.enforce(text)
    except UnicodeEncodeError as error:
        if error.reason.endswith("/empty"):
            return _seen("")
        bad = error.object[error.start]
        typed = (each for each in text if bad in unicodedata.normalize("NFKC", each))
        raise _hiding(f"U+{ord(next(typed, bad)):04X}") from error
    if len(name) > NICKNAME_MAX:
        raise TextError(Told("must have at most {most} characters", most=NICKNAME_MAX))
    return _seen(name)


def label(text: str) -> str:
    """The name of a thing, in one line."""
    if found := re.search(r"[\t\n]", text := text.strip()):
        raise _hiding(f"U+{ord(found[0]):04X}")
    return prose(text)


def prose(text: str) -> str:
    """What somebody writes to others: a reason, a note, a dedication. It may have several lines."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").strip())
    if found := unseen_in(text):
        raise _hiding(found)
    return _seen(text)


def cleaned(text: str) -> str:
    """Prose of what was kept before it had to be: what nobody sees is left out; of none a dash."""
    kept = "".join(each for each in text if unseen_in(each) is None)
    return prose(kept) if any(unicodedata.category(each)[0] in "LNPS" for each in kept) else "-"


def reference(text: str) -> str:
    """What a partner calls a person: compared to the byte, so never what only looks like it."""
    if found := re.search(r"[\x00-\x1f\x7f-\x9f]", text):
        raise _hiding(f"U+{ord(found[0]):04X}")
    normal = unicodedata.normalize("NFKC", text)
    if tidied(normal) != normal:
        raise TextError(Told("must not begin or end with white space or with what nobody sees"))
    if normal != text:
        raise TextError(Told("must be in Unicode's form NFKC"))
    return text


def _hiding(code: str) -> TextError:
    return TextError(Told("must not hold the character {code}", code=code))


def _seen(text: str) -> str:
    if not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        raise TextError(Told("must hold something that can be seen"))
    return text
