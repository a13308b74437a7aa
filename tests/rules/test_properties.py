"""Limits hold for any history: late arrivals, shared groups, values of `by`, cuts and rollbacks."""

from collections import defaultdict
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from service.rules.decide.judge import Judged, judge
from tests.rules.sets import NOW, candidate, decide, walk_rules

BOOK = walk_rules(
    "id: steps, earns: steps * 0.02, limits: [{per: day, grams: 296}, {per: month, grams: 2000}]",
    "id: morning, when: hour < 9, earns: 30,"
    " limits: [{per: day, count: 2}, {per: week, count: 5, group: g}]",
    "id: shoes, when: has(shoe), saves: 5, earns: 40, limits: [{per: day, count: 1, by: shoe},"
    " {per: week, count: 5, group: g}, {per: year, grams: 300, group: g}]",
    "id: zero, when: steps > 50000, earns: 0, limits: [{per: ever, count: 1}]",
)
LIMITS = [(rule.id, limit) for rule in BOOK.rules.values() for limit in rule.limits]
ACTIONS = st.lists(
    st.tuples(
        st.integers(min_value=1, max_value=100_000),
        st.integers(min_value=0, max_value=7 * 24 * 60),
        st.sampled_from([None, "boot", "sandal", "x" * 80]),
        st.integers(min_value=0, max_value=36 * 60),
    ),
    max_size=60,
)


def played(actions):
    """Record these actions as the record path does: late ones under the day they happened on."""
    usage = {}
    now = NOW
    for steps, minutes_late, shoe, minutes_later in actions:
        now += timedelta(minutes=minutes_later)
        attributes = {"steps": steps} if shoe is None else {"steps": steps, "shoe": shoe}
        occurred_at = now - timedelta(minutes=minutes_late)
        asked = candidate("mobility.walk", attributes, occurred_at=occurred_at)
        judged = judge(BOOK, asked, now)
        assert isinstance(judged, Judged)
        decision = decide(BOOK, judged, usage)
        yield judged, decision
        for award in decision.awards:
            for key, n, grams in award.counters:
                used_n, used_g = usage.get(key, (0, 0))
                usage[key] = (used_n + n, used_g + grams)


@settings(max_examples=60)
@given(ACTIONS)
def test_no_limit_is_ever_exceeded(actions):
    paid = defaultdict(list)
    for judged, decision in played(actions):
        awarded = {award.rule: award.energy_g for award in decision.awards}
        keys = {key.counter: key for key in judged.counters}
        for rule, limit in LIMITS:
            if awarded.get(rule):
                paid[limit, keys[limit.source.counter]].append(awarded[rule])
    for (limit, _), grams in paid.items():
        if limit.group is None:
            assert limit.count is None or len(grams) <= limit.count
            assert limit.count is not None or sum(grams) <= limit.grams


@settings(max_examples=60)
@given(ACTIONS)
def test_groups_hold_over_all_their_rules(actions):
    counted = defaultdict(lambda: [0, 0])
    for judged, decision in played(actions):
        week = next(key for key in judged.counters if key.counter == "group:g/week/").period
        for award in decision.awards:
            if award.rule in {"morning", "shoes"} and award.energy_g:
                counted[week][0] += 1
            if award.rule == "shoes":
                counted[judged.local_date.year][1] += award.energy_g
    assert all(count <= 5 and grams <= 300 for count, grams in counted.values())


@settings(max_examples=60)
@given(ACTIONS)
def test_what_is_not_cut_is_paid_in_full_and_cuts_are_named(actions):
    for judged, decision in played(actions):
        steps = judged.candidate.attributes["steps"]
        wanted = {"steps": round(steps * 0.02), "morning": 30, "shoes": 40, "zero": 0}
        assert decision.saved_g == max((award.saved_g for award in decision.awards), default=0)
        assert decision.energy_g == sum(award.energy_g for award in decision.awards)
        for award in decision.awards:
            is_cut = award.energy_g < wanted[award.rule]
            assert is_cut == (award.limited_by is not None)
            assert 0 <= award.energy_g <= wanted[award.rule]
            assert bool(award.counters) == bool(award.energy_g)
