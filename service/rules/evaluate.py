"""What an acceptable action earns: every rule of its type, in order of id.

A rule's own grams are multiplied by a campaign, then cut by the rule's limits, then by what is left
of the campaign's budget. Pure: sees no clock and no database. What this person has used of each
limit, and what campaigns have left, come as arguments, so that a simulation decides by these very
functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.rules.judge import Judged
from service.rules.rulebook import GRAMS_MAX, Campaign, CounterKey, Limit, Rule, Rulebook

Usage = Mapping[CounterKey, tuple[int, int]]
Budgets = Mapping[str, int]
"""What campaigns with a budget have left, by id; one that is missing has ended."""

_UNUSED = (0, 0)
_ENOUGH_G = 10**18
_NO_BUDGETS: Budgets = {}


@dataclass(slots=True)
class Award:
    """What one rule gives. `counters`: the limits that it uses up, as (key, count, grams).

    `extra_g` of `energy_g` come from the campaign, and `drawn_g` of these out of its budget.
    `offers` are the campaigns that are on for it, the one that gives most first; `cuts` the limits
    that took something off.
    """

    rule: str
    saved_g: int
    energy_g: int
    limited_by: str | None
    counters: tuple[tuple[CounterKey, int, int], ...]
    failed: bool
    offers: tuple[Campaign, ...] = ()
    cuts: tuple[Limit, ...] = ()
    campaign: str | None = None
    extra_g: int = 0
    drawn_g: int = 0
    budget_seq: int | None = None


@dataclass(slots=True)
class Decision:
    """All awards of one action. `saved_g` is the largest among them: it is saved only once."""

    awards: tuple[Award, ...]
    saved_g: int
    energy_g: int


def evaluate(
    rulebook: Rulebook,
    judged: Judged,
    *,
    region: str,
    streak_days: int,
    usage: Usage,
    budgets: Budgets = _NO_BUDGETS,
) -> Decision:
    """Decide on an action, by the rulebook that judged it: appraise it, then settle.

    `usage` holds (count, grams) of this person's counters; one that is missing is unused.
    """
    awards = appraise(rulebook, judged, region=region, streak_days=streak_days)
    return settle(rulebook, judged, awards, usage=usage, budgets=budgets)


def appraise(
    rulebook: Rulebook, judged: Judged, *, region: str, streak_days: int
) -> Sequence[Award]:
    """Try the rules of this action's type: what each gives by itself, and which campaigns are on.

    Rests on nothing that others change, so it comes before any budget is locked.
    """
    action_type = rulebook.action_types[judged.candidate.type]
    activation = judged.activation
    if action_type.needs_person:
        values = {**judged.values, "region": region, "streak_days": float(streak_days)}
        activation = action_type.scope.activation(values)
    day = judged.local_date
    campaigns = action_type.campaigns
    awards = []
    for rule in action_type.rules:
        if (rule.starts_on is not None and day < rule.starts_on) or (
            rule.ends_before is not None and day >= rule.ends_before
        ):
            continue
        award = _award(rule, activation)
        if award is None:
            continue
        if campaigns and award.energy_g and rule.id in campaigns:
            award.offers = tuple(
                [
                    campaign
                    for campaign in campaigns[rule.id]
                    if campaign.holds(day, region) and _extra_g(award.energy_g, campaign)
                ]
            )
        awards.append(award)
    return awards


def untouched_budgets(rulebook: Rulebook) -> dict[str, int]:
    """What campaigns have left before anybody drew from them."""
    return {
        campaign.id: campaign.budget_g
        for campaign in rulebook.campaigns.values()
        if campaign.budget_g is not None
    }


def budgets_wanted(awards: Iterable[Award]) -> set[str]:
    """Name the campaigns whose budgets may decide on these awards, as appraised."""
    return {
        campaign.id
        for award in awards
        for campaign in award.offers
        if campaign.budget_g is not None
    }


def settle(
    rulebook: Rulebook,
    judged: Judged,
    awards: Sequence[Award],
    *,
    usage: Usage,
    budgets: Budgets = _NO_BUDGETS,
) -> Decision:
    """Multiply appraised awards, then cut them by limits and budgets; changes the awards only.

    Rules that share a group see what an earlier rule of this very action used, and so with budgets.
    """
    slots = rulebook.action_types[judged.candidate.type].slots
    added: dict[CounterKey, tuple[int, int]] = {}
    saved_g = energy_g = 0
    for award in awards:
        if award.energy_g:
            own_g, campaign = award.energy_g, None
            if award.offers:
                campaign = _campaign(award.offers, budgets, awards)
            if campaign is not None:
                award.energy_g += _extra_g(own_g, campaign)
            limits = rulebook.rules[award.rule].limits
            if limits:
                keys = [judged.counters[slot] for slot in slots[award.rule]]
                _limit(award, limits, keys, usage, added)
            if campaign is not None:
                _draw(award, own_g, campaign, _left_g(campaign, budgets, awards))
            if limits and award.energy_g:
                _use(award, keys, added)
        saved_g = max(saved_g, award.saved_g)
        energy_g += award.energy_g
    return Decision(tuple(awards), saved_g, energy_g)


def whole_grams(grams: float | None) -> int | None:
    """Round once, half to even; None for what failed, is below 0, no number or beyond reason."""
    if grams is None or not 0 <= grams <= GRAMS_MAX:
        return None
    return round(grams)


def _award(rule: Rule, activation: object) -> Award | None:
    """Compute one rule before its limits; None when its condition does not hold."""
    if rule.when is not None:
        holds = rule.when.holds(activation)
        if holds is not True:
            return None if holds is False else Award(rule.id, 0, 0, None, (), True)
    saves = rule.saves
    saved_g = saves if isinstance(saves, int) else whole_grams(saves.number(activation))
    earns = rule.earns
    if earns is None:
        energy_g = saved_g
    else:
        energy_g = earns if isinstance(earns, int) else whole_grams(earns.number(activation))
    if saved_g is None or energy_g is None:
        return Award(rule.id, 0, 0, None, (), True)
    return Award(rule.id, saved_g, energy_g, None, (), False)


def _extra_g(own_g: int, campaign: Campaign) -> int:
    """What a campaign adds to a rule's own grams: times them, rounded half to even, less them."""
    divisor = campaign.times.denominator
    grams, rest = divmod(own_g * campaign.times.numerator, divisor)
    if 2 * rest > divisor or (2 * rest == divisor and grams % 2):
        grams += 1
    return grams - own_g


