"""What apps show of the rules: the catalogue of action types, and what can still be done today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from service.rules.evaluate import Budgets, Usage
from service.rules.expressions import Expression
from service.rules.languages import Reader
from service.rules.rulebook import (
    REPORTERS,
    ActionType,
    Attribute,
    Campaign,
    CounterKey,
    Limit,
    Rule,
    Rulebook,
    period_names,
)

_NO_BUDGETS: Budgets = {}


def list_action_types(rulebook: Rulebook, reader: Reader) -> list[dict[str, Any]]:
    """Describe every action type: attributes, who may report it, its rules with their limits."""
    return [
        {
            "type": kind.name,
            "title": reader.say(kind.title),
            "category": kind.category,
            "hint": reader.say(kind.hint) if kind.hint else None,
            "reported_by": [who for who in REPORTERS if who in kind.reported_by],
            "attributes": {
                name: _attribute(attribute) for name, attribute in kind.attributes.items()
            },
            "accepted_for_s": int(kind.accepted_for.total_seconds()),
            "claim": None
            if kind.claim is None
            else {
                "by": list(kind.claim.by),
                "per": kind.claim.per,
                "within": "partner" if kind.claim.within_partner else "all",
            },
            "rules": [_rule(rule, reader) for rule in kind.rules],
        }
        for kind in rulebook.action_types.values()
    ]


def running_campaigns(rulebook: Rulebook, now: dt.datetime) -> list[Campaign]:
    """The campaigns of today, whatever their regions; those with a budget may have ended."""
    day = rulebook.program.local_date(now)
    return [
        campaign
        for campaign in rulebook.campaigns.values()
        if campaign.starts_on <= day < campaign.ends_before
    ]


def list_campaigns(
    campaigns: Iterable[Campaign], left: Budgets, reader: Reader
) -> list[dict[str, Any]]:
    """Describe campaigns that have not ended, each with what is left of its budget."""
    return [
        {
            **_campaign(campaign, left, reader),
            "rules": list(campaign.rules),
            "categories": list(campaign.categories),
            "regions": sorted(campaign.regions),
            "budget_g": campaign.budget_g,
        }
        for campaign in campaigns
        if _has_something_left(campaign, left)
    ]


def suggestion_counters(rulebook: Rulebook, now: dt.datetime) -> tuple[CounterKey, ...]:
    """Name the counters that `list_suggestions` wants to know of a person."""
    names = period_names(rulebook.program.local_date(now))
    keys = (
        _key(limit, names)
        for kind in rulebook.action_types.values()
        for rule in kind.rules
        for limit in rule.limits
    )
    return tuple(dict.fromkeys(key for key in keys if key is not None))


def list_suggestions(
    rulebook: Rulebook,
    usage: Usage,
    now: dt.datetime,
    reader: Reader,
    *,
    region: str = "",
    left: Budgets = _NO_BUDGETS,
) -> list[dict[str, Any]]:
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
                if all(limit["left"] > 0 for limit in limits):
                    campaign = _campaign_for(kind, rule, (day, region), left)
                    told = _campaign(campaign, left, reader) if campaign else None
                    rules.append({**_rule(rule, reader), "limits": limits, "campaign": told})
        if rules:
            suggestions.append(
                {
                    "type": kind.name,
                    "title": reader.say(kind.title),
                    "hint": reader.say(kind.hint) if kind.hint else None,
                    "category": kind.category,
                    "reported_by": [who for who in REPORTERS if who in kind.reported_by],
                    "rules": rules,
                }
            )
    return suggestions


def _campaign_for(
    kind: ActionType, rule: Rule, here: tuple[dt.date, str], left: Budgets
) -> Campaign | None:
    """The campaign that would multiply an award of this rule on this day in this region."""
    offers = (campaign for campaign in kind.campaigns.get(rule.id, ()) if campaign.holds(*here))
    return next((campaign for campaign in offers if _has_something_left(campaign, left)), None)


def _has_something_left(campaign: Campaign, left: Budgets) -> bool:
    return campaign.budget_g is None or left.get(campaign.id, 0) > 0


def _campaign(campaign: Campaign, left: Budgets, reader: Reader) -> dict[str, Any]:
    return {
        "id": campaign.id,
        "title": reader.say(campaign.title),
        "from": campaign.starts_on.isoformat(),
        "until": campaign.ends_before.isoformat(),
        "earns_times": float(campaign.times),
        "left_g": None if campaign.budget_g is None else left[campaign.id],
    }


def _attribute(attribute: Attribute) -> dict[str, Any]:
    known: Mapping[str, Any] = {
        "type": attribute.type,
        "required": attribute.required,
        "unit": attribute.unit or None,
        "minimum": attribute.minimum,
        "maximum": attribute.maximum,
        "max_length": attribute.max_length,
        "pattern": attribute.pattern,
        "one_of": list(attribute.one_of) or None,
    }
    return {key: value for key, value in known.items() if value is not None}


def _rule(rule: Rule, reader: Reader) -> dict[str, Any]:
    return {
        "rule": rule.id,
        "title": reader.say(rule.title),
        "from": rule.starts_on.isoformat() if rule.starts_on else None,
        "until": rule.ends_before.isoformat() if rule.ends_before else None,
        "when": rule.when.text if rule.when else None,
        "saves": _amount(rule.saves),
        "earns": _amount(rule.saves if rule.earns is None else rule.earns),
        "limits": [_limit(limit) for limit in rule.limits],
    }


def _amount(amount: float | Expression) -> int | str:
    return amount.text if isinstance(amount, Expression) else round(amount)


def _limit(limit: Limit) -> dict[str, Any]:
    amount = {"grams": limit.grams} if limit.count is None else {"count": limit.count}
    more = {"group": limit.group, "by": limit.source.by}
    return {"per": limit.per, **amount, **{key: value for key, value in more.items() if value}}


def _key(limit: Limit, names: tuple[str, ...]) -> CounterKey | None:
    if limit.source.by:
        return None
    return CounterKey(limit.source.counter, names[limit.source.per_index], "")


def _left(limit: Limit, names: tuple[str, ...], usage: Usage) -> dict[str, Any]:
    key = _key(limit, names)
    used_n, used_g = (0, 0) if key is None else usage.get(key, (0, 0))
    if limit.count is None:
        return {**_limit(limit), "left": max(limit.grams - used_g, 0)}
    return {**_limit(limit), "left": max(limit.count - used_n, 0)}
