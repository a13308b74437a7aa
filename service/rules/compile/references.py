"""What the files speak of, read from their bare texts: also of what is faulty and has no shape.

So a name that only a faulty rule uses is not called unused, and a name that may stand in a file
that cannot be read, or in a section that is no section, is not called unknown.
"""

import re
from collections.abc import Collection, Iterable, Iterator

from msgspec import Struct

from service.rules.cel.text import nearest
from service.rules.language.nodes import Node
from service.rules.language.shape import Source

_FACTOR = re.compile(r"\bfactors\s*\.\s*([A-Za-z_][A-Za-z0-9_]*)")
_KINDS = {"factors": "map", "action_types": "map", "rules": "list"}


class References(Struct, frozen=True):
    """All texts outside of `factors`, and which sections may hold more than can be seen."""

    texts: frozenset[str]
    factors: frozenset[str]
    actions: frozenset[str]
    unknown: frozenset[str]

    def more(self, section: str) -> Collection[str]:
        """Names that this section may well hold, where it could not be read as a whole."""
        if section not in self.unknown:
            return ()
        return self.factors if section == "factors" else self.texts

    def unused(self, section: str, names: Collection[str]) -> list[str]:
        """Tell which names nothing refers to; a name that was mistyped is not unused."""
        if self.unknown:
            return []
        used = self.factors if section == "factors" else self.actions
        used = used.union(near for name in used - set(names) for near in nearest(name, names))
        return [name for name in names if name not in used]


def references_of(sources: Iterable[Source], *, is_whole: bool) -> References:
    """Read them all. `is_whole`: every file of the set could be read."""
    texts: set[str] = set()
    actions: set[str] = set()
    unknown = set() if is_whole else set(_KINDS)
    for source in sources:
        for section, (_, node) in source.root.entries.items():
            if node.kind != _KINDS.get(section, node.kind):
                unknown.add(section)
            if section != "factors":
                for key, text in _texts(node):
                    texts.add(text)
                    if key == "action" and section != "badges":
                        actions.add(text)
        if any("action" not in rule.entries for rule in source.root.find(("rules",)).items):
            # Which type a rule without an action is for cannot be known.
            unknown.add("action")
    factors = frozenset(name for text in texts for name in _FACTOR.findall(text))
    return References(frozenset(texts), factors, frozenset(actions), frozenset(unknown))


def _texts(node: Node, key: str = "") -> Iterator[tuple[str, str]]:
    if node.kind == "scalar":
        yield key, node.text
    for name, (_, value) in node.entries.items():
        yield from _texts(value, name)
    for item in node.items:
        yield from _texts(item)
