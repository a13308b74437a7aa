"""Operators' expressions as text: tokens, names, and the rewriting that CEL needs.

CEL knows `has` for fields only and does not mix integers with doubles. So `has(x)` becomes the
boolean variable `_has_x` (of the very same length) and `5` becomes `5.0`; a map leads from a place
in the rewritten text back to the operator's own.
"""

import difflib
import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter

from service.rules.cel.tokens import (
    Finding,
    Token,
    ends_number,
    note,
    promoted,
    sign_findings,
    string_findings,
    tokens_of,
)

FUNCTIONS = ("ceil", "floor", "has", "max", "min", "round")
METHODS = ("contains", "endsWith", "matches", "startsWith")
CONTEXT_NAMES = ("hour", "region", "reporter", "streak_days", "verified", "weekday")
CEL_WORDS = frozenset((
    *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import"),
    *("in", "let", "loop", "namespace", "null", "package", "return", "true", "var", "void"),
    *("while", "bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string"),
    *("type", "uint"),
))  # fmt: skip
RESERVED_NAMES = CEL_WORDS | {"factors", *CONTEXT_NAMES, *FUNCTIONS, *METHODS}

_COMPARED_MAX = 100
# Whoever has more faults than that in one expression is helped by the first ones.
_HINTS_MAX = 20


@dataclass(slots=True)
class Rewritten:
    """An expression as CEL takes it, and the way back to the operator's places."""

    tokens: list[Token]
    text: str
    runtime_text: str
    findings: list[Finding]
    _insertions: list[int] = field(default_factory=list)

    def offset_at(self, line: int, column: int) -> int:
        """Tell the operator's offset of CEL's line and column, both counted from 1."""
        lines = self.text.split("\n")
        start = sum(len(text) + 1 for text in lines[: line - 1])
        return self.offset_of(start + column - 1)

    def offset_of(self, place: int) -> int:
        """Tell the operator's offset of this offset in the rewritten text."""
        before = bisect_right(self._insertions, place)
        return max(place - 2 * before, 0)

    def start_of(self, place: int) -> int:
        """Tell where the operator's token at this offset of the rewritten text begins."""
        offset = self.offset_of(place)
        token = self.token_at(offset)
        return token.offset if token else offset

    def token_at(self, offset: int) -> Token | None:
        """Find the token that starts here; a call's bracket counts as its function's name."""
        index = bisect_right(self.tokens, offset, key=attrgetter("offset")) - 1
        if index < 0:
            return None
        token = self.tokens[index]
        if token.text == "(" and index and self.tokens[index - 1].kind == "name":
            return self.tokens[index - 1]
        return token


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name, as the end of a sentence, or nothing."""
    return "".join(f"; did you mean {near}?" for near in nearest(name, known))


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Find the one known name that is near enough to be meant, if there is one."""
    name, names = name[:80], list(known)
    if len(names) <= _COMPARED_MAX:
        return difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    # Comparing takes long: of very many only one that a single slip of a finger could have left.
    variants = _variants(frozenset(names))
    return sorted({other for short in _shortened(name) for other in variants.get(short, ())})[:1]


@lru_cache(maxsize=4)
def _variants(names: frozenset[str]) -> dict[str, list[str]]:
    """The names by themselves and by what is left of each without one of its characters."""
    variants: dict[str, list[str]] = {}
    for name in names:
        for short in _shortened(name):
            variants.setdefault(short, []).append(name)
    return variants


def _shortened(name: str) -> set[str]:
    return {name, *(name[:at] + name[at + 1 :] for at in range(len(name)))}


def rewrite(text: str, names: Collection[str], factors: Mapping[str, float]) -> Rewritten:
    """Split and rewrite an expression. Names: attributes and context; factors: name to value."""
    tokens, findings = tokens_of(text)
    pieces: list[str] = []
    runtime: list[str] = []
    insertions: list[int] = []
    length = 0
    index = 0
    at = 0
    while index < len(tokens):
        token = tokens[index]
        gap = text[at : token.offset]
        used = 1
        piece = decided = token.text
        if token.kind == "number":
            piece = decided = promoted(token, findings)
        elif token.kind == "string":
            findings.extend(string_findings(token, text[token.offset + len(token.text) :][:1]))
        elif token.kind == "sign":
            findings.extend(sign_findings(tokens, index))
        else:
            used, decided = _name(tokens, index, names, factors, findings)
            end = tokens[index + used - 1]
            raw = text[token.offset : end.offset + len(end.text)]
            # A presence test keeps its width, so that columns behind it stay where they are.
            piece = decided.ljust(len(raw)) if decided.startswith("_has_") else raw
        pieces += (gap, piece)
        runtime += (gap, decided)
        length += len(gap) + len(piece)
        last = tokens[index + used - 1]
        at = last.offset + len(last.text)
        if token.kind == "number" and len(piece) > len(token.text):
            insertions.append(length - 1)
        index += used
    tail = text[at:]
    return Rewritten(tokens, "".join(pieces) + tail, "".join(runtime) + tail, findings, insertions)


