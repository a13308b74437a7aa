"""What an acceptable action earns: every rule of its type, in order of id.

What a rule gives is summed exactly over a day of the programme, and an award is what the sum, in
whole grams, grows by: telling an action in parts changes nothing. These grams are multiplied by a
campaign, then cut by the rule's limits, then by what is left of the campaign's budget. Pure: sees
no clock and no database. What this person has used of each limit, the sums of the day, and what
campaigns have left, come as arguments, so that a simulation decides by these very functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter

from msgspec import Struct

from service.rules.cel.expression import Activation, Expression
from service.rules.decide.grams import GRAM_NG, exact_ng, grown, rounded
from service.rules.decide.judge import Judged
from service.rules.decide.rulebook import (
    Campaign,
    CounterKey,
    Limit,
    Rule,
    Rulebook,
    Used,
)

Usage = Mapping[CounterKey, tuple[int, ...]]
"""What was used, each as the first fields of Used; one that is missing is unused."""

Budgets = Mapping[str, int]
"""What campaigns with a budget have left, by id; one that is missing has ended."""

_UNUSED = Used()
_saved_ng = attrgetter("saved_ng")
_ENOUGH_G = 10**18
_NO_BUDGETS: Budgets = {}


class Award(Struct):
    """What one rule gives. `counters`: the limits that it uses up, as (key, count, grams).

    `saved_ng` and `earned_ng` are what the rule gives exactly, `sums` how the sums of its day grow
    by it, `carried_ng` what these had left over before (energy, savings, multiplied energy).
    Savings that are not `is_counted` are told for themselves; another rule saves more. `extra_g`
    of `energy_g` come from the campaign, and `drawn_g` of these out of its budget. `offers` are
    the campaigns that are on for it, the one that gives most first; `cuts` the limits that took
    something off.
    """

    rule: str
    saved_g: int
    energy_g: int
    limited_by: str | None
    counters: tuple[tuple[CounterKey, int, int], ...]
    failed: bool
    saved_ng: int = 0
    earned_ng: int = 0
    sums: tuple[tuple[CounterKey, Used], ...] = ()
    carried_ng: tuple[int, int, int] = (0, 0, 0)
    is_counted: bool = True
    offers: tuple[Campaign, ...] = ()
    cuts: tuple[Limit, ...] = ()
    campaign: str | None = None
    extra_g: int = 0
    drawn_g: int = 0
    budget_seq: int | None = None

    @property
    def promises(self) -> bool:
        """Whether its rule gives anything, be it less than a gram."""
        return bool(self.earned_ng or self.saved_ng)


class Decision(Struct):
    """All awards of one action. Its savings count once, by the rule that saves most."""

    awards: tuple[Award, ...]
    saved_g: int
    energy_g: int

    @property
    def gives(self) -> bool:
        """Whether anything was awarded, be it what the day's sum carries on: that binds a claim."""
        awards = self.awards
        return any(a.energy_g or a.saved_g or (a.promises and not a.cuts) for a in awards)


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

    `usage` holds what this person has used of each counter.
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
        if not rule.is_on(day):
            continue
        award = _award(rule, activation)
        if award is None:
            continue
        if campaigns and award.earned_ng and rule.id in campaigns:
            offered = [c for c in campaigns[rule.id] if c.times > 1 and c.holds(day, region)]
            award.offers = tuple(offered)
        awards.append(award)
    return awards


def untouched_budgets(rulebook: Rulebook) -> dict[str, int]:
    """What campaigns have left before anybody drew from them."""
    campaigns = rulebook.campaigns.values()
    return {each.id: each.budget_g for each in campaigns if each.budget_g is not None}


def budgets_wanted(awards: Iterable[Award]) -> set[str]:
    """Name the campaigns whose budgets may decide on these awards, as appraised."""
    offers = chain.from_iterable(award.offers for award in awards)
    return {campaign.id for campaign in offers if campaign.budget_g is not None}


