"""Rounding is of the day's sum: telling a walk in parts changes nothing."""

from collections import defaultdict
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rules.decide.evaluate import appraise, budgets_wanted, settle, untouched_budgets
from service.rules.decide.explain import explain_award
from service.rules.decide.judge import judge
from service.rules.decide.standing import Standing, award_entry, award_of, stored_uses, uses_of
from tests.rules.sets import (
    NOW,
    PROGRAM,
    WALK,
    candidate,
    rulebook_of,
    shipped_rulebook,
    walk_rules,
)

# [n, times] -> grams: ten thousand steps however they are told, and two that are not ten thousand.
SPLITS = [
    ([10_000], 200),
    ([25] * 400, 200),
    ([26] * 385, 200),
    ([75] * 133, 200),
    ([8] * 1_250, 200),
]
DAY = "from: 2026-11-21, until: 2026-11-22"


class Person:
    """Somebody whose actions are decided one after the other, and can be taken back."""

    def __init__(self, rulebook, region=""):
        self.rulebook, self.region = rulebook, region
        self.standing, self.budgets = Standing(), untouched_budgets(rulebook)
        self.decided = []

    def acts(self, at=NOW, **attributes):
        asked = candidate("mobility.walk", attributes, occurred_at=at)
        judged = judge(self.rulebook, asked, at)
        awards = appraise(self.rulebook, judged, region=self.region, streak_days=0)
        wanted = {name: self.budgets[name] for name in budgets_wanted(awards)}
        decision = settle(self.rulebook, judged, awards, usage=self.standing.usage, budgets=wanted)
        for award in decision.awards:
            if award.drawn_g:
                self.budgets[award.campaign] -= award.drawn_g
        self.standing.use(uses_of(decision.awards))
        self.decided.append((attributes, decision))
        return decision

    def takes_back(self, index):
        attributes, decision = self.decided.pop(index)
        for award in decision.awards:
            self.standing.give_back(stored_uses(award_entry(award)["counters"]))
        return attributes

    def energy_g(self):
        return sum(decision.energy_g for _, decision in self.decided)

    def saved_g(self):
        return sum(decision.saved_g for _, decision in self.decided)


def book(*rules, campaigns=()):
    listed = [f"  - {{action: mobility.walk, {rule}}}" for rule in rules]
    held = [f"  - {{title: The day, {campaign}}}" for campaign in campaigns]
    return rulebook_of(PROGRAM, WALK, "rules:", *listed, *(["campaigns:", *held] if held else []))


@pytest.mark.parametrize(("parts", "right_g"), SPLITS)
def test_a_days_walk_is_worth_the_same_however_it_is_told(parts, right_g):
    person = Person(shipped_rulebook())
    for steps in parts:
        person.acts(steps=steps)
    assert person.energy_g() == right_g == round(Fraction(sum(parts), 50))


def test_tiny_walks_save_what_they_save_together():
    person = Person(shipped_rulebook())
    for _ in range(1_250):
        person.acts(steps=8, distance_km=0.0056)
    assert person.saved_g() == 707
    assert person.energy_g() == 200


@pytest.mark.parametrize(
    ("amount", "parts", "grams"),
    [
        ("steps / 6", [1, 1, 1], 0),  # half a gram
        ("steps / 6", [1] * 9, 2),  # one and a half
        ("steps / 3", [1] * 3_000, 1_000),
        ("steps * 0.02", [35, 90], 2),  # in doubles 0.7000000000000001 and 1.8
        ("steps * 0.1", [1] * 25, 2),
        ("0.4", [1] * 10, 4),
        ("0.5", [1] * 3, 2),
        ("steps * 100.95", [3] * 7, round(21 * 100.95)),
    ],
)
@pytest.mark.parametrize("key", ["earns", "saves"])
def test_a_sum_is_exact_and_rounded_half_to_even(key, amount, parts, grams):
    person = Person(book(f'id: r, {key}: "{amount}"'))
    for steps in parts:
        person.acts(steps=steps)
    told = person.energy_g() if key == "earns" else person.saved_g()
    assert told == grams


PARTS = st.lists(
    st.tuples(st.integers(1, 400), st.integers(1, 300), st.integers(0, 2)), min_size=1, max_size=60
)