def _campaign(
    offers: tuple[Campaign, ...], budgets: Budgets, awards: Sequence[Award]
) -> Campaign | None:
    """Choose the campaign that gives most and has not ended: one alone multiplies an award."""
    return next((campaign for campaign in offers if _left_g(campaign, budgets, awards) > 0), None)


def _left_g(campaign: Campaign, budgets: Budgets, awards: Sequence[Award]) -> int:
    """Tell what a campaign has left, less what this very action draws; enough without a budget."""
    if campaign.budget_g is None:
        return _ENOUGH_G
    drawn_g = sum([award.drawn_g for award in awards if award.campaign == campaign.id])
    return budgets.get(campaign.id, 0) - drawn_g


def _limit(
    award: Award,
    limits: tuple[Limit, ...],
    keys: list[CounterKey],
    usage: Usage,
    added: Mapping[CounterKey, tuple[int, int]],
) -> None:
    """Cut an award to what its limits leave."""
    energy_g = award.energy_g
    for limit, key in zip(limits, keys, strict=True):
        used_n, used_g = usage.get(key, _UNUSED)
        if key in added:
            used_n, used_g = used_n + added[key][0], used_g + added[key][1]
        if limit.count is None:
            left_g = max(limit.grams - used_g, 0)
        else:
            left_g = energy_g if used_n < limit.count else 0
        if energy_g > left_g:
            energy_g = left_g
            award.limited_by = award.limited_by or limit.text
            award.cuts += (limit,)
    award.energy_g = energy_g


def _draw(award: Award, own_g: int, campaign: Campaign, left_g: int) -> None:
    """Tell the campaign's part of an award from the rule's own, and cut it to what is left.

    What limits took came off the campaign's part first: the rule's own grams are paid as without.
    """
    extra_g = max(award.energy_g - own_g, 0)
    if extra_g > left_g:
        award.energy_g -= extra_g - left_g
        award.limited_by = award.limited_by or campaign.text
        extra_g = left_g
    award.campaign, award.extra_g = campaign.id, extra_g
    award.drawn_g = 0 if campaign.budget_g is None else extra_g


def _use(award: Award, keys: list[CounterKey], added: dict[CounterKey, tuple[int, int]]) -> None:
    """Note what an award uses of its limits."""
    # A count and a grams limit of the same identity share one counter: use it once.
    different = keys if len(keys) == 1 else dict.fromkeys(keys)
    award.counters = tuple([(key, 1, award.energy_g) for key in different])
    for key in different:
        used_n, used_g = added.get(key, _UNUSED)
        added[key] = (used_n + 1, used_g + award.energy_g)
