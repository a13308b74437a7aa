"""What in a change of the rules deserves a second look before it is published, and why."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from service.rules.language import schema
from service.rules.tell.words import jump

# By section and key, what is worth a word however it is altered, or when it is left out; no key
# stands for the whole. A rule's amounts and limits are compared where they are told.
_ALTERED = {
    ("program", "timezone"): "days, weeks and months are counted in another zone from now on",
    ("rule", "action"): "other reports are paid by it",
    ("type", "claim"): "what was paid once can be paid again",
    ("attribute", "unit"): "what is reported is read in another unit",
}
_LEFT_OUT = {
    ("rule", "until"): "it does not end any more",
    ("campaign", "budget_g"): "nothing limits what it pays",
    ("type", ""): "such reports are refused from now on",
    ("type", "plausible"): "nothing is implausible any more",
    ("type", "overlap"): "two at the same time are paid now",
}


def _plain_worry(section: str, name: str, old: Any, new: Any) -> str | None:
    """What can be said of a key whatever its values are."""
    altered = None if old is None else _ALTERED.get((section, name))
    return altered or (_LEFT_OUT.get((section, name)) if new is None else None)


program_worry = partial(_plain_worry, "program")
rule_worry = partial(_plain_worry, "rule")


def new_rule_worry(rule: schema.Rule, gone: Iterable[schema.Rule]) -> str | None:
    """A rule that takes the place of another: a limit counts by its rule's id, or by its group."""
    before = [old.id for old in gone if old.action == rule.action and any(map(_is_own, old.limits))]
    if not before or not any(map(_is_own, rule.limits)):
        return None
    return f"its limits begin anew: what people used of {', '.join(sorted(before))} counts no more"


def _is_own(limit: schema.Limit) -> bool:
    return limit.group is None


def campaign_worry(
    name: str, old: Any, new: Any, *, gone: Iterable[schema.Campaign], most: str | None
) -> str | None:
    """A campaign that may pay without end, or much: `most` is told of it, `gone` are left out."""
    if not name and isinstance(new, schema.Campaign):
        endless = None if new.budget_g is not None else "no budget_g: nothing limits what it pays"
        return "; ".join(filter(None, (endless or _new_campaign_worry(new, gone), most))) or None
    if most and new is not None and name in {"earns_times", "rules", "categories"}:
        return most
    if name in {"earns_times", "budget_g"} and old is not None and new is not None:
        return jump(old, new)
    return _plain_worry("campaign", name, old, new)


def _new_campaign_worry(campaign: schema.Campaign, gone: Iterable[schema.Campaign]) -> str | None:
    """A campaign that takes the place of another: a budget counts by its campaign's id."""
    before = [old.id for old in gone if _is_replaced(old, campaign)]
    if not before:
        return None
    return f"its budget begins anew: what {', '.join(sorted(before))} has paid counts no more"


def _is_replaced(old: schema.Campaign, new: schema.Campaign) -> bool:
    """Whether a budget for the same on the same days was there; last year's one is another."""
    meets = old.from_ < new.until and new.from_ < old.until
    return meets and old.budget_g is not None and bool(_paid(old) & _paid(new))


def _paid(campaign: schema.Campaign) -> set[tuple[str, str]]:
    lists = {"rule": campaign.rules, "category": campaign.categories}
    return {(kind, name) for kind, names in lists.items() if names is not None for name in names}


def type_worry(name: str, old: Any, new: Any) -> str | None:
    """What a type no longer refuses, or refuses from now on."""
    if name != "reported_by":
        return _plain_worry("type", name, old, new)
    more = [who for who in ("device", "participant") if who in new and who not in old]
    less = [who for who in old if who not in new]
    if more:
        return f"reports of a {' or '.join(more)} are believed now"
    return f"reports of a {' or '.join(less)} are refused from now on" if less else None


def attribute_worry(name: str, old: Any, new: Any) -> str | None:
    """What an attribute's values mean, and whether reports may still leave it out."""
    if name == "required" and new is True:
        return "reports without it are refused"
    return _plain_worry("attribute", name, old, new)


def factor_worry(
    name: str, _old: Any, _new: Any, *, before: schema.Factor, after: schema.Factor
) -> str | None:
    """A factor's value and unit belong together: what of them does not go with the other."""
    if name == "value":
        return jump(before.value, after.value)
    if name == "unit" and before.value == after.value:
        return "its value did not change with it"
    return None
