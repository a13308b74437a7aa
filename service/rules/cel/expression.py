"""The one port to the expression engine: CEL by cel-expr-python, with its traps closed.

What was tried and is hidden here: integers do not mix with doubles; `has(x)` does not compile;
errors come back as truthy values; `true` passes as 1.0; a NUL cuts texts short; functions such as
`min` must be declared; dividing by zero is no error and could pay. Nothing else imports the engine.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from cel_expr_python import cel

from service.rules.cel.bounds import Bounds, Fact
from service.rules.cel.complaints import ARGUMENTS_MAX, TYPE_NAMES, engine_findings
from service.rules.cel.pattern_size import PARTS_MAX, parts_of
from service.rules.cel.plain import FAILURES, FUNCTIONS, Compute, plain
from service.rules.cel.ranges import Range
from service.rules.cel.text import Rewritten, rewrite
from service.rules.cel.tokens import Finding
from service.rules.cel.tree import Analysis, Name, Node, ValueType, decode, literal

TEXT_MAX = 2_000
_FINDINGS_MAX = 20
_NOTHING: Mapping[str, Fact] = MappingProxyType({})

Values = Mapping[str, object]

_TYPES = {
    "number": cel.Type.DOUBLE,
    "text": cel.Type.STRING,
    "boolean": cel.Type.BOOL,
    "any": cel.Type.DYN,
}
_WITHOUT_MACROS = cel.NewEnvConfigFromYaml("stdlib:\n  disable_macros: true\n")
_REPORTERS = ("participant", "device", "partner")
_CONTEXT = (
    Name("region", "text"),
    Name("hour", "number", minimum=0, maximum=23, is_whole=True),
    Name("weekday", "number", minimum=1, maximum=7, is_whole=True),
    Name("streak_days", "number", minimum=0, is_whole=True),
)


def _reported(reporters: Collection[str]) -> tuple[Name, Name]:
    """What is known of who reports: only a partner's word is verified."""
    never = "" if "partner" in reporters else "no partner reports this"
    allowed = tuple(who for who in _REPORTERS if who in reporters)
    return Name("verified", "boolean", never=never), Name("reporter", "text", one_of=allowed)


_RESULTS = {"number": float, "condition": bool}
_NO_VALUE = "this never has a value: it fails whenever it is computed"


_NUMBER = cel.Type.DOUBLE
_SEVERAL = range(2, ARGUMENTS_MAX + 1)
_FUNCTIONS = [
    cel.FunctionDecl(
        name,
        [
            cel.Overload(f"{name}_{n}", _NUMBER, [_NUMBER] * n, False, compute)
            for n in (_SEVERAL if name in {"min", "max"} else [1])
        ],
    )
    for name, compute in FUNCTIONS.items()
]


