"""What apps show of the rules: the catalogue of action types, and what can still be done today."""

import datetime as dt
from collections.abc import Iterable
from itertools import chain
from typing import Literal, get_args

from msgspec import UNSET, Struct, UnsetType, field

from service.rules.cel.expression import Expression
from service.rules.decide.evaluate import Budgets, Usage
from service.rules.decide.languages import Reader
from service.rules.decide.rulebook import (
    ActionType,
    Attribute,
    Campaign,
    Claim,
    CounterKey,
    Limit,
    Per,
    Rule,
    Rulebook,
    period_names,
)
from service.rules.language.scenario_schema import Reporter

_NO_BUDGETS: Budgets = {}
_NOTHING = (None, "", ())


class AttributeAnswer(Struct, frozen=True):
    """An attribute of an action type, with the bounds that its values are held to."""

    type: Literal["number", "integer", "string", "boolean"]
    required: bool
    unit: str | UnsetType = UNSET
    minimum: float | UnsetType = UNSET
    maximum: float | UnsetType = UNSET
    max_length: int | UnsetType = UNSET
    pattern: str | UnsetType = UNSET
    one_of: tuple[str, ...] | UnsetType = UNSET


class ClaimAnswer(Struct, frozen=True):
    """What is paid once: the same values of these attributes, in a period, within one or all."""

    by: tuple[str, ...]
    per: Per
    within: Literal["all", "partner"]


class LimitAnswer(Struct, frozen=True):
    """A cap on what a rule or a group of rules gives a person in a period: by times or grams."""

    per: Per
    grams: int | UnsetType = UNSET
    count: int | UnsetType = UNSET
    group: str | UnsetType = UNSET
    by: str | UnsetType = UNSET
    left: int | UnsetType = UNSET


class CampaignAnswer(Struct, frozen=True):
    """A campaign that multiplies energy; where it names no rules or regions, it is for all."""

    id: str
    title: str
    from_: dt.date = field(name="from")
    until: dt.date
    earns_times: float
    rules: tuple[str, ...]
    categories: tuple[str, ...]
    regions: list[str]
    budget_g: int | None
    left_g: int | None


class RuleAnswer(Struct, frozen=True):
    """A rule of an action type; `saves` and `earns` are grams, or how they are computed."""

    rule: str
    title: str
    from_: dt.date | None = field(name="from")
    until: dt.date | None
    when: str | None
    saves: int | str
    earns: int | str
    limits: list[LimitAnswer]
    campaign: CampaignAnswer | UnsetType | None = UNSET


class Suggestion(Struct, frozen=True):
    """An action type by which a person can still earn or save something today."""

    type: str
    title: str
    hint: str | None
    category: str
    reported_by: list[Reporter]
    rules: list[RuleAnswer]


class ActionTypeAnswer(Suggestion, frozen=True):
    """An action type: what a report of it holds, who may report it, and what it gives."""

    attributes: dict[str, AttributeAnswer]
    accepted_for_s: int
    claim: ClaimAnswer | None


def list_action_types(rulebook: Rulebook, reader: Reader) -> list[ActionTypeAnswer]:
    """Describe every action type: attributes, who may report it, its rules with their limits."""
    return [
        ActionTypeAnswer(
            *_named(kind, reader),
            [_rule(rule, reader, [_limit(limit) for limit in rule.limits]) for rule in kind.rules],
            {name: _attribute(attribute) for name, attribute in kind.attributes.items()},
            int(kind.accepted_for.total_seconds()),
            _claim(kind.claim) if kind.claim else None,
        )
        for kind in rulebook.action_types.values()
    ]


def running_campaigns(rulebook: Rulebook, now: dt.datetime) -> list[Campaign]:
    """The campaigns of today, whatever their regions; those with a budget may have ended."""
    day = rulebook.program.local_date(now)
    every = rulebook.campaigns.values()
    return [campaign for campaign in every if campaign.starts_on <= day < campaign.ends_before]


def list_campaigns(
    campaigns: Iterable[Campaign], left: Budgets, reader: Reader
) -> list[CampaignAnswer]:
    """Describe campaigns that have not ended, each with what is left of its budget."""
    return [_campaign(each, left, reader) for each in campaigns if _has_something_left(each, left)]


def suggestion_counters(rulebook: Rulebook, now: dt.datetime) -> tuple[CounterKey, ...]:
    """Name the counters that `list_suggestions` wants to know of a person."""
    names = period_names(rulebook.program.local_date(now))
    rules = chain.from_iterable(kind.rules for kind in rulebook.action_types.values())
    keys = (_key(limit, names) for rule in rules for limit in rule.limits)
    return tuple(dict.fromkeys(filter(None, keys)))


