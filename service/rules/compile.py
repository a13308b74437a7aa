"""Rule files -> one immutable rulebook, or every problem of all files in one go."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

import msgspec
from msgspec import UnsetType

from service.rules import schema
from service.rules.cel_text import CONTEXT_NAMES, did_you_mean
from service.rules.compile_rules import RuleDraft, compile_rule
from service.rules.compile_types import (
    TypeDraft,
    compile_factor,
    compile_program,
    compile_type,
    duration,
    lasts_unit,
)
from service.rules.expressions import Expression
from service.rules.load import Problem, Step, load
from service.rules.rulebook import ActionType, Factor, Program, Rule, Rulebook
from service.rules.shape import Source, shape_file, whole

RULES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class ExampleCase:
    """An example with the rule it belongs to and its place, for those that run it."""

    rule: Rule
    shape: schema.Example
    source: Source
    path: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """What compiling came to. There is a rulebook unless a problem is an error."""

    rulebook: Rulebook | None
    problems: tuple[Problem, ...]
    examples: tuple[ExampleCase, ...]
    campaigns: tuple[Problem, ...]

    @property
    def errors(self) -> list[Problem]:
        """The problems that are not mere warnings."""
        return [problem for problem in self.problems if problem.severity == "error"]


def sha256_of(files: Mapping[str, str]) -> str:
    """The hash of a rule set: of its files' names and texts, whatever their order."""
    named = sorted((PurePath(name).name, text) for name, text in files.items())
    return hashlib.sha256(msgspec.json.encode(named)).hexdigest()


def compile_rulebook(files: Mapping[str, str], version: int = 0) -> Draft:
    """Check and compile rule files (name to text). Version 0 is a draft."""
    nodes, problems = load(files)
    sources = [
        Source(name, root, shape_file(name, root, problems), problems)
        for name, root in sorted(nodes.items())
    ]
    compiler = _Compiler(sources, problems)
    if len(nodes) == len(files):
        # Otherwise every reference into the unreadable file would be called unknown.
        compiler.run()
    problems.sort(key=lambda problem: problem[:3])
    has_errors = any(problem.severity == "error" for problem in problems)
    rulebook = None
    if not has_errors and compiler.program is not None:
        rulebook = Rulebook(
            version=version,
            sha256=sha256_of(files),
            program=compiler.program,
            factors=compiler.factors,
            action_types=compiler.action_types(),
            rules=compiler.rules,
        )
    examples = () if rulebook is None else tuple(compiler.examples())
    return Draft(rulebook, tuple(problems), examples, tuple(compiler.campaigns()))


