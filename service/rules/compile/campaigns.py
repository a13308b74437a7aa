"""Campaigns and badges: their dates and what they refer to, checked against the other sections."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction

from service.rules.cel.text import did_you_mean
from service.rules.compile.types import localized
from service.rules.decide.rulebook import Badge, Campaign, Rule
from service.rules.language import schema
from service.rules.language.problems import Step
from service.rules.language.shape import Source

_REGION = re.compile(schema.REGION)


@dataclass(frozen=True, slots=True)
class Known:
    """What campaigns and badges may refer to: by name, also where it is faulty itself."""

    rules: Mapping[str, Rule]
    rule_ids: Collection[str]
    type_names: Collection[str]
    categories: Collection[str]
    language: str


def compile_campaign(
    source: Source, path: tuple[Step, ...], shape: schema.Campaign, known: Known
) -> Campaign:
    """Compile one campaign; what is wrong with it is noted."""
    if shape.from_ >= shape.until:
        message = (
            f"until {shape.until} is not after from {shape.from_}; until is the day after the last"
        )
        source.fault((*path, "until"), message)
    if (shape.rules is None) == (shape.categories is None):
        entries = source.root.find(path).entries
        if ("rules" in entries) == ("categories" in entries):
            source.fault(path, "a campaign needs exactly one of rules and categories")
    if shape.earns_times == 1:
        source.warn((*path, "earns_times"), "earns_times 1 adds nothing")
    if shape.budget_g == 0:
        source.warn((*path, "budget_g"), "a budget of 0 g pays nothing")
    return Campaign(
        id=shape.id,
        title=localized(source, (*path, "title"), shape.title, known.language),
        starts_on=shape.from_,
        ends_before=shape.until,
        times=Fraction(str(shape.earns_times)),
        rules=_rules(source, path, shape, known),
        categories=_categories(source, path, shape, known),
        regions=_regions(source, path, shape),
        budget_g=shape.budget_g,
        text=f"{shape.budget_g} g per campaign",
    )


def _rules(
    source: Source, path: tuple[Step, ...], shape: schema.Campaign, known: Known
) -> tuple[str, ...]:
    named = source.once((*path, "rules"), shape.rules or ())
    for index, name in named:
        at = (*path, "rules", index)
        rule = known.rules.get(name)
        if name not in known.rule_ids:
            source.fault(at, f"there is no rule {name}{did_you_mean(name, known.rule_ids)}")
        elif rule is None:
            continue  # it is faulty itself
        elif rule.ends_before is not None and rule.ends_before <= shape.from_:
            message = f"{name} ends before {rule.ends_before}, this campaign begins {shape.from_}"
            source.warn(at, message)
        elif rule.starts_on is not None and rule.starts_on >= shape.until:
            message = f"{name} begins {rule.starts_on}, this campaign ends before {shape.until}"
            source.warn(at, message)
    return tuple(name for _, name in named)


def _categories(
    source: Source, path: tuple[Step, ...], shape: schema.Campaign, known: Known
) -> tuple[str, ...]:
    named = source.once((*path, "categories"), shape.categories or ())
    for index, name in named:
        if name not in known.categories:
            source.warn((*path, "categories", index), f"no action type is of category {name}")
    return tuple(name for _, name in named)


def _regions(source: Source, path: tuple[Step, ...], shape: schema.Campaign) -> frozenset[str]:
    named = source.once((*path, "regions"), shape.regions or ())
    for index, name in named:
        if not _REGION.fullmatch(name):
            message = f"a region is an ISO 3166 code like CN-ZJ, or CN for all of it, not {name!r}"
            source.fault((*path, "regions", index), message)
    return frozenset(name for _, name in named)


def compile_badge(
    source: Source, path: tuple[Step, ...], shape: schema.Badge, known: Known
) -> Badge | None:
    """Compile one badge's definition; None when it does not say what it takes."""
    title = localized(source, (*path, "title"), shape.title, known.language)
    needs, at = shape.needs, (*path, "needs")
    entries = source.root.find(at).entries
    kinds = [key for key in ("action", "streak_days", "trees") if key in entries]
    if len(kinds) != 1:
        source.fault(at, "needs takes exactly one of action (with count), streak_days and trees")
        return None
    if ("count" in entries) != (kinds == ["action"]):
        if kinds == ["action"]:
            source.fault(at, "needs with an action also says count, how many of them")
        else:
            source.fault(
                (*at, "count"), f"count goes with action, not with {kinds[0]}", at_key=True
            )
        return None
    if needs.action is not None:
        if needs.action not in known.type_names:
            hint = did_you_mean(needs.action, known.type_names)
            source.fault((*at, "action"), f"there is no action type {needs.action}{hint}")
        if needs.count is None:
            return None
        return Badge(shape.id, title, "actions", needs.action, needs.count)
    if needs.streak_days is not None:
        return Badge(shape.id, title, "streak_days", None, needs.streak_days)
    if needs.trees is not None:
        return Badge(shape.id, title, "trees", None, needs.trees)
    return None
