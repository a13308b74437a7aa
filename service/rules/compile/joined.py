"""An action type with its rules: everything that judging and evaluating an action needs."""

from collections.abc import Iterable, Mapping, Sequence

from service.rules.cel.expression import Expression
from service.rules.cel.text import CONTEXT_NAMES
from service.rules.compile.texts import duration
from service.rules.compile.types import TypeDraft
from service.rules.decide.rulebook import ActionType, Campaign, CounterSource, Rule
from service.rules.language.shape import whole


def joined(kind: TypeDraft, rules: Sequence[Rule], campaigns: Mapping[str, Campaign]) -> ActionType:
    """Join a type with its rules, which come in order of id, and with their campaigns."""
    shape, plausible = kind.shape, kind.plausible.expression
    parts = [plausible, *(part for rule in rules for part in (rule.when, rule.saves, rule.earns))]
    used = frozenset(name for part in parts if isinstance(part, Expression) for name in part.names)
    offered = _offered(shape.category, rules, campaigns.values())
    sums = {
        rule.id: CounterSource(f"{rule.id}/day/", 0, None) for rule in rules if not rule.is_whole
    }
    multiplied = {
        rule: CounterSource(f"{rule}/day/*", 0, None)
        for rule, several in offered.items()
        if any(campaign.times.denominator > 1 for campaign in several)
    }
    limits = [limit.source for rule in rules for limit in rule.limits]
    counters = tuple(dict.fromkeys([*limits, *sums.values(), *multiplied.values()]))
    slot = {source: index for index, source in enumerate(counters)}
    lasts = kind.attributes.get(shape.lasts or "")
    assert kind.scope is not None  # only whole drafts come here
    return ActionType(
        name=kind.name,
        title=kind.title,
        category=shape.category,
        hint=kind.hint,
        reported_by=frozenset(reporter for _, reporter in whole(shape.reported_by)),
        attributes=kind.attributes,
        accepted_for=duration(shape.accepted_for),
        plausible=plausible,
        lasts=shape.lasts,
        lasts_unit=duration(f"1{lasts.unit}" if lasts else "0s"),
        exclusive=shape.overlap is not None,
        claim=kind.claim,
        rules=tuple(rules),
        counters=counters,
        slots={rule.id: tuple(slot[limit.source] for limit in rule.limits) for rule in rules},
        sums={rule: slot[source] for rule, source in sums.items()},
        multiplied={rule: slot[source] for rule, source in multiplied.items()},
        campaigns=offered,
        scope=kind.scope,
        used_names=used,
        presence_names=tuple(
            sorted(name.removeprefix("_has_") for name in used if name.startswith("_has_"))
        ),
        used_context=used & frozenset(CONTEXT_NAMES),
        needs_person=bool(used & {"region", "streak_days"}),
    )


def _offered(
    category: str, rules: Sequence[Rule], campaigns: Iterable[Campaign]
) -> dict[str, tuple[Campaign, ...]]:
    """By rule, the campaigns for it or its category, the one that gives most first."""
    ordered = sorted(campaigns, key=lambda campaign: (-campaign.times, campaign.id))
    by_rule = {
        rule.id: tuple(
            campaign
            for campaign in ordered
            if rule.id in campaign.rules or category in campaign.categories
        )
        for rule in rules
    }
    return {rule: several for rule, several in by_rule.items() if several}