@settings(max_examples=60)
@given(PARTS, st.data())
def test_any_split_in_any_order_with_reversals_gives_the_wholes_grams(parts, data):
    """Parts told, some taken back and told again: as if each day had been told in one report."""
    person = Person(shipped_rulebook())
    days = [NOW - timedelta(days=ago) for ago in range(3)]
    told = []
    for steps, centimetres, ago in data.draw(st.permutations(parts)):
        told.append((ago, {"steps": steps, "distance_km": min(centimetres, steps * 100) / 100_000}))
        person.acts(days[ago], **told[-1][1])
        check(person, told, is_whole=True)
    for _ in range(data.draw(st.integers(0, len(told)))):
        index = data.draw(st.integers(0, len(told) - 1))
        again = told.pop(index)
        _, decision = person.decided[index]
        before_g, before_saved_g = person.energy_g(), person.saved_g()
        person.takes_back(index)
        assert person.energy_g() == before_g - decision.energy_g >= 0
        assert person.saved_g() == before_saved_g - decision.saved_g >= 0
        if data.draw(st.booleans()):
            told.append(again)
            person.acts(days[again[0]], **again[1])
            check(person, [entry for entry in told if entry[0] == again[0]], day=again[0])
    for steps, ago in ((100_000, 0), (100_000, 1), (100_000, 2)):
        told.append((ago, {"steps": steps}))
        person.acts(days[ago], steps=steps)
    check(person, told, is_whole=False, full_days=3)


def check(person, told, *, is_whole=False, day=None, full_days=None):
    """What stands is never more than what was told is worth, where nothing was taken back since."""
    if full_days is not None:
        assert person.energy_g() == 296 * full_days
        return
    steps, saved = defaultdict(int), defaultdict(Fraction)
    for ago, attributes in told:
        steps[ago] += attributes["steps"]
        saved[ago] += Fraction(str(attributes["distance_km"])) * 101
    if is_whole:
        assert person.energy_g() == sum(min(296, round(Fraction(n, 50))) for n in steps.values())
        assert person.saved_g() == sum(round(grams) for grams in saved.values())
    if day is not None:
        key = next(
            k for k in person.standing.usage if k.period == f"{NOW - timedelta(days=day):%F}"
        )
        used = person.standing.usage[key]
        assert used.earned_g * 10**9 + used.earned_rest_ng == steps[day] * 20_000_000
        assert used.earned_g >= round(Fraction(steps[day], 50))


def test_earning_after_a_reversal_pays_what_the_sum_lacks_and_never_more():
    person = Person(book("id: r, earns: steps * 0.5"))
    assert [person.acts(steps=1).energy_g for _ in range(4)] == [0, 1, 1, 0]
    person.takes_back(1)  # it had been awarded 1 g for half a gram
    assert person.energy_g() == 1
    assert person.acts(steps=1).energy_g == 1
    assert person.energy_g() == 2
    for _ in range(2):  # those that were awarded nothing
        person.takes_back(next(i for i, (_, d) in enumerate(person.decided) if not d.energy_g))
    assert person.energy_g() == 2
    assert [person.acts(steps=1).energy_g for _ in range(3)] == [0, 0, 0]  # 2.5 g of 2 g: to even
    assert person.acts(steps=1).energy_g == 1


def test_limits_cut_what_the_sum_came_to_and_never_let_more_through():
    rulebook = book("id: r, earns: steps * 0.3, limits: [{per: day, grams: 5}]")
    person = Person(rulebook)
    grams = [person.acts(steps=9).energy_g for _ in range(6)]
    assert grams == [3, 2, 0, 0, 0, 0]
    person.takes_back(0)
    # 13.5 g stand and are 14 g, 13 of them awarded before limits; 3 g of the limit are free again.
    assert person.acts(steps=9).energy_g == 3
    assert person.energy_g() == 5


def test_an_award_of_nothing_uses_no_count():
    person = Person(book("id: r, earns: steps * 0.4, limits: [{per: day, count: 2}]"))
    grams = [person.acts(steps=1).energy_g for _ in range(8)]
    assert grams == [0, 1, 0, 1, 0, 0, 0, 0]
    assert person.decided[5][1].awards[0].limited_by is None
    assert [d.awards[0].limited_by for _, d in person.decided].count("2 per day") == 1


def test_each_rule_has_its_sum_and_each_day():
    rulebook = book("id: a, earns: steps * 0.3", "id: b, earns: steps * 0.4")
    person = Person(rulebook)
    told = [
        [award.energy_g for award in person.acts(NOW - timedelta(days=day), steps=1).awards]
        for day in (0, 1, 0, 1, 0, 1)
    ]
    assert told == [[0, 0], [0, 0], [1, 1], [1, 1], [0, 0], [0, 0]]


