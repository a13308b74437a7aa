"""Rule files -> one immutable rulebook, or every problem of all files in one go."""

import gc
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import PurePath
from typing import Any

import msgspec

from service.rules.compile.campaigns import Known, compile_badge, compile_campaign
from service.rules.compile.joined import joined
from service.rules.compile.limits import warn_of_groups, warn_of_self_reports
from service.rules.compile.program import compile_program
from service.rules.compile.references import References, references_of
from service.rules.compile.rules import RuleDraft, compile_rule
from service.rules.compile.set_size import beyond
from service.rules.compile.tags import check_languages
from service.rules.compile.types import TypeDraft, check_factor, compile_type
from service.rules.decide.rulebook import ActionType, Badge, Campaign, Program, Rule, Rulebook
from service.rules.language import schema
from service.rules.language.load import load
from service.rules.language.problems import EnoughError, Problem, place_of, shown_name
from service.rules.language.shape import Source, shape_file, whole


class ExampleCase(msgspec.Struct, frozen=True):
    """An example with the rule it belongs to and its place, for those that run it."""

    rule: Rule
    shape: schema.Example
    source: Source


class Draft(msgspec.Struct, frozen=True):
    """What compiling came to. There is a rulebook unless a problem is an error."""

    rulebook: Rulebook | None
    problems: tuple[Problem, ...]
    examples: tuple[ExampleCase, ...]
    # By campaign, what a person could earn with it by reports that nobody verifies, if it is much.
    worries: Mapping[str, str] = msgspec.field(default_factory=dict)

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
    compiler = _Compiler(sources, references_of(sources, is_whole=is_whole))
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
    return Draft(rulebook, tuple(problems), examples, compiler.worries)


class _Compiler(msgspec.Struct):
    """Holds what is known so far while the sections of all files are compiled in order."""

    sources: list[Source]
    references: References
    program: Program | None = None
    language: str = "en"
    factors: dict[str, schema.Factor] = {}
    types: dict[str, TypeDraft] = {}
    rules: dict[str, Rule] = {}
    campaigns: dict[str, Campaign] = {}
    badges: dict[str, Badge] = {}
    worries: dict[str, str] = {}
    _drafts: list[RuleDraft] = []
    _homes: dict[str, str] = {}

    def run(self, *, is_whole: bool) -> None:
        """Compile section by section; later ones refer to earlier ones."""
        self._compile_program(is_whole=is_whole)
        known = self._compile_factors()
        self._compile_types(known)
        self._compile_rules()
        warn_of_groups([limit for draft in self._drafts for limit in draft.limits])
        self._compile_campaigns_and_badges()
        for draft in self._drafts:
            if draft.believed:
                best = self._largest_over(draft.shape)
                told = warn_of_self_reports(draft.source, draft.limits, draft.believed, best)
                if best and told:
                    self.worries.setdefault(best.id, told)
        self._warn_of_unused(known)
        check_languages(self.sources, self.language)

    def _compile_program(self, *, is_whole: bool) -> None:
        given = [source for source in self.sources if "program" in source.root.entries]
        for source in given[1:]:
            first = given[0]
            where = f"{first.name}:{first.root.key('program').line}"
            source.at("program").fault(f"program stands already in {where}", at_key=True)
        if not given and self.sources and is_whole:
            self.sources[0].fault("no file has the section program; it is needed once")
        for source in given[:1]:
            if source.shape.program is not None:
                self.language = source.shape.program.language
                self.program = compile_program(source.at("program"), source.shape.program)

    def _compile_factors(self) -> dict[str, float]:
        """Answer name and value of every factor; a faulty one still is a name, of no value."""
        known: dict[str, float] = dict.fromkeys(self.references.more("factors"), math.nan)
        for source, name in self._named("factors"):
            shape = source.shape.factors.get(name)
            known[name] = math.nan
            if shape is not None:
                check_factor(source, shape)
                self.factors[name] = shape
                known[name] = shape.value
        return known

    def _compile_types(self, factors: Mapping[str, float]) -> None:
        for source, name in self._named("action_types"):
            shape = source.shape.action_types.get(name)
            if shape is not None:
                made = compile_type(source, shape, factors=factors, language=self.language)
                self.types[name] = made

    def _named(self, section: str) -> Iterable[tuple[Source, str]]:
        """List a section's names over all files, each once; a second one is a problem."""
        homes: dict[str, Source] = {}
        for source in self.sources:
            node = source.root.entries.get(section)
            for name in node[1].entries if node else ():
                at, first = source.at(section, name), homes.setdefault(name, source)
                if first is source:
                    yield at, name
                    continue
                line = first.root.find((section,)).key(name).line
                at.fault(f"{name} stands already in {first.name}:{line}", at_key=True)

    def _listed(self, source: Source, section: str) -> Iterable[tuple[Source, Any]]:
        """List what could be read of a file's section; an id that stands elsewhere is a problem."""
        for index, shape in whole(getattr(source.shape, section)):
            at = source.at(section, index)
            if shape.id in self._homes:
                home = self._homes[shape.id]
                at.at("id").fault(f"the id {shape.id} stands already in {home}")
            elif shape.id:  # else it is faulty, which was told
                self._homes[shape.id] = f"{source.name}:{at.at('id').node.line}"
            yield at, shape

    def _compile_rules(self) -> None:
        type_names = self._type_names()
        listed = (self._listed(source, "rules") for source in self.sources)
        for source, shape in chain.from_iterable(listed):
            if shape.action not in type_names:
                source.at("action").unknown("there is no action type {}", shape.action, type_names)
            draft = RuleDraft(source, shape)
            self._drafts.append(draft)
            rule = compile_rule(draft, self.types, self.factors, self.language)
            if rule is not None:
                self.rules.setdefault(rule.id, rule)

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
            for at, shape in self._listed(source, "campaigns"):
                self.campaigns.setdefault(shape.id, compile_campaign(at, shape, known))
            for at, shape in self._listed(source, "badges"):
                badge = compile_badge(at, shape, known)
                if badge is not None:
                    self.badges.setdefault(badge.id, badge)

    def _largest_over(self, rule: schema.Rule) -> Campaign | None:
        """The campaign that multiplies most what a rule pays, on some day of both."""
        category = self.types[rule.action].shape.category
        over = [
            each
            for each in self.campaigns.values()
            if (rule.id in each.rules or category in each.categories)
            and (rule.from_ or each.starts_on) < each.ends_before
            and (rule.until or each.ends_before) > each.starts_on
        ]
        return max(over, key=lambda each: each.times, default=None)

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
        for section, names, told in (
            ("factors", factors, "no rule uses the factor"),
            ("action_types", self._type_names(), "no rule is for"),
        ):
            unused = set(self.references.unused(section, names))
            for source in self.sources:
                for name in getattr(source.shape, section):
                    if name in unused:
                        source.at(section, name).warn(f"{told} {name}", at_key=True)

    def action_types(self) -> dict[str, ActionType]:
        """Join each type with its rules, in order of id."""
        rules = [rule for _, rule in sorted(self.rules.items())]
        return {
            name: joined(kind, [rule for rule in rules if rule.action == name], self.campaigns)
            for name, kind in sorted(self.types.items())
        }

    def examples(self) -> Iterable[ExampleCase]:
        """List every example with its rule."""
        for draft in self._drafts:
            rule = self.rules[draft.shape.id]
            for index, shape in whole(draft.shape.examples):
                yield ExampleCase(rule, shape, draft.source.at("examples", index))