class _Compiler:
    """Holds what is known so far while the sections of all files are compiled in order."""

    def __init__(self, sources: list[Source], problems: list[Problem]) -> None:
        self.sources = sources
        self.problems = problems
        self.program: Program | None = None
        self.language = "en"
        self.factors: dict[str, Factor] = {}
        self.types: dict[str, TypeDraft] = {}
        self.rules: dict[str, Rule] = {}
        self._drafts: list[RuleDraft] = []
        self._homes: dict[str, tuple[Source, str]] = {}

    def run(self) -> None:
        """Compile section by section; later ones refer to earlier ones."""
        self._compile_program()
        known = self._compile_factors()
        self._compile_types(known)
        self._compile_rules()
        self._check_marks()
        if not any(problem.severity == "error" for problem in self.problems):
            # Otherwise what a faulty rule uses would be called unused.
            self._warn_of_unused()

    def _compile_program(self) -> None:
        given = [source for source in self.sources if "program" in source.root.entries]
        for source in given[1:]:
            first = given[0]
            where = f"{first.name}:{first.root.key('program').line}"
            source.fault(("program",), f"program stands already in {where}", at_key=True)
        if not given and self.sources:
            self.sources[0].fault((), "no file has the section program; it is needed once")
        for source in given[:1]:
            if not isinstance(source.shape.program, UnsetType):
                self.language = source.shape.program.language
                self.program = compile_program(source, source.shape.program)

    def _compile_factors(self) -> dict[str, float]:
        """Answer name and value of every factor; a faulty one still is a name."""
        known: dict[str, float] = {}
        for source, name in self._named("factors"):
            shape = source.shape.factors.get(name)
            known[name] = 1.0
            if shape is not None:
                self.factors[name] = compile_factor(name, shape)
                known[name] = shape.value
        return known

    def _compile_types(self, factors: Mapping[str, float]) -> None:
        for source, name in self._named("action_types"):
            shape = source.shape.action_types.get(name)
            if shape is not None:
                self.types[name] = compile_type(
                    source, name, shape, factors=factors, language=self.language
                )

    def _named(self, section: str) -> Iterable[tuple[Source, str]]:
        """List a section's names over all files, each once; a second one is a problem."""
        homes: dict[str, Source] = {}
        for source in self.sources:
            node = source.root.entries.get(section)
            for name in node[1].entries if node else ():
                if name in homes:
                    first = homes[name]
                    line = first.root.find((section,)).key(name).line
                    message = f"{name} stands already in {first.name}:{line}"
                    source.fault((section, name), message, at_key=True)
                    continue
                homes[name] = source
                yield source, name

    def _compile_rules(self) -> None:
        type_names = {
            name
            for source in self.sources
            if "action_types" in source.root.entries
            for name in source.root.find(("action_types",)).entries
        }
        count = 0
        for source in self.sources:
            for index, shape in whole(source.shape.rules):
                count += 1
                draft = RuleDraft(source, ("rules", index), shape)
                if count == RULES_MAX + 1:
                    source.fault(draft.path, f"a rule set has at most {RULES_MAX:,} rules")
                if count > RULES_MAX:
                    continue
                self._claim_id(source, draft.path, shape.id)
                if shape.action not in type_names:
                    hint = did_you_mean(shape.action, type_names)
                    message = f"there is no action type {shape.action}{hint}"
                    source.fault((*draft.path, "action"), message)
                self._drafts.append(draft)
                rule = compile_rule(draft, self.types, self.factors, self.language)
                if rule is not None:
                    self.rules.setdefault(rule.id, rule)

    def _claim_id(self, source: Source, path: tuple[Step, ...], name: str) -> None:
        if name in self._homes:
            first, place = self._homes[name]
            source.fault((*path, "id"), f"the id {name} stands already in {first.name}:{place}")
        else:
            self._homes[name] = source, str(source.root.find((*path, "id")).line)

    def _check_marks(self) -> None:
        """Campaigns and badges: their ids, for the ids are unique over all sections."""
        for source in self.sources:
            for section in ("campaigns", "badges"):
                for index, shape in whole(getattr(source.shape, section)):
                    self._claim_id(source, (section, index), shape.id)

    def _warn_of_unused(self) -> None:
        used = {name for draft in self._drafts for name in draft.used_factors}
        used |= {name for kind in self.types.values() for name in kind.used_factors}
        actions = {draft.shape.action for draft in self._drafts}
        for source in self.sources:
            for name in source.shape.factors:
                if name not in used:
                    source.warn(("factors", name), f"no rule uses the factor {name}", at_key=True)
            for name in source.shape.action_types:
                if name not in actions:
                    source.warn(("action_types", name), f"no rule is for {name}", at_key=True)

    def action_types(self) -> dict[str, ActionType]:
        """Join each type with its rules, in order of id."""
        return {name: self._action_type(kind) for name, kind in sorted(self.types.items())}

    def _action_type(self, kind: TypeDraft) -> ActionType:
        shape = kind.shape
        rules = tuple(rule for _, rule in sorted(self.rules.items()) if rule.action == kind.name)
        used = frozenset(
            name for expression in _expressions(kind, rules) for name in expression.names
        )
        counters = tuple(dict.fromkeys(limit.source for rule in rules for limit in rule.limits))
        lasts = None if isinstance(shape.lasts, UnsetType) else shape.lasts
        assert kind.scope is not None  # only whole drafts come here
        return ActionType(
            name=kind.name,
            title=kind.title,
            category=shape.category,
            hint=kind.hint,
            reported_by=frozenset(reporter for _, reporter in whole(shape.reported_by)),
            attributes=kind.attributes,
            accepted_for=duration(shape.accepted_for),
            plausible=kind.plausible,
            lasts=lasts,
            lasts_unit=lasts_unit(kind.attributes.get(lasts) if lasts else None),
            exclusive=not isinstance(shape.overlap, UnsetType),
            claim=kind.claim,
            rules=rules,
            counters=counters,
            slots={
                rule.id: tuple(counters.index(limit.source) for limit in rule.limits)
                for rule in rules
            },
            scope=kind.scope,
            used_names=used,
            presence_names=tuple(
                sorted(name.removeprefix("_has_") for name in used if name.startswith("_has_"))
            ),
            used_context=used & frozenset(CONTEXT_NAMES),
            needs_person=bool(used & {"region", "streak_days"}),
        )

    def examples(self) -> Iterable[ExampleCase]:
        """List every example with its rule."""
        for draft in self._drafts:
            rule = self.rules[draft.shape.id]
            for index, shape in whole(draft.shape.examples):
                yield ExampleCase(rule, shape, draft.source, (*draft.path, "examples", index))

    def campaigns(self) -> Iterable[Problem]:
        """Say of each file's campaigns that they cannot be published yet."""
        for source in self.sources:
            if source.shape.campaigns:
                key = source.root.key("campaigns")
                message = "campaigns cannot be published yet: this version would pay them nothing"
                yield Problem(source.name, key.line, key.column, "campaigns", message)


def _expressions(kind: TypeDraft, rules: tuple[Rule, ...]) -> Iterable[Expression]:
    if kind.plausible is not None:
        yield kind.plausible
    for rule in rules:
        for part in (rule.when, rule.saves, rule.earns):
            if isinstance(part, Expression):
                yield part
