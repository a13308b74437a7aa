"""The JSON Schema of rule files, for editors: it completes every key and explains every value.

Keys, types and bounds come from the structs of `schema`; here is what only an editor asks for:
examples, a word on each choice, and which keys go together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from service.rules.language.schema import RuleFile

SCHEMA_ID = "https://saxaul.example/schemas/rules-v1.json"

_CATEGORIES = {
    "mobility": "Ways that are walked, cycled or ridden.",
    "payment": "Payments and bills without paper.",
    "recycling": "What is used again.",
    "consumption": "What is bought, eaten or left out.",
    "home": "Energy and water at home.",
    "office": "Work without paper and travel.",
    "health": "Moving for its own sake.",
}
_PERIODS = {
    "day": "From midnight to midnight in the programme's time zone.",
    "week": "From Monday to Sunday.",
    "month": "A calendar month.",
    "year": "A calendar year.",
    "ever": "Once and for all.",
}
_REPORTERS = {
    "partner": "A partner's signed event; only these are verified.",
    "device": "A phone or watch, on its own.",
    "participant": "The person, by hand.",
}
# What each choice means, in the order in which an editor should offer them.
_CHOICES: dict[str, Mapping[Any, str]] = {
    "ActionType.category": _CATEGORIES,
    "ActionType.reported_by": _REPORTERS,
    "ActionType.overlap": {
        "exclusive": "Refuses what meets another exclusive action of the same person."
    },
    "Attribute.type": {
        "number": "Any number within minimum and maximum.",
        "integer": "A whole number within minimum and maximum.",
        "string": "A text, bounded by max_length and pattern, or one of some texts.",
        "boolean": "true or false.",
    },
    "Claim.per": {
        key: f"The same value is paid once: {_PERIODS[key][0].lower()}{_PERIODS[key][1:]}"
        for key in ("ever", "year", "month", "day")
    },
    "Claim.within": {
        "all": "Whoever reports it: once over all people and partners.",
        "partner": "Once among the events of one partner; another may use the same number.",
    },
    "Claim.leading_zeros": {
        "kept": "0071 and 71 are two values.",
        "ignored": "0071 and 71 are the same value, as for numbers that some write out in full.",
    },
    "Limit.per": _PERIODS,
    "Expect.refused": {
        "implausible": "plausible does not hold.",
        "reporter-not-allowed": "reported_by does not name who reports it.",
        "too-late": "It arrives later than accepted_for.",
        "in-future": "It happens more than five minutes ahead.",
        "invalid-attributes": "An attribute is missing, unknown or out of bounds.",
    },
    "Expect.skipped": {True: "The rule's when or dates exclude this action."},
    "Campaign.categories": _CATEGORIES,
}
_EXAMPLES: dict[str, list[object]] = {
    "RuleFile.program": [{"name": "Saxaul demo city", "timezone": "Asia/Shanghai"}],
    "RuleFile.factors": [{"metro_pkm": {"value": 15.49, "unit": "g/pkm", "year": 2026}}],
    "RuleFile.action_types": [{"mobility.walk": {"category": "mobility"}}],
    "RuleFile.rules": [[{"id": "walk", "action": "mobility.walk", "earns": "steps * 0.02"}]],
    "RuleFile.campaigns": [[{"id": "earth-day-2027", "rules": ["walk"], "earns_times": 2}]],
    "RuleFile.badges": [[{"id": "first-tree", "title": "First tree", "needs": {"trees": 1}}]],
    "Program.name": ["Saxaul demo city"],
    "Program.energy": [{"ripens": {"next_day_at": "07:00"}, "expires_after": "72h"}],
    "Program.language": ["en", "zh", "zh-Hant"],
    "Program.taking": [{"share": 0.3, "max_g": 30, "keep_share": 0.6}],
    "Program.watering": [{"amounts_g": [10, 18, 33, 66], "per_friend_per_day": 3}],
    "Program.shield": [{"lasts": "24h", "per_week": 1}],
    "Energy.ripens": [{"next_day_at": "07:00"}, {"after": "24h"}, {"after": "0s"}],
    "Energy.expires_after": ["72h"],
    "Ripens.after": ["24h", "0s"],
    "Taking.share": [0.3],
    "Taking.max_g": [30],
    "Taking.keep_share": [0.6],
    "Taking.per_friend_and_bubble": [1],
    "Taking.after_ripening": ["0s", "30min"],
    "Watering.amounts_g": [[10, 18, 33, 66]],
    "Watering.per_friend_per_day": [3],
    "Shield.lasts": ["24h"],
    "Shield.per_week": [1],
    "Factor.value": [15.49],
    "Factor.unit": ["g/pkm", "g/kWh", "g/sheet"],
    "Factor.source": ["UK DESNZ 2026, London Underground"],
    "Factor.year": [2026],
    "Factor.url": ["https://www.gov.uk/"],
    "ActionType.reported_by": [["partner"], ["participant", "device"]],
    "ActionType.title": ["Metro trip", {"en": "Metro trip", "zh": "地铁出行"}],
    "ActionType.hint": ["Take the metro instead of the car"],
    "ActionType.attributes": [{"distance_km": {"type": "number", "minimum": 0.1, "unit": "km"}}],
    "ActionType.accepted_for": ["7d", "72h"],
    "ActionType.plausible": ["!has(duration_min) || distance_km / (duration_min / 60) <= 90"],
    "ActionType.lasts": ["duration_min"],
    "ActionType.claim": [{"by": "ticket_no", "per": "ever", "within": "partner"}],
    "Attribute.unit": ["km", "min", "kWh"],
    "Attribute.minimum": [0.1],
    "Attribute.maximum": [120],
    "Attribute.max_length": [64],
    "Attribute.one_of": [["water", "power", "gas"]],
    "Claim.by": ["ticket_no", ["meter_no", "kind"]],
    "Rule.when": ["verified && distance_km >= 0.5", "weekday in [6, 7]"],
    "Rule.saves": ["distance_km * (factors.petrol_car_pkm - factors.metro_pkm)", 0],
    "Rule.earns": [52, "min(steps * 0.02, 296)"],
    "Rule.title": ["Metro instead of a petrol car"],
    "Rule.from": ["2026-01-01"],
    "Rule.until": ["2027-01-01"],
    "Rule.limits": [[{"per": "day", "count": 5}, {"per": "month", "grams": 3000}]],
    "Rule.examples": [[{"given": {"steps": 8000}, "expect": {"earns": 160}}]],
    "Limit.count": [5],
    "Limit.grams": [3000],
    "Limit.group": ["tickets"],
    "Limit.by": ["ticket_no"],
    "Example.name": ["a normal commute"],
    "Example.given": [{"distance_km": 8.2}],
    "Example.context": [{"verified": True, "occurred_at": "2026-06-05T08:15"}],
    "Example.expect": [{"saves": 701, "earns": 52}, {"refused": "implausible"}, {"skipped": True}],
    "Expect.saves": [701],
    "Expect.earns": [52],
    "Expect.limited_by": ["296 g per day", "5 per day"],
    "ExampleContext.region": ["CN-ZJ"],
    "ExampleContext.streak_days": [6],
    "Campaign.id": ["world-environment-day-2027"],
    "Campaign.title": ["World Environment Day"],
    "Campaign.from": ["2027-06-05"],
    "Campaign.until": ["2027-06-06"],
    "Campaign.earns_times": [2],
    "Campaign.rules": [["metro-trip"]],
    "Campaign.categories": [["mobility"]],
    "Campaign.regions": [["CN-ZJ"]],
    "Campaign.budget_g": [5000000],
    "Badge.id": ["commuter"],
    "Badge.title": ["Commuter"],
    "Badge.needs": [{"action": "transit.metro_trip", "count": 20}, {"streak_days": 7}],
    "Needs.count": [20],
    "Needs.streak_days": [7],
    "Needs.trees": [1],
}


def _exactly_one(*keys: str) -> dict[str, Any]:
    return {"oneOf": [{"required": [key]} for key in keys]}


def _not_for(types: list[str], *keys: str) -> dict[str, Any]:
    of_type = {"properties": {"type": {"enum": types}}, "required": ["type"]}
    return {"if": of_type, "then": {"properties": dict.fromkeys(keys, False)}}


# Which keys go together, by struct. The checker says the same, with places.
_TOGETHER: dict[str, dict[str, Any]] = {
    "Ripens": _exactly_one("next_day_at", "after"),
    "Limit": _exactly_one("count", "grams"),
    "Campaign": _exactly_one("rules", "categories"),
    "Needs": {
        **_exactly_one("action", "streak_days", "trees"),
        "dependentRequired": {"action": ["count"], "count": ["action"]},
    },
    "Expect": {"dependentSchemas": {key: {"maxProperties": 1} for key in ("refused", "skipped")}},
    "ActionType": {"dependentRequired": {"overlap": ["lasts"]}},
    "Attribute": {
        "allOf": [
            _not_for(["number", "integer"], "max_length", "pattern", "one_of"),
            _not_for(["string"], "minimum", "maximum"),
            _not_for(["boolean"], "minimum", "maximum", "max_length", "pattern", "one_of"),
        ]
    },
}


# Lists in which nothing may stand twice.
_ONCE = frozenset(
    (
        *("ActionType.reported_by", "Attribute.one_of", "Watering.amounts_g"),
        *("Campaign.rules", "Campaign.categories", "Campaign.regions"),
    )
)


def json_schema() -> dict[str, Any]:
    """The JSON Schema that makes an editor complete and explain every key."""
    schema = msgspec.json.schema(RuleFile)
    for struct, definition in schema["$defs"].items():
        for key, content in definition["properties"].items():
            if examples := _EXAMPLES.get(f"{struct}.{key}"):
                content["examples"] = examples
            if choices := _CHOICES.get(f"{struct}.{key}"):
                _explain(content, choices)
            if f"{struct}.{key}" in _ONCE:
                content["uniqueItems"] = True
        definition.update(_TOGETHER.get(struct, {}))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Saxaul rules, v1",
        **schema,
    }


def _explain(content: dict[str, Any], choices: Mapping[Any, str]) -> None:
    """Explain each choice beside it, for editors that show it there, and under the key."""
    holder = content.get("items", content)
    holder["enum"] = list(choices)
    holder["enumDescriptions"] = list(choices.values())
    told = "".join(
        f"\n- {str(choice).lower() if choice is True else choice}: {text}"
        for choice, text in choices.items()
    )
    content["description"] += told
