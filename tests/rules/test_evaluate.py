"""What actions earn: rules in order of id, savings once, limits on energy only, one case a row."""

from datetime import UTC, datetime

import pytest

from service.rules.decide.grams import whole_grams
from service.rules.decide.judge import judge
from service.rules.decide.rulebook import CounterKey
from tests.rules.sets import (
    NOW,
    PROGRAM,
    WALK,
    candidate,
    decide,
    rulebook_of,
    shipped_rulebook,
    walk,
    walk_rules,
)

DAY = "2026-11-21"


def amounts(decision):
    return [
        (award.rule, award.saved_g, award.energy_g, award.limited_by) for award in decision.awards
    ]


def test_the_contracts_walk():
    rulebook = shipped_rulebook()
    judged = walk(8000, rulebook=rulebook, distance_km=5.6)
    decision = decide(rulebook, judged)
    assert amounts(decision) == [("walk", 565, 160, None)]
    assert (decision.saved_g, decision.energy_g) == (565, 160)
    assert decision.awards[0].counters == ((CounterKey("walk/day/", DAY, ""), 1, 160),)


def test_grams_are_cut_to_what_is_left_and_savings_never():
    rulebook = shipped_rulebook()
    judged = walk(8000, rulebook=rulebook, distance_km=5.6)
    decision = decide(rulebook, judged, {CounterKey("walk/day/", DAY, ""): (2, 200)})
    assert amounts(decision) == [("walk", 565, 96, "296 g per day")]
    assert decision.awards[0].counters == ((CounterKey("walk/day/", DAY, ""), 1, 96),)
    used_up = decide(rulebook, judged, {CounterKey("walk/day/", DAY, ""): (3, 296)})
    assert amounts(used_up) == [("walk", 565, 0, "296 g per day")]
    assert used_up.awards[0].counters == ()
    lowered = decide(rulebook, judged, {CounterKey("walk/day/", DAY, ""): (3, 400)})
    assert amounts(lowered) == [("walk", 565, 0, "296 g per day")]


@pytest.mark.parametrize(
    ("limits", "usage", "energy_g", "limited_by"),
    [
        ("{per: day, count: 5}", {"r/day/": (4, 999)}, 100, None),
        ("{per: day, count: 5}", {"r/day/": (5, 0)}, 0, "5 per day"),
        ("{per: week, grams: 150}", {"r/week/": (9, 100)}, 50, "150 g per week"),
        ("{per: year, grams: 150}", {"r/year/": (9, 149)}, 1, "150 g per year"),
        ("{per: ever, count: 1}", {"r/ever/": (1, 1)}, 0, "1 per ever"),
        (
            "{per: month, grams: 80}, {per: day, grams: 30}",
            {},
            30,
            "80 g per month",
        ),
        (
            "{per: month, grams: 80}, {per: day, count: 1}",
            {"r/day/": (1, 5)},
            0,
            "80 g per month",
        ),
        ("{per: day, count: 2}, {per: day, grams: 90}", {"r/day/": (1, 50)}, 40, "90 g per day"),
        ("{per: day, count: 2, group: g}", {"r/day/": (2, 0)}, 100, None),
        ("{per: day, count: 2, group: g}", {"group:g/day/": (2, 0)}, 0, "2 per day"),
        ("{per: day, count: 2, by: shoe}", {"r/day/shoe": (2, 0)}, 0, "2 per day"),
    ],
)
def test_limits(limits, usage, energy_g, limited_by):
    rulebook = walk_rules(f"id: r, saves: 7, earns: 100, limits: [{limits}]")
    judged = walk(rulebook=rulebook, shoe="boot")
    held = {key: usage[key.counter] for key in judged.counters if key.counter in usage}
    decision = decide(rulebook, judged, held)
    assert amounts(decision) == [("r", 7, energy_g, limited_by)]
    used = {key.counter: (n, grams) for key, n, grams in decision.awards[0].counters}
    identities = {key.counter for key in judged.counters}
    assert used == (dict.fromkeys(identities, (1, energy_g)) if energy_g else {})