def settle(
    rulebook: Rulebook,
    judged: Judged,
    awards: Sequence[Award],
    *,
    usage: Usage,
    budgets: Budgets = _NO_BUDGETS,
) -> Decision:
    """Sum and multiply appraised awards, then cut them by limits and budgets; changes these only.

    Rules that share a group see what an earlier rule of this very action used, and so with budgets.
    """
    kind = rulebook.action_types[judged.candidate.type]
    added: dict[CounterKey, tuple[int, int]] = {}
    counted = max(awards, key=_saved_ng) if awards else None
    energy_g = 0
    for award in awards:
        award.is_counted = award is counted or not award.saved_ng
        if award.rule in kind.sums and not award.failed:
            _sum(award, judged.counters[kind.sums[award.rule]], usage)
        limits = rulebook.rules[award.rule].limits
        keys = [judged.counters[slot] for slot in kind.slots[award.rule]]
        if award.energy_g:
            own_g, campaign = award.energy_g, None
            if award.offers:
                campaign = _campaign(award.offers, budgets, awards)
            if campaign is not None and campaign.times.denominator > 1:
                _multiply(award, campaign, judged.counters[kind.multiplied[award.rule]], usage)
            elif campaign is not None:
                award.energy_g *= campaign.times.numerator
            if award.energy_g == own_g:
                campaign = None
            _limit(award, limits, keys, usage, added)
            if campaign is not None:
                _draw(award, own_g, campaign, _left_g(campaign, budgets, awards))
            if limits and award.energy_g:
                _use(award, keys, added)
        elif award.earned_ng and judged.claims:
            # The day's sum only carries it on, yet the limit may be used up.
            _limit(award, limits, keys, usage, added)
        if award.cuts and not award.energy_g and judged.claims and not judged.candidate.verified:
            # A number that somebody typed beyond the limit: nobody answers for it at all.
            award.saved_g = 0
        energy_g += award.energy_g
    return Decision(tuple(awards), counted.saved_g if counted else 0, energy_g)


def _award(rule: Rule, activation: Activation) -> Award | None:
    """Compute one rule before its limits; None when its condition does not hold."""
    if rule.when is not None:
        holds = rule.when.holds(activation)
        if holds is not True:
            return None if holds is False else Award(rule.id, 0, 0, None, (), True)
    saved_ng = _amount_ng(rule.saves, activation)
    earned_ng = saved_ng if rule.earns is None else _amount_ng(rule.earns, activation)
    if saved_ng is None or earned_ng is None:
        return Award(rule.id, 0, 0, None, (), True)
    # Of what is no whole grams the sum of the day decides.
    saved_g, energy_g = saved_ng // GRAM_NG, earned_ng // GRAM_NG
    return Award(rule.id, saved_g, energy_g, None, (), False, saved_ng, earned_ng)


def _amount_ng(amount: float | Expression, activation: Activation) -> int | None:
    """What a rule saves or earns exactly; None when that fails."""
    if isinstance(amount, int):
        return amount * GRAM_NG
    return exact_ng(amount.number(activation) if isinstance(amount, Expression) else amount)


def _sum(award: Award, key: CounterKey, usage: Usage) -> None:
    """Award what the day's sums of a rule grow by, in whole grams."""
    held = usage.get(key, _UNUSED)
    before = held if isinstance(held, Used) else Used(*held)
    _, _, before_g, before_ng, saved_before_g, saved_before_ng = before
    own_ng = award.earned_ng
    award.energy_g, earned_ng = grown(before_g, before_ng, own_ng)
    saved_g = saved_ng = 0
    if award.is_counted:
        saved_g, saved_ng = award.energy_g, earned_ng
        if (saved_before_g, saved_before_ng, award.saved_ng) != (before_g, before_ng, own_ng):
            saved_g, saved_ng = grown(saved_before_g, saved_before_ng, award.saved_ng)
        award.saved_g = saved_g
    else:
        award.saved_g = rounded(award.saved_ng)
    used = Used(0, 0, award.energy_g, earned_ng, saved_g, saved_ng)
    if any(used):
        award.sums = ((key, used),)
        award.carried_ng = (before_ng, saved_before_ng, 0)


def _multiply(award: Award, campaign: Campaign, key: CounterKey, usage: Usage) -> None:
    """Multiply whole grams exactly, summed over the day like what they come from."""
    before = Used(*usage.get(key, _UNUSED))
    own_g, times = award.energy_g, campaign.times
    more_ng = own_g * GRAM_NG * times.numerator // times.denominator
    grams, rest_ng = grown(before.earned_g, before.earned_rest_ng, more_ng, least_g=own_g)
    award.energy_g = grams
    award.sums += ((key, Used(0, 0, grams, rest_ng)),)
    award.carried_ng = (*award.carried_ng[:2], before.earned_rest_ng)


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
        used_n, used_g = usage.get(key, _UNUSED)[:2]
        if key in added:
            used_n, used_g = used_n + added[key][0], used_g + added[key][1]
        if limit.count is None:
            left_g = max(limit.grams - used_g, 0)
            is_used_up = not left_g
        else:
            is_used_up = used_n >= limit.count
            left_g = 0 if is_used_up else energy_g
        if energy_g > left_g or (is_used_up and not award.cuts):
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
        used_n, used_g = added.get(key, (0, 0))
        added[key] = (used_n + 1, used_g + award.energy_g)
