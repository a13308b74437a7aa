"""Rule files -> one immutable rulebook, or every problem of all files in one go."""

from __future__ import annotations

import gc
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import msgspec

from service.rules.cel.expression import Expression
from service.rules.cel.text import CONTEXT_NAMES, did_you_mean
from service.rules.compile.campaigns import Known, compile_badge, compile_campaign
from service.rules.compile.limits import warn_of_groups
from service.rules.compile.references import References, references_of
from service.rules.compile.rules import RuleDraft, compile_rule
from service.rules.compile.set_size import beyond
from service.rules.compile.tags import check_languages
from service.rules.compile.types import (
    TypeDraft,
    compile_factor,
    compile_program,
    compile_type,
    duration,
    lasts_unit,
)
from service.rules.decide.rulebook import (
    ActionType,
    Badge,
    Campaign,
    CounterSource,
    Factor,
    Program,
    Rule,
    Rulebook,
)
from service.rules.language import schema
from service.rules.language.load import load
from service.rules.language.problems import EnoughError, Problem, Step, place_of, shown_name
from service.rules.language.shape import Source, shape_file, whole


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

    @property
    def errors(self) -> list[Problem]:
        """The problems that are not mere warnings."""
        return [problem for problem in self.problems if problem.severity == "error"]


def sha256_of(files: Mapping[str, str]) -> str:
    """The hash of a rule set: of its files' names and texts, whatever their order."""
    named = sorted((PurePath(name).name, text) for name, text in files.items())
    return hashlib.sha256(msgspec.json.encode(named)).hexdigest()


def compile_rulebook(
    files: Mapping[str, str], version: int = 0, *, unreadable: Sequence[Problem] = ()
) -> Draft:
    """Check and compile rule files (name to text). Version 0 is a draft.

    `unreadable`: what is wrong with files of this set that could not even be read as text.
    """
    is_collecting = gc.isenabled()
    # What is made here lives on: to look for garbage among it takes a third of the time.
    gc.disable()
    try:
        return _compiled(files, version, unreadable)
    except EnoughError as error:
        return Draft(None, tuple(error.problems), ())
    finally:
        if is_collecting:
            gc.enable()


def _compiled(files: Mapping[str, str], version: int, unreadable: Sequence[Problem]) -> Draft:
    nodes, problems = load(files)
    problems += unreadable
    if excess := beyond(nodes):
        problems.append(excess)
        return Draft(None, tuple(sorted(problems, key=place_of)), ())
    names = {name: shown_name(name) for name in sorted(nodes)}
    sources = [
        Source(shown, nodes[name], shape_file(shown, nodes[name], problems), problems, version > 0)
        for name, shown in names.items()
    ]
    is_whole = len(nodes) == len(files) and not unreadable
    compiler = _Compiler(sources, problems, references_of(sources, is_whole=is_whole))
    compiler.run(is_whole=is_whole)
    if not files and not unreadable:
        problems.append(Problem("rules", 1, 1, "", "a rule set needs at least one .yaml file"))
    problems.sort(key=place_of)
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
            campaigns=dict(sorted(compiler.campaigns.items())),
            badges=dict(sorted(compiler.badges.items())),
        )
    examples = () if rulebook is None else tuple(compiler.examples())
    return Draft(rulebook, tuple(problems), examples)