class Activation:
    """Values bound to their names; the engine gets them when it is needed."""

    def __init__(self, env: Any, values: Values) -> None:
        """`values` must fit the declared types: the engine would take true for 1.0."""
        self.values, self._env = values, env

    @cached_property
    def of_engine(self) -> Any:
        """The same, for the engine."""
        return self._env.Activation(self.values)


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. Run it on an activation that its scope made."""

    text: str
    tree: Node
    names: frozenset[str]
    constant: object
    _run: Callable[[Any], Any] = field(repr=False)
    _plain: Compute | None = field(repr=False)

    def number(self, activation: Activation) -> float | None:
        """Compute a number; None when it fails."""
        value = self._value(activation)
        return value if type(value) is float else None

    def holds(self, activation: Activation) -> bool | None:
        """Decide a condition; None when it fails."""
        value = self._value(activation)
        return value if value is True or value is False else None

    def _value(self, activation: Activation) -> object:
        """What comes of it. An error of the engine is a value of another type."""
        if self._plain is not None:
            try:
                return self._plain(activation.values)
            except FAILURES:
                pass  # the engine has to say what comes of it
        return self._run(activation.of_engine).value()


@dataclass(frozen=True, slots=True)
class Compiled:
    """The outcome: an expression unless there are errors, and what holds when it is true."""

    expression: Expression | None
    findings: tuple[Finding, ...]
    present: frozenset[str]
    factors: frozenset[str]
    # What is known of the values where it is true, and between what its number lies.
    facts: Mapping[str, Fact]
    grams: Range | None = None


class Scope:
    """The names that the expressions of one action type may use. Compiles them, binds values."""

    def __init__(
        self,
        attributes: Iterable[Name],
        factors: Mapping[str, float],
        reporters: Collection[str] = _REPORTERS,
    ) -> None:
        """Declare the attributes and the factors; context names and functions are always there."""
        self._attributes = {name.name: name for name in attributes}
        self._factors = factors
        self._context = (*_CONTEXT, *_reported(reporters))

    @cached_property
    def _env(self) -> Any:
        """What the engine is told; with a thousand factors that takes two milliseconds."""
        declared: dict[str, object] = {f"factors.{name}": cel.Type.DOUBLE for name in self._factors}
        for name in (*self._context, *self._attributes.values()):
            declared[name.name] = _TYPES[name.type]
        for attribute in self._attributes:
            declared[f"_has_{attribute}"] = cel.Type.BOOL
        return cel.NewEnv(config=_WITHOUT_MACROS, variables=declared, functions=_FUNCTIONS)

    def compile(
        self,
        text: str,
        wanted: Literal["number", "condition"],
        *,
        present: frozenset[str] = frozenset(),
        facts: Mapping[str, Fact] = _NOTHING,
        without: Collection[str] = (),
    ) -> Compiled:
        """Check and compile.

        `present`: optional attributes that surely came; `facts`: what else is known before;
        `without`: context names that are not known where this expression is used.
        """
        context = {name.name: name for name in self._context if name.name not in without}
        names = {**context, **self._attributes}
        if len(text) > TEXT_MAX:
            finding = Finding(0, f"an expression has at most {TEXT_MAX} characters")
            return Compiled(None, (finding,), present, frozenset(), facts)
        rewritten = rewrite(text, names, self._factors)
        findings = list(rewritten.findings)
        used = frozenset(
            token.text
            for before, token in zip(rewritten.tokens[1:], rewritten.tokens[2:], strict=False)
            if before.text == "." and token.text in self._factors
        )
        checked = self._checked(rewritten, findings)
        if checked is None:
            return Compiled(None, tuple(findings), present, used, facts)
        findings += _result_findings(checked, wanted, rewritten)
        tree = decode(checked.serialize(), rewritten.start_of)
        after = Analysis(names, regex_fault, findings).run(tree, present)
        bounds = Bounds(names, self._factors, findings, facts)
        known = bounds.run(tree)
        if any(finding.severity == "error" for finding in findings):
            return Compiled(None, tuple(findings), present, used, facts)
        expression = self._expression(text, rewritten, tree, checked)
        if not expression.names and not isinstance(expression.constant, _RESULTS[wanted]):
            findings.append(Finding(rewritten.tokens[0].offset, _NO_VALUE))
            return Compiled(None, tuple(findings), present, used, facts)
        grams = bounds.grams(tree) if wanted == "number" else None
        # Where it never holds nothing need be known: that was told.
        return Compiled(
            expression, tuple(findings), after, used, facts if known is None else known, grams
        )

    def activation(self, values: Values) -> Activation:
        """Bind values, which must fit the declared types."""
        return Activation(self._env, values)

    def _expression(self, text: str, rewritten: Rewritten, tree: Node, checked: Any) -> Expression:
        """What runs: presence is asked of names, and factors are numbers."""
        runtime = tree
        if rewritten.runtime_text != rewritten.text:
            checked = self._env.compile(rewritten.runtime_text)
            runtime = decode(checked.serialize(), rewritten.start_of)
        types: dict[str, ValueType] = {f"_has_{name}": "boolean" for name in self._attributes}
        types |= {name.name: name.type for name in (*self._context, *self._attributes.values())}
        names = frozenset(name for name in tree.names() if not name.startswith("factors."))
        constant = literal(tree) if names else checked.eval(self._env.Activation({})).value()
        return Expression(text, tree, names, constant, checked.eval, plain(runtime, types))

    def _checked(self, rewritten: Rewritten, findings: list[Finding]) -> Any | None:
        """Let the engine parse and check; its messages become ours, at the operator's places."""
        if len(findings) > _FINDINGS_MAX:
            return None
        try:
            checked = self._env.compile(rewritten.text)
        except RuntimeError as error:
            known = {finding.offset for finding in findings}
            findings += [
                finding
                for finding in engine_findings(str(error), rewritten)
                if finding.offset not in known
            ]
            # Whatever the engine refuses is refused, also for a reason that has no words here.
            if not findings:
                findings.append(Finding(0, f"not a valid expression: {error}"))
            return None
        return None if findings else checked


def _result_findings(checked: Any, wanted: str, rewritten: Rewritten) -> list[Finding]:
    right = cel.Type.DOUBLE if wanted == "number" else cel.Type.BOOL
    got = checked.return_type()
    if got == right or got == cel.Type.DYN:  # noqa: PLR1714 - these types have no hash
        return []
    given = TYPE_NAMES.get(got.name().lower(), "something else")
    should = "a number of grams" if wanted == "number" else "a condition (true or false)"
    start = rewritten.tokens[0].offset
    return [Finding(start, f"this gives {given}; it must give {should}")]


_ONE_CLASS = re.compile(r"\[(?!.*(?:--|&&|\|\||~~))[!-Z_-~][!-Z_-~]*\]\+")
_PATTERN_ENV = cel.NewEnv(variables={"value": cel.Type.STRING})


def _quoted(text: str) -> str:
    plain = (
        c if c.isascii() and c.isprintable() and c not in '\\"' else f"\\U{ord(c):08x}"
        for c in text
    )
    return '"' + "".join(plain) + '"'


def regex_fault(pattern: str) -> str | None:
    """Tell what is wrong with a regular expression (RE2 syntax, linear in time), or None."""
    if (parts := parts_of(pattern)) > PARTS_MAX:
        return (
            f"with its repetitions it has {parts:,} parts, and {PARTS_MAX:,} are allowed"
            " (\\p and \\P count 250); limit a text by max_length instead"
        )
    # A pattern must also hold together where it is asked to fit a whole text: \Q would not.
    for form in (pattern, _whole(pattern)):
        program = _PATTERN_ENV.compile(f"value.matches({_quoted(form)})")
        value = program.eval(data={"value": ""}).value()
        if not isinstance(value, bool):
            return str(value).rpartition("invalid regular expression: ")[2]
    return None


def _whole(pattern: str) -> str:
    return "\\A(?:" + pattern + ")\\z"


def whole_match(pattern: str) -> Callable[[str], bool]:
    """Make a test whether a whole text fits the pattern. Linear in time, whatever the pattern.

    One class of plain characters, as numbers of tickets have it, needs no engine: 0.3 us, not 10.
    """
    if _ONE_CLASS.fullmatch(pattern):
        fits = re.compile(pattern).fullmatch
        return lambda value: fits(value) is not None
    program = _PATTERN_ENV.compile(f"value.matches({_quoted(_whole(pattern))})")

    def matches(value: str) -> bool:
        return program.eval(data={"value": value}).value() is True

    return matches