def list_suggestions(
    rulebook: Rulebook,
    usage: Usage,
    now: dt.datetime,
    reader: Reader,
    *,
    region: str = "",
    left: Budgets = _NO_BUDGETS,
) -> list[Suggestion]:
    """Tell what this person can still do today, with the campaign and what is left of each limit.

    `left` is what campaigns with a budget have left. A type is left out when every rule that holds
    today is used up. Limits by an attribute's value are told whole: what is left of them depends on
    the value.
    """
    day = rulebook.program.local_date(now)
    names = period_names(day)
    suggestions = []
    for kind in rulebook.action_types.values():
        rules = []
        for rule in kind.rules:
            if rule.is_on(day):
                limits = [_left(limit, names, usage) for limit in rule.limits]
                if all(limit.left for limit in limits):
                    campaign = _campaign_for(kind, rule, (day, region), left)
                    told = _campaign(campaign, left, reader) if campaign else None
                    rules.append(_rule(rule, reader, limits, told))
        if rules:
            suggestions.append(Suggestion(*_named(kind, reader), rules))
    return suggestions


def _campaign_for(
    kind: ActionType, rule: Rule, here: tuple[dt.date, str], left: Budgets
) -> Campaign | None:
    """The campaign that would multiply an award of this rule on this day in this region."""
    offers = (campaign for campaign in kind.campaigns.get(rule.id, ()) if campaign.holds(*here))
    return next((campaign for campaign in offers if _has_something_left(campaign, left)), None)


def _has_something_left(campaign: Campaign, left: Budgets) -> bool:
    return campaign.budget_g is None or left.get(campaign.id, 0) > 0


def _campaign(campaign: Campaign, left: Budgets, reader: Reader) -> CampaignAnswer:
    return CampaignAnswer(
        campaign.id,
        reader.say(campaign.title),
        campaign.starts_on,
        campaign.ends_before,
        float(campaign.times),
        campaign.rules,
        campaign.categories,
        sorted(campaign.regions),
        campaign.budget_g,
        None if campaign.budget_g is None else left[campaign.id],
    )


def _named(kind: ActionType, reader: Reader) -> tuple[str, str, str | None, str, list[Reporter]]:
    title, hint = reader.say(kind.title), reader.say(kind.hint) if kind.hint else None
    reported_by = [who for who in get_args(Reporter) if who in kind.reported_by]
    return kind.name, title, hint, kind.category, reported_by


def _attribute(attribute: Attribute) -> AttributeAnswer:
    values = {name: getattr(attribute, name) for name in AttributeAnswer.__struct_fields__}
    return AttributeAnswer(**{name: told for name, told in values.items() if told not in _NOTHING})


def _claim(claim: Claim) -> ClaimAnswer:
    return ClaimAnswer(claim.by, claim.per, "partner" if claim.within_partner else "all")


def _rule(
    rule: Rule,
    reader: Reader,
    limits: list[LimitAnswer],
    campaign: CampaignAnswer | UnsetType | None = UNSET,
) -> RuleAnswer:
    return RuleAnswer(
        rule.id,
        reader.say(rule.title),
        rule.starts_on,
        rule.ends_before,
        rule.when.text if rule.when else None,
        _grams(rule.saves),
        _grams(rule.saves if rule.earns is None else rule.earns),
        limits,
        campaign,
    )


def _grams(given: float | Expression) -> int | str:
    return given.text if isinstance(given, Expression) else round(given)


def _limit(limit: Limit, left: int | UnsetType = UNSET) -> LimitAnswer:
    grams, count = (limit.grams, UNSET) if limit.count is None else (UNSET, limit.count)
    return LimitAnswer(
        limit.per, grams, count, limit.group or UNSET, limit.source.by or UNSET, left
    )


def _key(limit: Limit, names: tuple[str, ...]) -> CounterKey | None:
    if limit.source.by:
        return None
    return CounterKey(limit.source.counter, names[limit.source.per_index], "")


def _left(limit: Limit, names: tuple[str, ...], usage: Usage) -> LimitAnswer:
    key = _key(limit, names)
    used_n, used_g = (0, 0) if key is None else usage.get(key, (0, 0))
    left = limit.grams - used_g if limit.count is None else limit.count - used_n
    return _limit(limit, max(left, 0))
