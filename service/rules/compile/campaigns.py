"""Campaigns and badges: their dates and what they refer to, checked against the other sections."""

import re
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Literal

from msgspec import Struct

from service.rules.compile.texts import check_dates, localized
from service.rules.decide.rulebook import Badge, Campaign, Rule
from service.rules.language import schema
from service.rules.language.shape import Source

_REGION = re.compile(schema.REGION)
_KINDS: Mapping[str, Literal["actions", "streak_days", "trees"]] = {
    "action": "actions", "streak_days": "streak_days", "trees": "trees"
}  # fmt: skip


class Known(Struct, frozen=True):
    """What campaigns and badges may refer to: by name, also where it is faulty itself."""

    rules: Mapping[str, Rule]
    rule_ids: Collection[str]
    type_names: Collection[str]
    categories: Collection[str]
    language: str


def compile_campaign(source: Source, shape: schema.Campaign, known: Known) -> Campaign:
    """Compile one campaign; what is wrong with it is noted."""
    check_dates(source, shape.from_, shape.until)
    if (shape.rules is None) == (shape.categories is None):
        source.needs_one_of("a campaign", "rules", "categories")
    if shape.earns_times == 1:
        source.at("earns_times").warn("earns_times 1 adds nothing")
    if shape.budget_g == 0:
        source.at("budget_g").warn("a budget of 0 g pays nothing")
    return Campaign(
        id=shape.id,
        title=localized(source.at("title"), shape.title, known.language),
        starts_on=shape.from_,
        ends_before=shape.until,
        times=Fraction(str(shape.earns_times)),
        rules=_rules(source.at("rules"), shape, known),
        categories=_categories(source.at("categories"), shape, known),
        regions=_regions(source.at("regions"), shape),
        budget_g=shape.budget_g,
        text=f"{shape.budget_g} g per campaign",
    )


def _rules(source: Source, shape: schema.Campaign, known: Known) -> tuple[str, ...]:
    named = source.once(shape.rules or ())
    for index, name in named:
        at, rule = source.at(index), known.rules.get(name)
        if name not in known.rule_ids:
            at.unknown("there is no rule {}", name, known.rule_ids)
        elif rule is None:
            continue  # it is faulty itself
        elif rule.ends_before is not None and rule.ends_before <= shape.from_:
            at.warn(f"{name} ends before {rule.ends_before}, this campaign begins {shape.from_}")
        elif rule.starts_on is not None and rule.starts_on >= shape.until:
            at.warn(f"{name} begins {rule.starts_on}, this campaign ends before {shape.until}")
    return tuple(name for _, name in named)


def _categories(source: Source, shape: schema.Campaign, known: Known) -> tuple[str, ...]:
    named = source.once(shape.categories or ())
    for index, name in named:
        if name not in known.categories:
            source.at(index).warn(f"no action type is of category {name}")
    return tuple(name for _, name in named)


def _regions(source: Source, shape: schema.Campaign) -> frozenset[str]:
    named = source.once(shape.regions or ())
    for index, name in named:
        if not _REGION.fullmatch(name):
            message = f"a region is an ISO 3166 code like CN-ZJ, or CN for all of it, not {name!r}"
            source.at(index).fault(message)
    return frozenset(name for _, name in named)


def compile_badge(source: Source, shape: schema.Badge, known: Known) -> Badge | None:
    """Compile one badge's definition; None when it does not say what it takes."""
    title = localized(source.at("title"), shape.title, known.language)
    needs, at = shape.needs, source.at("needs")
    kinds = [key for key in _KINDS if key in at.node.entries]
    if len(kinds) != 1:
        at.fault("needs takes exactly one of action (with count), streak_days and trees")
        return None
    (kind,) = kinds
    if ("count" in at.node.entries) != (kind == "action"):
        if kind == "action":
            at.fault("needs with an action also says count, how many of them")
        else:
            at.at("count").fault(f"count goes with action, not with {kind}", at_key=True)
        return None
    if needs.action is not None and needs.action not in known.type_names:
        at.at("action").unknown("there is no action type {}", needs.action, known.type_names)
    count = needs.count if needs.action is not None else needs.streak_days or needs.trees
    return Badge(shape.id, title, _KINDS[kind], needs.action, count) if count else None
