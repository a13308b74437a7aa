"""The tokens of an expression, and what is wrong with each by itself."""

import math
import re
from typing import Literal, NamedTuple

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<number>(?:0[xX][0-9a-fA-F]+
          | (?:[0-9]+\.[0-9]+ | \.[0-9]+ | [0-9]+) (?:[eE][+-]?[0-9]+)?)[uU]?)
      | (?P<string>[rRbB]{0,2}(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<comment>//[^\n]*)
      | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:().,\[\]])""",
    re.VERBOSE | re.DOTALL,
)


# What CEL knows; a \\ that begins none of these is meant for a pattern, mostly.
_ESCAPE = re.compile(
    r"""\\(?:[\\"'`?abfnrtv]|[0-3][0-7]{2}|[xX][0-9a-fA-F]{2}
        |u(?P<four>[0-9a-fA-F]{4})|U(?P<eight>[0-9a-fA-F]{8}))""",
    re.VERBOSE,
)
_UNICODE_MAX = 0x10FFFF
_HALVES = range(0xD800, 0xE000)


class Finding(NamedTuple):
    """Something wrong at this offset (in code points) of an expression or scalar."""

    offset: int
    message: str
    severity: Literal["error", "warning"] = "error"


class Token(NamedTuple):
    """One piece of an expression with its place in the operator's text."""

    kind: str
    text: str
    offset: int


def note(findings: list[Finding], token: Token, message: str) -> None:
    """Note what is wrong with a token."""
    findings.append(Finding(token.offset, message))


def tokens_of(text: str) -> tuple[list[Token], list[Finding]]:
    """Split an expression, and find what is no token."""
    tokens: list[Token] = []
    findings: list[Finding] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            findings.append(Finding(at, _strange(text, at)))
            at += 1 if text[at] not in "\"'" else len(text)
            continue
        kind = str(match.lastgroup)
        if kind == "comment":
            message = "'//' would start a comment here; division is '/', comments are YAML's #"
            findings.append(Finding(at, message))
        elif kind != "space":
            tokens.append(Token(kind, match.group(), at))
        at = match.end()
    return tokens, findings


def _strange(text: str, at: int) -> str:
    character = text[at]
    if character in "\"'":
        return "this text has no closing quote"
    hints = {"=": "compare with ==", "&": "write &&", "|": "write ||", "{": "maps are not allowed"}
    hint = hints.get(character, "allowed are names, numbers, quoted texts and operators")
    return f"unexpected character {character!r}; {hint}"


def promoted(token: Token, findings: list[Finding]) -> str:
    """Write a number as a double."""
    text = token.text
    if text[-1] in "uU":
        note(findings, token, f"{text}: numbers carry no suffix; write {text[:-1]}")
    elif text[:2] in {"0x", "0X"}:
        note(findings, token, f"{text}: write the number in decimal, {int(text, 16)}")
    elif not math.isfinite(float(text)):
        note(findings, token, "this number is too large")
    elif text.isdigit():
        return text + ".0"
    return text


def string_findings(token: Token, after: str) -> list[Finding]:
    """Find what is wrong with a text; `after` is the character behind it."""
    body = token.text.lstrip("rRbB")
    if len(body) < len(token.text.lstrip("rR")):
        return [Finding(token.offset, "bytes are not allowed; write a text without b before it")]
    if body in {"''", '""'} and after == body[0]:
        return [Finding(token.offset, "write a text in one pair of quotes")]
    if "\0" in body:
        return [Finding(token.offset, "a text cannot hold a NUL character")]
    return [] if token.text[0] in "rR" else _escape_findings(token)


def _escape_findings(token: Token) -> list[Finding]:
    """Find what stands behind a backslash and is no character."""
    at = token.text.find("\\")
    while at >= 0:
        match = _ESCAPE.match(token.text, at)
        if match is None:
            wrong = token.text[at : at + 2]
            message = f"{wrong} is no escape here; write \\{wrong}, or r before the text's quotes"
            return [Finding(token.offset + at, message)]
        code = int(match["four"] or match["eight"] or "0", 16)
        if code > _UNICODE_MAX or code in _HALVES:
            return [Finding(token.offset + at, f"{match.group()} is no character")]
        at = token.text.find("\\", match.end())
    return []


def sign_findings(tokens: list[Token], index: int) -> list[Finding]:
    """Find signs that may not stand where this one does."""
    token = tokens[index]
    if token.text == "%":
        return [Finding(token.offset, "% is not allowed; arithmetic is + - * /")]
    if token.text == "[" and index:
        before = tokens[index - 1]
        if before.text in {")", "]"} or (before.kind in {"name", "string"} and before.text != "in"):
            return [Finding(token.offset, "indexing with [ ] is not allowed; lists stand after in")]
    if ends_number(tokens, index):
        number = tokens[index - 1]
        message = f"{number.text}. needs digits behind its dot; write {number.text}"
        return [Finding(number.offset, f"{message} or {number.text}.0")]
    return []


def ends_number(tokens: list[Token], index: int) -> bool:
    """Whether this is the dot of a number without digits behind it, which CEL does not know."""
    return index > 0 and tokens[index].text == "." and tokens[index - 1].kind == "number"