class _Compiler:
    """Holds what is known so far while the sections of all files are compiled in order."""

    def __init__(
        self, sources: list[Source], problems: list[Problem], references: References
    ) -> None:
        self.sources = sources
        self.problems = problems
        self.references = references
        self.program: Program | None = None
        self.language = "en"
        self.factors: dict[str, Factor] = {}
        self.types: dict[str, TypeDraft] = {}
        self.rules: dict[str, Rule] = {}
        self.campaigns: dict[str, Campaign] = {}
        self.badges: dict[str, Badge] = {}
        self._drafts: list[RuleDraft] = []
        self._homes: dict[str, tuple[Source, str]] = {}

    def run(self, *, is_whole: bool) -> None:
        """Compile section by section; later ones refer to earlier ones."""
        self._compile_program(is_whole=is_whole)
        known = self._compile_factors()
        self._compile_types(known)
        self._compile_rules()
        warn_of_groups([limit for draft in self._drafts for limit in draft.limits])
        self._compile_campaigns_and_badges()
        self._warn_of_unused(known)
        check_languages(self.sources, self.language)

    def _compile_program(self, *, is_whole: bool) -> None:
        given = [source for source in self.sources if "program" in source.root.entries]
        for source in given[1:]:
            first = given[0]
            where = f"{first.name}:{first.root.key('program').line}"
            source.fault(("program",), f"program stands already in {where}", at_key=True)
        if not given and self.sources and is_whole:
            self.sources[0].fault((), "no file has the section program; it is needed once")
        for source in given[:1]:
            if source.shape.program is not None:
                self.language = source.shape.program.language
                self.program = compile_program(source, source.shape.program)

    def _compile_factors(self) -> dict[str, float]:
        """Answer name and value of every factor; a faulty one still is a name, of no value."""
        known: dict[str, float] = dict.fromkeys(self.references.more("factors"), math.nan)
        for source, name in self._named("factors"):
            shape = source.shape.factors.get(name)
            known[name] = math.nan
            if shape is not None:
                self.factors[name] = compile_factor(source, name, shape)
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
        type_names = self._type_names()
        for source in self.sources:
            for index, shape in whole(source.shape.rules):
                draft = RuleDraft(source, ("rules", index), shape)
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
        if not name:
            return  # it is faulty, which was told
        if name in self._homes:
            first, place = self._homes[name]
            source.fault((*path, "id"), f"the id {name} stands already in {first.name}:{place}")
        else:
            self._homes[name] = source, str(source.root.find((*path, "id")).line)

    def _compile_campaigns_and_badges(self) -> None:
        categories: set[str] = {kind.shape.category for kind in self.types.values()}
        if "" in categories:
            categories.update(self.references.texts)  # one of them is faulty itself
        known = Known(
            rules=self.rules,
            rule_ids=self._ids("rules"),
            type_names=self._type_names(),
            categories=categories.union(self.references.more("action_types")),
            language=self.language,
        )
        for source in self.sources:
            for index, campaign in whole(source.shape.campaigns):
                path: tuple[Step, ...] = ("campaigns", index)
                self._claim_id(source, path, campaign.id)
                self.campaigns.setdefault(
                    campaign.id, compile_campaign(source, path, campaign, known)
                )
            for index, shape in whole(source.shape.badges):
                path = ("badges", index)
                self._claim_id(source, path, shape.id)
                badge = compile_badge(source, path, shape, known)
                if badge is not None:
                    self.badges.setdefault(badge.id, badge)

    def _ids(self, section: str) -> set[str]:
        """Every id that stands in a section, also of what is faulty otherwise."""
        return {
            member.entries["id"][1].text
            for source in self.sources
            if section in source.root.entries
            for member in source.root.find((section,)).items
            if "id" in member.entries
        }.union(self.references.more(section))

    def _type_names(self) -> set[str]:
        return {
            name
            for source in self.sources
            if "action_types" in source.root.entries
            for name in source.root.find(("action_types",)).entries
        }.union(self.references.more("action_types"))

    def _warn_of_unused(self, factors: Collection[str]) -> None:
        references = self.references
        unused_factors = set(references.unused("factors", factors))
        unused_types = set(references.unused("action_types", self._type_names()))
        for source in self.sources:
            for name in source.shape.factors:
                if name in unused_factors:
                    source.warn(("factors", name), f"no rule uses the factor {name}", at_key=True)
            for name in source.shape.action_types:
                if name in unused_types:
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
        campaigns = self._campaigns_of(shape.category, rules)
        sums = {r.id: CounterSource(f"{r.id}/day/", 0, None) for r in rules if not r.is_whole}
        multiplied = {
            rule: CounterSource(f"{rule}/day/*", 0, None)
            for rule, offered in campaigns.items()
            if any(campaign.times.denominator > 1 for campaign in offered)
        }
        limits = [limit.source for rule in rules for limit in rule.limits]
        counters = tuple(dict.fromkeys([*limits, *sums.values(), *multiplied.values()]))
        slot = {source: index for index, source in enumerate(counters)}
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
            lasts=shape.lasts,
            lasts_unit=lasts_unit(kind.attributes.get(shape.lasts or "")),
            exclusive=shape.overlap is not None,
            claim=kind.claim,
            rules=rules,
            counters=counters,
            slots={rule.id: tuple(slot[limit.source] for limit in rule.limits) for rule in rules},
            sums={rule: slot[source] for rule, source in sums.items()},
            multiplied={rule: slot[source] for rule, source in multiplied.items()},
            campaigns=campaigns,
            scope=kind.scope,
            used_names=used,
            presence_names=tuple(
                sorted(name.removeprefix("_has_") for name in used if name.startswith("_has_"))
            ),
            used_context=used & frozenset(CONTEXT_NAMES),
            needs_person=bool(used & {"region", "streak_days"}),
        )

    def _campaigns_of(
        self, category: str, rules: tuple[Rule, ...]
    ) -> dict[str, tuple[Campaign, ...]]:
        """By rule, the campaigns for it or its category, the one that gives most first."""
        ordered = sorted(
            self.campaigns.values(), key=lambda campaign: (-campaign.times, campaign.id)
        )
        by_rule = {
            rule.id: tuple(
                campaign
                for campaign in ordered
                if rule.id in campaign.rules or category in campaign.categories
            )
            for rule in rules
        }
        return {rule: campaigns for rule, campaigns in by_rule.items() if campaigns}

    def examples(self) -> Iterable[ExampleCase]:
        """List every example with its rule."""
        for draft in self._drafts:
            rule = self.rules[draft.shape.id]
            for index, shape in whole(draft.shape.examples):
                yield ExampleCase(rule, shape, draft.source, (*draft.path, "examples", index))


def _expressions(kind: TypeDraft, rules: tuple[Rule, ...]) -> Iterable[Expression]:
    if kind.plausible is not None:
        yield kind.plausible
    for rule in rules:
        for part in (rule.when, rule.saves, rule.earns):
            if isinstance(part, Expression):
                yield part