def test_usage_is_never_changed():
    rulebook = walk_rules("id: r, earns: 100, limits: [{per: day, count: 1}]")
    judged = walk(rulebook=rulebook)
    usage = {}
    decide(rulebook, judged, usage)
    assert usage == {}


def test_a_value_of_by_has_its_own_counter():
    rulebook = walk_rules("id: r, earns: 100, limits: [{per: day, count: 1, by: shoe}]")
    boot, sandal = walk(rulebook=rulebook, shoe="boot"), walk(rulebook=rulebook, shoe="sandal")
    usage = {boot.counters[0]: (1, 100)}
    assert decide(rulebook, boot, usage).energy_g == 0
    assert decide(rulebook, sandal, usage).energy_g == 100


def test_leaving_the_value_of_by_out_does_not_lift_the_limit():
    rulebook = walk_rules("id: r, earns: 100, limits: [{per: day, count: 1, by: shoe}]")
    bare = walk(rulebook=rulebook)
    assert decide(rulebook, bare, {bare.counters[0]: (1, 100)}).energy_g == 0


def test_rules_of_a_group_share_one_counter_also_within_one_action():
    rulebook = walk_rules(
        "id: b, earns: 100, limits: [{per: day, count: 1, group: g}]",
        "id: a, earns: 40, limits: [{per: day, count: 1, group: g}]",
        "id: c, earns: 100, limits: [{per: day, grams: 60, group: g}]",
    )
    decision = decide(rulebook, walk(rulebook=rulebook))
    assert amounts(decision) == [
        ("a", 0, 40, None),
        ("b", 0, 0, "1 per day"),
        ("c", 0, 20, "60 g per day"),
    ]
    assert decision.energy_g == 60


def test_saved_is_counted_once_the_largest():
    rulebook = walk_rules(
        "id: a, saves: 30, earns: 1", "id: b, saves: 50, earns: 2", "id: c, saves: 10"
    )
    decision = decide(rulebook, walk(rulebook=rulebook))
    assert amounts(decision) == [("a", 30, 1, None), ("b", 50, 2, None), ("c", 10, 10, None)]
    assert (decision.saved_g, decision.energy_g) == (50, 13)


def test_only_rules_whose_condition_holds_award():
    rulebook = walk_rules(
        "id: a, when: steps > 5000, earns: 1",
        "id: b, when: steps <= 5000, earns: 2",
        "id: c, when: 'true', earns: 3",
        "id: d, when: 'false', earns: 4",
    )
    assert amounts(decide(rulebook, walk(6000, rulebook=rulebook))) == [
        ("a", 0, 1, None),
        ("c", 0, 3, None),
    ]
    assert [award.rule for award in decide(rulebook, walk(50, rulebook=rulebook)).awards] == [
        "b",
        "c",
    ]


def test_no_rule_no_award():
    rulebook = walk_rules("id: a, when: steps > 5000, earns: 1")
    decision = decide(rulebook, walk(5, rulebook=rulebook))
    assert (decision.awards, decision.saved_g, decision.energy_g) == ((), 0, 0)


@pytest.mark.parametrize(
    ("occurred_at", "rules"),
    [
        (datetime(2026, 6, 4, 15, 59, tzinfo=UTC), ["until"]),
        (datetime(2026, 6, 4, 16, 0, tzinfo=UTC), ["from", "day"]),
        (datetime(2026, 6, 5, 15, 59, tzinfo=UTC), ["from", "day"]),
        (datetime(2026, 6, 5, 16, 0, tzinfo=UTC), ["from"]),
    ],
)
def test_dates_are_days_of_the_programme(occurred_at, rules):
    rulebook = walk_rules(
        "id: from, from: 2026-06-05, earns: 1",
        "id: until, until: 2026-06-05, earns: 1",
        "id: day, from: 2026-06-05, until: 2026-06-06, earns: 1",
    )
    judged = judge(
        rulebook, candidate("mobility.walk", {"steps": 9}, occurred_at=occurred_at), occurred_at
    )
    assert {award.rule for award in decide(rulebook, judged).awards} == set(rules)


