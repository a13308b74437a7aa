"""Languages of titles and hints: tags of BCP 47 that somebody's phone can ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from service.rules.language.nodes import Node
from service.rules.language.problems import Step
from service.rules.language.shape import Source

# In the order in which they stand in a tag.
_KINDS = ("language", "extlang", "script", "region", "variant", "variant", "variant")
_SECTIONS = ("action_types", "rules", "campaigns", "badges")
# Countries that are taken for their languages, and two that were renamed.
_MEANT = {
    "iw": "he",
    "in": "id",
    "cn": "zh",
    "jp": "ja",
    "gr": "el",
    "dk": "da",
    "cz": "cs",
    "ua": "uk",
    "vn": "vi",
}


def check_languages(sources: Sequence[Source], language: str) -> None:
    """Refuse tags that are none, at their keys, with the languages that the texts have."""
    used = [(source, path, tag) for source in sources for path, tag in _tags(source.root)]
    given = [source for source in sources if "language" in source.root.find(("program",)).entries]
    known = sorted({tag for _, _, tag in used if is_language(tag)} | {language})
    spoken = [tag for tag in known if is_language(tag)]
    for source in given[:1]:
        if not is_language(language):
            source.fault_if_new(("program", "language"), _message(language, spoken))
    for source, path, tag in used:
        if not is_language(tag):
            source.fault_if_new((*path, tag), _message(tag, spoken), at_key=True)


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


def _tags(root: Node) -> Iterator[tuple[tuple[Step, ...], str]]:
    """Every tag of a title or hint in several languages, with the path of the texts."""
    for section in _SECTIONS:
        if section not in root.entries:
            continue
        members = root.entries[section][1]
        named: list[tuple[Step, Node]] = [
            (name, value) for name, (_, value) in members.entries.items()
        ]
        for step, member in [*named, *enumerate(members.items)]:
            for key in ("title", "hint"):
                if key in member.entries:
                    for tag in member.entries[key][1].entries:
                        yield (section, step, key), tag


@cache
def _registered() -> dict[str, frozenset[str]]:
    lines = Path(__file__).with_name("subtags.txt").read_text(encoding="ascii").splitlines()
    kinds = (line.partition(" ") for line in lines if not line.startswith("#"))
    return {kind: frozenset(subtags.split()) for kind, _, subtags in kinds}
