"""What in a change of the rules deserves a second look before it is published, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from service.rules.language import schema
from service.rules.tell.words import jump


def program_worry(name: str, _old: Any, _new: Any) -> str | None:
    """The programme as a whole."""
    if name == "timezone":
        return "days, weeks and months are counted in another zone from now on"
    return None


def rule_worry(name: str, _old: Any, new: Any) -> str | None:
    """A rule's dates and type; its amounts and limits are compared where they are told."""
    if name == "until" and new is None:
        return "it does not end any more"
    return "other reports are paid by it" if name == "action" else None


def new_rule_worry(rule: schema.Rule, gone: Iterable[schema.Rule]) -> str | None:
    """A rule that takes the place of another: a limit counts by its rule's id, or by its group."""
    before = [old.id for old in gone if old.action == rule.action and any(map(_is_own, old.limits))]
    if not before or not any(map(_is_own, rule.limits)):
        return None
    return f"its limits begin anew: what people used of {', '.join(sorted(before))} counts no more"


def _is_own(limit: schema.Limit) -> bool:
    return limit.group is None


def campaign_worry(name: str, old: Any, new: Any, *, gone: Iterable[schema.Campaign]) -> str | None:
    """A campaign that may pay without end, or many times more; `gone` are those left out."""
    if name == "budget_g" and new is None:
        return "nothing limits what it pays"
    if not name and isinstance(new, schema.Campaign):
        if new.budget_g is None:
            return "no budget_g: nothing limits what it pays"
        return _new_campaign_worry(new, gone)
    if name in {"earns_times", "budget_g"} and old is not None:
        return jump(old, new)
    return None


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
    if not name and new is None:
        return "such reports are refused from now on"
    gone = new is None
    if name == "reported_by":
        more = [who for who in ("device", "participant") if who in new and who not in old]
        if more:
            return f"reports of a {' or '.join(more)} are believed now"
        less = [who for who in old if who not in new]
        return f"reports of a {' or '.join(less)} are refused from now on" if less else None
    return {
        "plausible": "nothing is implausible any more" if gone else None,
        "overlap": "two at the same time are paid now" if gone else None,
        "claim": "what was paid once can be paid again" if old is not None else None,
    }.get(name)


def attribute_worry(name: str, old: Any, new: Any) -> str | None:
    """What an attribute's values mean, and whether reports may still leave it out."""
    if name == "required" and new is True:
        return "reports without it are refused"
    if name == "unit" and old is not None:
        return "what is reported is read in another unit"
    return None


@dataclass(frozen=True, slots=True)
class FactorWorry:
    """A factor's value and unit belong together."""

    before: schema.Factor
    after: schema.Factor

    def tell(self, name: str, _old: Any, _new: Any) -> str | None:
        """Say what of value and unit does not go with the other."""
        before, after = self.before, self.after
        if name == "value":
            return jump(before.value, after.value)
        if name == "unit" and before.value == after.value:
            return "its value did not change with it"
        return None