def test_region_and_streak_come_with_the_person():
    rulebook = walk_rules(
        "id: a, when: region == 'CN-ZJ', earns: 1",
        "id: b, earns: streak_days * 2",
        "id: c, when: verified || reporter == 'device' || hour == 18 && weekday == 6, earns: 5",
    )
    judged = walk(rulebook=rulebook)
    decision = decide(rulebook, judged, region="CN-ZJ", streak_days=7)
    assert amounts(decision) == [("a", 0, 1, None), ("b", 0, 14, None), ("c", 0, 5, None)]
    assert amounts(decide(rulebook, judged)) == [("b", 0, 0, None), ("c", 0, 5, None)]


@pytest.mark.parametrize(
    ("text", "grams"),
    [
        ("steps * 0.5", 0),  # 0.5 goes to the even side
        ("steps * 1.5", 2),
        ("steps * 2.5", 2),
        ("steps * 1000000", 1_000_000),
        ("steps * 1000000.4", None),
        ("0 - steps * 0.0001", None),
        ("steps * 1e308 * 10", None),
        ("steps * 1e308 * 10 - steps * 1e308 * 10", None),
        ("floor(steps * 1e308 * 10)", None),
        ('"min(100, steps * 1e308 * 10)"', None),
        ('"min(100, steps * 1e308 * 10 - steps * 1e308 * 10)"', None),
        ('"max(100, steps * 1e308 * 10 - steps * 1e308 * 10)"', None),
    ],
)
@pytest.mark.parametrize("key", ["saves", "earns"])
def test_what_is_no_reasonable_number_of_grams_fails_and_pays_nothing(key, text, grams):
    rulebook = walk_rules(f"id: r, {key}: {text}, limits: [{{per: day, count: 5}}]")
    decision = decide(rulebook, walk(1, rulebook=rulebook))
    (award,) = decision.awards
    assert award.failed is (grams is None)
    assert award.energy_g == (grams or 0)
    assert award.saved_g == (grams or 0 if key == "saves" else 0)
    assert bool(award.counters) is bool(grams)


def test_a_failed_rule_harms_no_other():
    rulebook = walk_rules("id: a, earns: 0 - steps", "id: b, saves: 3, earns: 5")
    decision = decide(rulebook, walk(1, rulebook=rulebook))
    assert [award.failed for award in decision.awards] == [True, False]
    assert (decision.saved_g, decision.energy_g) == (3, 5)


def test_a_condition_that_fails_pays_nothing_and_is_seen():
    rulebook = walk_rules("id: a, when: steps > 5, saves: 9, earns: 5")
    judged = walk(8, rulebook=rulebook)
    judged.activation = rulebook.action_types["mobility.walk"].scope.activation({})
    (award,) = decide(rulebook, judged).awards
    assert (award.failed, award.saved_g, award.energy_g) == (True, 0, 0)


def test_whole_grams():
    assert [whole_grams(grams) for grams in (0.5, 1.5, 565.32, 0.0, 1e6)] == [0, 2, 565, 0, 10**6]
    assert [whole_grams(grams) for grams in (None, -1e-9, 1e6 + 0.1, float("nan"))] == [None] * 4


def test_an_action_is_evaluated_by_the_rulebook_that_judged_it():
    other = rulebook_of(PROGRAM, WALK.replace("mobility.walk", "mobility.run"))
    with pytest.raises(KeyError):
        decide(other, walk(rulebook=shipped_rulebook()))
    assert NOW.tzinfo is UTC