def _name(
    tokens: list[Token],
    index: int,
    names: Collection[str],
    factors: Mapping[str, float],
    findings: list[Finding],
) -> tuple[int, str]:
    """Check the name at this index; tell how many tokens it takes and what stands for it."""
    token = tokens[index]
    after = [other.text for other in tokens[index + 1 : index + 4]]
    is_call = after[:1] == ["("]
    if index and tokens[index - 1].text == ".":
        if not ends_number(tokens, index - 1):
            _check_member(token, findings, is_call=is_call)
    elif token.text == "has" and is_call:
        return _presence(tokens, index, names, findings)
    elif is_call:
        _check_function(token, findings)
    elif token.text == "factors":
        return _factor(tokens, index, factors, findings)
    elif token.text == "null":
        note(findings, token, "there is no null; ask has(attribute)")
    elif token.text in {"true", "false", "in"}:
        pass
    elif token.text not in names:
        hint = ""
        if len(findings) < _HINTS_MAX:
            listed = f"; known are {', '.join(sorted(names))} and factors.NAME"
            hint = did_you_mean(token.text, [*names, "factors", "true", "false"]) or listed
        wrong = "is not known here" + hint if token.text not in CEL_WORDS else "is a reserved word"
        note(findings, token, f"{token.text} {wrong}")
    return 1, token.text


def _check_member(token: Token, findings: list[Finding], *, is_call: bool) -> None:
    if not is_call:
        note(findings, token, f".{token.text}: only factors have a name after a dot")
    elif token.text not in METHODS:
        hint = did_you_mean(token.text, METHODS) or f"; allowed are {', '.join(METHODS)}"
        note(findings, token, f".{token.text}() is not allowed{hint}")


def _check_function(token: Token, findings: list[Finding]) -> None:
    if token.text in METHODS:
        note(findings, token, f"write attribute.{token.text}('...')")
    elif token.text not in FUNCTIONS and token.text != "in":
        hint = did_you_mean(token.text, FUNCTIONS) or f"; allowed are {', '.join(FUNCTIONS)}"
        note(findings, token, f"{token.text}() is not allowed{hint}")


def _presence(
    tokens: list[Token], index: int, names: Collection[str], findings: list[Finding]
) -> tuple[int, str]:
    inner = tokens[index + 2 : index + 4]
    well_formed = len(inner) == 2 and inner[0].kind == "name" and inner[1].text == ")"
    if not well_formed:
        told = "has() takes the name of one attribute, like has(distance_km)"
        note(findings, tokens[index], told)
        return 1, "has"
    asked = inner[0]
    attributes = [name for name in names if name not in CONTEXT_NAMES]
    if asked.text not in attributes:
        hint = did_you_mean(asked.text, attributes)
        note(findings, asked, f"{asked.text} is not an attribute here{hint}")
    return 4, f"_has_{asked.text}"


def _factor(
    tokens: list[Token], index: int, factors: Mapping[str, float], findings: list[Finding]
) -> tuple[int, str]:
    following = tokens[index + 1 : index + 3]
    if len(following) < 2 or following[0].text != "." or following[1].kind != "name":
        note(findings, tokens[index], "name the factor, like factors.petrol_car_pkm")
        return 1, "factors"
    name = following[1]
    if name.text not in factors:
        hint = did_you_mean(name.text, factors)
        note(findings, name, f"there is no factor {name.text}{hint}")
        return 3, f"factors.{name.text}"
    if [token.text for token in tokens[index + 3 : index + 4]] == ["("]:
        note(findings, name, f"factors.{name.text} is a number; call nothing on it")
    value = factors[name.text]
    if math.isnan(value):
        value = 1.0  # it is faulty itself
    return 3, repr(float(value)) if value >= 0 else f"({float(value)!r})"
