"""How large a whole set may be: found on its nodes, before anything is compiled.

Each limit keeps what is within all others from taking tens of seconds. An expression of 2,000
characters takes up to 20 ms, a pattern of 1,000 parts 7 ms, and each action type declares each
factor to the engine.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from service.rules.cel.expression import TEXT_MAX
from service.rules.cel.pattern_size import PARTS_MAX, parts_of
from service.rules.language.nodes import Node
from service.rules.language.problems import Problem, Step, shown_name

SECTIONS_MAX = {"rules": 1_000, "action_types": 1_000, "factors": 1_000}
EXPRESSIONS_MAX = 250_000
PATTERNS_MAX = 50_000
# Also the smallest pattern takes a fifth of a millisecond.
_PATTERN_LEAST = 40
_IN_RULES = ("when", "saves", "earns")
_QUOTED = re.compile(r"""\"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""", re.DOTALL)


class Member(NamedTuple):
    """A member of a section with its place."""

    file: str
    path: tuple[Step, ...]
    at: Node
    node: Node


def beyond(nodes: Mapping[str, Node]) -> Problem | None:
    """Find the first thing beyond a limit of the set; such a set is not looked at further."""
    for section, limit in SECTIONS_MAX.items():
        for number, member in enumerate(members(nodes, section)):
            if number == limit:
                text = f"a rule set has at most {limit:,} {section.replace('_', ' ')}"
                return _problem(member, text)
    characters = parts = 0
    for member in _texts(nodes):
        # What is longer is refused where it stands.
        text = member.node.text[:TEXT_MAX]
        is_pattern = member.path[-1] == "pattern"
        characters += 0 if is_pattern else len(text)
        parts += _pattern_parts(text, is_pattern=is_pattern)
        if characters > EXPRESSIONS_MAX:
            message = f"the expressions of a rule set have at most {EXPRESSIONS_MAX:,} characters"
            return _problem(member, f"{message} together")
        if parts > PATTERNS_MAX:
            message = f"the patterns of a rule set have at most {PATTERNS_MAX:,} parts together"
            return _problem(member, f"{message}, and each counts as {_PATTERN_LEAST} or more")
    return None


def members(nodes: Mapping[str, Node], section: str) -> Iterator[Member]:
    """List what a section holds, over all files: at its name, or at its beginning in a list."""
    for name, root in sorted(nodes.items()):
        if section not in root.entries:
            continue
        node = root.entries[section][1]
        for key, (at, held) in node.entries.items():
            yield Member(name, (section, key), at, held)
        for index, held in enumerate(node.items):
            yield Member(name, (section, index), held, held)


def _texts(nodes: Mapping[str, Node]) -> Iterator[Member]:
    """List all expressions and patterns."""
    for rule in members(nodes, "rules"):
        yield from _below(rule, _IN_RULES)
    for kind in members(nodes, "action_types"):
        yield from _below(kind, ("plausible",))
        for attributes in _below(kind, ("attributes",)):
            for name in attributes.node.entries:
                for attribute in _below(attributes, (name,)):
                    yield from _below(attribute, ("pattern",))


def _below(member: Member, keys: tuple[str, ...]) -> Iterator[Member]:
    for key in keys:
        if key in member.node.entries:
            held = member.node.entries[key][1]
            yield Member(member.file, (*member.path, key), held, held)


def _pattern_parts(text: str, *, is_pattern: bool) -> int:
    """Count the parts of a pattern, or of all texts of a condition that asks for any."""
    if is_pattern:
        return max(min(parts_of(text), PARTS_MAX), _PATTERN_LEAST)
    if "matches" not in text:
        return 0
    # Which of its texts are patterns is not known before it is compiled.
    parts = [max(parts_of(quoted[1:-1]), _PATTERN_LEAST) for quoted in _QUOTED.findall(text)]
    return min(sum(parts), PARTS_MAX)


def _problem(member: Member, message: str) -> Problem:
    return member.at.problem(shown_name(member.file), member.path, message)