def test_savings_of_several_rules_count_once_by_the_one_that_saves_most():
    """Each action's savings are the largest; in parts they come to what the whole saves."""
    rules = "id: a, saves: steps * 0.5, earns: 0", "id: b, saves: steps * 0.6, earns: 0"
    whole, parts = Person(book(*rules)), Person(book(*rules))
    whole.acts(steps=40)
    for _ in range(40):
        parts.acts(steps=1)
    assert whole.saved_g() == parts.saved_g() == 24
    for _, decision in parts.decided:
        assert [award.is_counted for award in decision.awards] == [False, True]


def test_times_are_carried_like_what_they_multiply_and_a_budget_pays_no_gram_more():
    campaign = f"id: c, {DAY}, rules: [r], earns_times: 1.5, budget_g: 20"
    rulebook = book("id: r, earns: steps * 0.5", campaigns=[campaign])
    for parts in ([40], [1] * 40, [3] * 13 + [1]):
        person = Person(rulebook)
        for steps in parts:
            person.acts(steps=steps)
        assert (person.energy_g(), person.budgets["c"]) == (30, 10), parts
    person.acts(steps=1_000)
    assert person.budgets["c"] == 0
    assert person.energy_g() == 20 + 500 + 20


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=40),
    st.decimals(1, 100, places=3, allow_nan=False),
)
def test_any_split_under_any_times_gives_the_wholes_grams(parts, times):
    campaign = f"id: c, {DAY}, rules: [r], earns_times: {times}"
    person = Person(book("id: r, earns: steps * 0.02", campaigns=[campaign]))
    for steps in parts:
        decision = person.acts(steps=steps)
        assert decision.awards[0].extra_g >= 0
    own_g = round(Fraction(sum(parts), 50))
    assert person.energy_g() == round(own_g * Fraction(str(times)))


def test_an_explanation_tells_what_was_carried():
    rulebook = walk_rules("id: r, saves: steps * 0.12, earns: steps * 0.02")
    person = Person(rulebook)
    told = []
    for _ in range(4):
        (award,) = person.acts(steps=16).awards
        entry = award_entry(award)
        assert award_entry(award_of(entry)) == entry
        told.append(explained(rulebook, entry, steps=16))
    assert told == [
        "16 steps x 0.02 g = 0.32 g: 0 g, 0.32 g carried on; saves 16 steps x 0.12 g = 2 g CO2e",
        (
            "16 steps x 0.02 g = 0.32 g, plus 0.32 g carried on earlier that day: 1 g;"
            " saves 16 steps x 0.12 g = 1.92 g, less 0.08 g rounded up earlier that day: 2 g CO2e"
        ),
        (
            "16 steps x 0.02 g = 0.32 g, less 0.36 g rounded up earlier that day: 0 g;"
            " saves 16 steps x 0.12 g = 1.92 g, less 0.16 g rounded up earlier that day: 2 g CO2e"
        ),
        (
            "16 steps x 0.02 g = 0.32 g, less 0.04 g rounded up earlier that day: 0 g,"
            " 0.28 g carried on;"
            " saves 16 steps x 0.12 g = 1.92 g, less 0.24 g rounded up earlier that day: 2 g CO2e"
        ),
    ]


def test_an_explanation_tells_what_a_campaign_carried_and_what_cut():
    campaign = f"id: c, {DAY}, rules: [r], earns_times: 1.5"
    rulebook = book(
        "id: r, earns: steps * 0.5, limits: [{per: day, grams: 4}]", campaigns=[campaign]
    )
    person = Person(rulebook)
    entries = [award_entry(person.acts(steps=3).awards[0]) for _ in range(4)]
    assert [explained(rulebook, entry, steps=3) for entry in entries] == [
        "3 steps x 0.5 g x 1.5 The day = 3 g",
        "3 steps x 0.5 g = 1.5 g, less 0.5 g rounded up earlier that day: 1 g",
        (
            "3 steps x 0.5 g x 1.5 The day = 1.5 g, plus 0.5 g carried on earlier that day: 2 g,"
            " cut to 0 g by the limit of 4 g per day"
        ),
        (
            "(3 steps x 0.5 g = 1.5 g, plus 0.5 g carried on earlier that day: 2 g) x 1.5 The day,"
            " cut to 0 g by the limit of 4 g per day"
        ),
    ]


def explained(rulebook, entry, **attributes):
    return explain_award(rulebook, attributes, award_of(entry))
