"""Languages of titles and hints: tags of BCP 47 that somebody's phone can ask for."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from service.rules.compile.set_size import members
from service.rules.language import schema
from service.rules.language.shape import Source

# In the order in which they stand in a tag.
_KINDS = ("language", "extlang", "script", "region", "variant", "variant", "variant")
_SECTIONS = ("action_types", "rules", "campaigns", "badges")
# Countries that are taken for their languages, and two that were renamed.
_MEANT = {
    "iw": "he", "in": "id", "cn": "zh", "jp": "ja", "gr": "el", "dk": "da", "cz": "cs", "ua": "uk",
    "vn": "vi",
}  # fmt: skip


def check_languages(sources: Sequence[Source], language: str) -> None:
    """Refuse tags that are none, at their keys, with the languages that the texts have."""
    used = [(at, str(at.path[-1])) for source in sources for at in _tags(source)]
    given = [source for source in sources if "language" in source.at("program").node.entries]
    spoken = sorted({tag for tag in {language, *(tag for _, tag in used)} if is_language(tag)})
    for source in given[:1]:
        if not is_language(language):
            source.at("program", "language").fault_if_new(_message(language, spoken))
    for source, tag in used:
        if not is_language(tag):
            source.fault_if_new(_message(tag, spoken), at_key=True)


@cache
def is_language(tag: str) -> bool:
    """Whether each part of a tag is registered, and stands where it may."""
    kinds = iter(_KINDS)
    first, *others = tag.lower().split("-")
    registered = _registered()
    return first in registered[next(kinds)] and all(
        any(part in registered[kind] for kind in kinds) for part in others
    )


def _message(tag: str, spoken: Sequence[str]) -> str:
    near = [_MEANT[tag]] if tag in _MEANT else get_close_matches(tag, spoken, n=1, cutoff=0.5)
    hint = "".join(f"; did you mean {meant}?" for meant in near)
    listed = f"; the texts here are in {', '.join(spoken)}" if spoken else ""
    return f"{tag} is no language of BCP 47{hint}{listed}"


def _tags(source: Source) -> Iterator[Source]:
    """Every tag of a title or hint in several languages, at its place."""
    for section in _SECTIONS:
        for member in members({source.name: source.root}, section):
            for key in ("title", "hint"):
                if key in member.node.entries:
                    for tag in member.node.entries[key][1].entries:
                        if re.fullmatch(schema.LANGUAGE_TAG, tag):  # else that was told
                            yield source.at(*member.path, key, tag)


@cache
def _registered() -> dict[str, frozenset[str]]:
    lines = Path(__file__).with_name("subtags.txt").read_text(encoding="ascii").splitlines()
    kinds = (line.partition(" ") for line in lines if not line.startswith("#"))
    return {kind: frozenset(subtags.split()) for kind, _, subtags in kinds}
