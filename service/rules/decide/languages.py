"""Words in the reader's language, as the header Accept-Language asks for it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

from service.rules.told import Told

_LANGUAGES_MAX = 10
_HEADER_MAX = 500
_WANTED = re.compile(
    r"[ \t]*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)"
    r"[ \t]*(?:;[ \t]*[qQ][ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)


@dataclass(frozen=True, slots=True)
class Text:
    """A title or hint in one or several languages; `language` is that of the default."""

    default: str
    by_language: Mapping[str, str]
    language: str

    def spoken(self, languages: tuple[str, ...]) -> tuple[str, str]:
        """Choose by preference, with the tag of what was chosen (RFC 4647, lookup).

        zh-Hans-CN is content with zh-Hans, then with zh; who wants none of these gets the default.
        """
        tag = best_tag(languages, self.by_language)
        return (self.language, self.default) if tag is None else (tag, self.by_language[tag])


def best_tag(languages: Sequence[str], offered: Iterable[str]) -> str | None:
    """Choose among the offered tags by preference; None when none is wanted."""
    tags = {tag.lower(): tag for tag in offered} if languages else {}
    for language in languages:
        wanted = language.lower()
        while wanted:
            if wanted in tags:
                return tags[wanted]
            wanted = wanted.rpartition("-")[0]
    return None


@lru_cache(maxsize=1024)
def preferred_languages(accept_language: str) -> tuple[str, ...]:
    """Read an Accept-Language header: tags, the most wanted first; what cannot be read is left."""
    wanted = []
    for part in accept_language[:_HEADER_MAX].split(",")[:_LANGUAGES_MAX]:
        match = _WANTED.fullmatch(part)
        weight = float(match[2] or 1) if match else 0.0
        if match and weight > 0:
            wanted.append((-weight, match[1]))
    wanted.sort(key=lambda entry: entry[0])
    return tuple(tag for _, tag in wanted)


# What we say in a language by what we say in English: `texts` are templates, `forms` those of
# sentences that come filled in, as from the library that reads JSON, `units` are signs of units.
Words = Mapping[Literal["texts", "forms", "units"], Mapping[str, str]]
ENGLISH: Words = {"texts": {}, "forms": {}, "units": {}}
# A unit stands behind its number.
_UNIT = re.compile(r"(?<=[0-9] )[A-Za-z_]+(?:/[A-Za-z]+)?")


@cache
def _pattern(form: str) -> re.Pattern[str]:
    """What a sentence of this form looks like."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(form)), re.DOTALL)


class Reader:
    """Somebody who reads our answers: chooses their language, and remembers which came.

    Titles and hints are in what languages the rules have them, what we say ourselves in English
    and what `words` there are.
    """

    __slots__ = ("_came", "_known", "_tag", "_words", "languages")

    def __init__(
        self, languages: tuple[str, ...] = (), words: Mapping[str, Words] | None = None
    ) -> None:
        """Languages in order of preference; none is the programme's, and English for our words."""
        self._known = words = words or {}
        self.languages = languages
        self._tag = best_tag(languages, ("en", *words)) or "en"
        self._words = words.get(self._tag, ENGLISH)
        self._came: dict[str, None] = {}

    @property
    def came(self) -> tuple[str, ...]:
        """The languages that were said so far."""
        return (*self._came,)

    def anew(self) -> "Reader":
        """The same reader, to whom nothing was said yet."""
        return Reader(self.languages, self._known)

    def hear(self, languages: tuple[str, ...]) -> None:
        """Remember that something came in these languages that was said before."""
        self._came.update(dict.fromkeys(languages))

    def say(self, text: Text) -> str:
        """The text in the most wanted language that it has, else in its own."""
        tag, said = text.spoken(self.languages)
        self._came[tag] = None
        return said

    def tell(self, text: str, /, **facts: object) -> str:
        """A sentence of ours with its facts, of which those that are Told are translated, too."""
        self._came[self._tag] = None
        if self._words is ENGLISH:
            return text.format(**facts) if facts else str(text)
        if isinstance(text, Told):
            return self.tell(text.template, **text.facts)
        template = self._words["texts"].get(text, text)
        if not facts and template is text:
            for form, said in self._words["forms"].items():
                if found := _pattern(form).fullmatch(text):
                    template, facts = said, dict(found.groupdict())
                    break
        told = {
            name: self.tell(fact) if isinstance(fact, str) else fact for name, fact in facts.items()
        }
        return template.format(**told) if facts else template

    def units(self, text: str) -> str:
        """A calculation with its units in the reader's language."""
        self._came[self._tag] = None
        units = self._words["units"]
        return _UNIT.sub(lambda unit: units.get(unit[0], unit[0]), text) if units else text

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What an answer with these texts tells of its language."""
        vary = (b"vary", b"Accept-Language")
        if not self._came:
            return [vary]
        return [(b"content-language", ", ".join(self._came).encode()), vary]
