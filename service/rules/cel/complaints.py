"""What the engine complains of, as operators understand it."""

import re

from service.rules.cel.text import METHODS, Rewritten
from service.rules.cel.tokens import Finding, Token

_ERROR_LINE = re.compile(
    r"^(?:[A-Z_]+: )?ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?: \[[A-Z_]+\])?$", re.MULTILINE
)
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '\((.*)\)'")
TYPE_NAMES = {
    "double": "a number",
    "string": "a text",
    "bool": "a condition",
    "dyn": "a faulty value",
}
ARGUMENTS_MAX = 8
_TAKES = {
    **dict.fromkeys(("min", "max"), f"2 to {ARGUMENTS_MAX} numbers"),
    **dict.fromkeys(("floor", "ceil", "round"), "one number"),
    **dict.fromkeys(METHODS, "one text"),
}


def engine_findings(message: str, rewritten: Rewritten) -> list[Finding]:
    """Say what the engine complains of in the operator's words, at the operator's places."""
    lines = _ERROR_LINE.findall(message)
    if not lines or lines[0][0] == "-1":
        return [Finding(0, "this expression is nested too deeply; 30 levels or terms are allowed")]
    findings: list[Finding] = []
    for line, column, text in lines:
        offset = rewritten.offset_at(int(line), int(column))
        token = rewritten.token_at(offset)
        if text.startswith("undeclared reference"):
            # Names were checked before, with better messages; what is left is a wrong arity.
            if token and token.text in _TAKES:
                takes = f"{token.text}() takes {_TAKES[token.text]}"
                findings.append(Finding(token.offset, takes))
            continue
        if text.startswith("Syntax error"):
            if not findings and not rewritten.findings:
                findings.append(_syntax_finding(text, offset, token))
            break
        told = _type_message(text)
        if told or not rewritten.findings:
            findings.append(Finding(token.offset if token else offset, told or text))
    return findings


def _syntax_finding(text: str, offset: int, token: Token | None) -> Finding:
    if "'<EOF>'" in text:
        return Finding(offset, "the expression ends too early")
    quoted = re.search(r"(?:input|at:?) '(.*?)'(?: expecting.*)?$", text, re.DOTALL)
    what = quoted.group(1) if quoted else "this"
    if token is not None and token.offset == offset and token.kind in {"name", "number"}:
        what = token.text  # as the operator wrote it, not as it was rewritten
    return Finding(offset, f"{what!r} is not expected here")


def _type_message(text: str) -> str:
    """Say it in the operator's words; nothing for what follows from a construct already refused."""
    match = _OVERLOAD.match(text)
    if match is None:
        return ""
    function, arguments = match.groups()
    types = arguments.split(", ")
    if not all(kind in TYPE_NAMES or kind.startswith("list(") for kind in types):
        return ""
    kinds = [TYPE_NAMES.get(kind, "a list") for kind in types]
    if function == "_?_:_":
        return "'? :' needs a condition and two results of one type, not " + _joined(kinds)
    operator = function.strip("_@").replace("_", "")
    return f"'{operator}' does not work with {_joined(kinds)}"


def _joined(kinds: list[str]) -> str:
    return f"{', '.join(kinds[:-1])} and {kinds[-1]}" if kinds[1:] else kinds[0]
