"""What an acceptable action earns: every rule of its type, in order of id, cut by its limits.

Pure: sees no clock and no database. What this person has used of each limit comes as an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.rules.judge import Judged
from service.rules.rulebook import GRAMS_MAX, CounterKey, Limit, Rule, Rulebook

Usage = Mapping[CounterKey, tuple[int, int]]
_UNUSED = (0, 0)


@dataclass(slots=True)
class Award:
    """What one rule gives. `counters`: the limits that it uses up, as (key, count, grams)."""

    rule: str
    saved_g: int
    energy_g: int
    limited_by: str | None
    counters: tuple[tuple[CounterKey, int, int], ...]
    failed: bool


@dataclass(slots=True)
class Decision:
    """All awards of one action. `saved_g` is the largest among them: it is saved only once."""

    awards: tuple[Award, ...]
    saved_g: int
    energy_g: int


def evaluate(
    rulebook: Rulebook, judged: Judged, *, region: str, streak_days: int, usage: Usage
) -> Decision:
    """Try the rules of this action's type, of the rulebook that judged it.

    `usage` holds (count, grams) of this person's counters; one that is missing is unused.
    """
    action_type = rulebook.action_types[judged.candidate.type]
    activation = judged.activation
    if action_type.needs_person:
        values = {**judged.values, "region": region, "streak_days": float(streak_days)}
        activation = action_type.scope.activation(values)
    day = judged.local_date
    added: dict[CounterKey, tuple[int, int]] = {}
    awards = []
    saved_g = energy_g = 0
    for rule in action_type.rules:
        if (rule.starts_on is not None and day < rule.starts_on) or (
            rule.ends_before is not None and day >= rule.ends_before
        ):
            continue
        award = _award(rule, activation)
        if award is None:
            continue
        if award.energy_g and rule.limits:
            keys = [judged.counters[slot] for slot in action_type.slots[rule.id]]
            _limit(award, rule.limits, keys, usage, added)
        awards.append(award)
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


def _limit(
    award: Award,
    limits: tuple[Limit, ...],
    keys: list[CounterKey],
    usage: Usage,
    added: dict[CounterKey, tuple[int, int]],
) -> None:
    """Cut an award to what its limits leave, and note what it uses of them.

    Rules that share a group see in `added` what an earlier rule of this very action used.
    """
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
    award.energy_g = energy_g
    if energy_g:
        # A count and a grams limit of the same identity share one counter: use it once.
        different = keys if len(keys) == 1 else dict.fromkeys(keys)
        award.counters = tuple([(key, 1, energy_g) for key in different])
        for key in different:
            used_n, used_g = added.get(key, _UNUSED)
            added[key] = (used_n + 1, used_g + energy_g)
