"""Campaigns: what they multiply, in which order they cut, and that a budget holds to the gram."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rules.compile.draft import compile_rulebook
from service.rules.decide.evaluate import Award, budgets_wanted, evaluate, untouched_budgets
from service.rules.decide.explain import explain_award
from service.rules.decide.judge import judge
from service.rules.trial.check import failed_examples
from tests.rules.sets import NOW, PROGRAM, SAMPLE, WALK, candidate, decide, rulebook_of, walk

DAY = "from: 2026-11-21, until: 2026-11-22"
# In Shanghai NOW is 18:00 of that day.
RULE = "id: r, saves: 7, earns: 52"


def book_of(*campaigns, rules=(RULE,)):
    """A programme with walking, these rules, and these campaigns, each what stands in its {}."""
    listed = [f"  - {{action: mobility.walk, {rule}}}" for rule in rules]
    held = [f"  - {{title: The day, {campaign}}}" for campaign in campaigns]
    return rulebook_of(PROGRAM, WALK, "rules:", *listed, *(["campaigns:", *held] if held else []))


def decided(rulebook, *, region="", usage=None, budgets=None, at=NOW, steps=8000):
    judged = judge(rulebook, candidate("mobility.walk", {"steps": steps}, occurred_at=at), at)
    return evaluate(
        rulebook,
        judged,
        region=region,
        streak_days=0,
        usage={key: usage[key.counter] for key in judged.counters if key.counter in usage}
        if usage
        else {},
        budgets=untouched_budgets(rulebook) if budgets is None else budgets,
    )


def told(decision):
    return [
        (award.rule, award.energy_g, award.extra_g, award.campaign, award.limited_by)
        for award in decision.awards
    ]


def test_energy_counts_several_times_and_savings_never():
    decision = decided(book_of(f"id: c, {DAY}, rules: [r], earns_times: 2"))
    assert told(decision) == [("r", 104, 52, "c", None)]
    assert (decision.saved_g, decision.awards[0].saved_g) == (7, 7)


@pytest.mark.parametrize(
    ("occurred_at", "energy_g"),
    [
        (datetime(2026, 11, 20, 15, 59, 59, tzinfo=UTC), 52),
        (datetime(2026, 11, 20, 16, 0, tzinfo=UTC), 104),
        (datetime(2026, 11, 21, 15, 59, 59, tzinfo=UTC), 104),
        (datetime(2026, 11, 21, 16, 0, tzinfo=UTC), 52),
    ],
)
def test_it_lasts_by_the_programmes_day_on_which_the_action_happened(occurred_at, energy_g):
    rulebook = book_of(f"id: c, {DAY}, rules: [r], earns_times: 2")
    assert decided(rulebook, at=occurred_at).energy_g == energy_g


@pytest.mark.parametrize(
    ("campaign", "region", "energy_g"),
    [
        ("rules: [r]", "", 104),
        ("rules: [other]", "", 52),
        ("categories: [office, mobility]", "", 104),
        ("categories: [office]", "", 52),
        ("rules: [r], regions: [CN-ZJ, CN-SH]", "CN-SH", 104),
        ("rules: [r], regions: [CN-ZJ]", "CN-SH", 52),
        ("rules: [r], regions: [CN-ZJ]", "", 52),
        ("rules: [r], regions: [CN]", "CN-SH", 104),
        ("rules: [r], regions: [CN]", "DE-BY", 52),
    ],
)
def test_it_is_for_its_rules_or_categories_and_regions(campaign, region, energy_g):
    rulebook = book_of(
        f"id: c, {DAY}, earns_times: 2, {campaign}",
        rules=(RULE, "id: other, when: 'false', earns: 1"),
    )
    assert decided(rulebook, region=region).energy_g == energy_g


@pytest.mark.parametrize(
    ("earns", "times", "energy_g"),
    [
        (5, "1.5", 8),  # 7.5 goes to the even side
        (3, "1.5", 4),  # 4.5 too
        (50, "1.15", 58),  # 57.5, which doubles hold as a little less
        (10, "1.04", 10),
        (0, "2", 0),
        (5, "1", 5),
    ],
)
def test_whole_grams_are_multiplied_and_rounded_half_to_even(earns, times, energy_g):
    rulebook = book_of(
        f"id: c, {DAY}, rules: [r], earns_times: {times}", rules=(f"id: r, earns: {earns}",)
    )
    (award,) = decided(rulebook).awards
    assert (award.energy_g, award.extra_g) == (energy_g, energy_g - earns)
    assert award.campaign == ("c" if energy_g > earns else None)


@given(
    st.integers(min_value=1, max_value=1_000_000),
    st.decimals(min_value=1, max_value=100, places=3, allow_nan=False),
)
@settings(max_examples=40)
def test_rounding_is_exact_for_any_times(earns, times):
    rulebook = book_of(
        f"id: c, {DAY}, rules: [r], earns_times: {times}", rules=(f"id: r, earns: {earns}",)
    )
    assert decided(rulebook).energy_g == round(earns * Fraction(times))


def test_limits_cut_what_was_multiplied_and_the_extra_part_goes_first():
    campaign = f"id: c, {DAY}, rules: [r], earns_times: 2, budget_g: 1000"
    rule = f"{RULE}, limits: [{{per: day, grams: 80}}]"
    decision = decided(book_of(campaign, rules=(rule,)))
    assert told(decision) == [("r", 80, 28, "c", "80 g per day")]
    assert decision.awards[0].drawn_g == 28
    late = decided(book_of(campaign, rules=(rule,)), usage={"r/day/": (1, 40)})
    assert told(late) == [("r", 40, 0, "c", "80 g per day")]
    assert late.awards[0].drawn_g == 0


def test_a_budget_cuts_the_last_draw_and_then_it_has_ended():
    rulebook = book_of(f"id: c, {DAY}, rules: [r], earns_times: 2, budget_g: 1000")
    assert told(decided(rulebook)) == [("r", 104, 52, "c", None)]
    assert told(decided(rulebook, budgets={"c": 52})) == [("r", 104, 52, "c", None)]
    assert told(decided(rulebook, budgets={"c": 9})) == [("r", 61, 9, "c", "1000 g per campaign")]
    assert told(decided(rulebook, budgets={"c": 0})) == [("r", 52, 0, None, None)]
    assert told(decided(rulebook, budgets={})) == [("r", 52, 0, None, None)]


def test_a_limit_that_cut_first_is_named_before_the_budget():
    rulebook = book_of(
        f"id: c, {DAY}, rules: [r], earns_times: 2, budget_g: 1000",
        rules=(f"{RULE}, limits: [{{per: day, grams: 80}}]",),
    )
    (award,) = decided(rulebook, budgets={"c": 9}).awards
    assert (award.energy_g, award.extra_g, award.limited_by) == (61, 9, "80 g per day")
    assert award.counters[0][1:] == (1, 61)


def test_the_one_that_gives_most_wins_and_when_it_has_ended_the_next():
    rulebook = book_of(
        f"id: a, {DAY}, rules: [r], earns_times: 1.5",
        f"id: c, {DAY}, categories: [mobility], earns_times: 3, budget_g: 1000",
        f"id: b, {DAY}, rules: [r], earns_times: 3, budget_g: 500",
    )
    assert told(decided(rulebook)) == [("r", 156, 104, "b", None)]
    assert told(decided(rulebook, budgets={"c": 7})) == [("r", 59, 7, "c", "1000 g per campaign")]
    assert told(decided(rulebook, budgets={})) == [("r", 78, 26, "a", None)]
    assert decided(rulebook, budgets={}).awards[0].drawn_g == 0


def test_rules_of_one_action_draw_from_one_budget_in_order_of_id():
    rulebook = book_of(
        f"id: c, {DAY}, categories: [mobility], earns_times: 2, budget_g: 100",
        f"id: d, {DAY}, rules: [z], earns_times: 1.5",
        rules=("id: x, earns: 60", "id: y, earns: 50", "id: z, earns: 20"),
    )
    assert told(decided(rulebook)) == [
        ("x", 120, 60, "c", None),
        ("y", 90, 40, "c", "100 g per campaign"),
        ("z", 30, 10, "d", None),
    ]


def test_budgets_are_wanted_only_where_they_could_decide():
    rulebook = book_of(
        f"id: c, {DAY}, rules: [r], earns_times: 2, budget_g: 100",
        f"id: free, {DAY}, rules: [x], earns_times: 2",
        "id: over, from: 2026-11-19, until: 2026-11-21, rules: [r], earns_times: 9, budget_g: 5",
        f"id: less, {DAY}, rules: [r], earns_times: 1.001, budget_g: 5",
        rules=(RULE, "id: x, earns: 5"),
    )
    assert budgets_wanted(decided(rulebook).awards) == {"c", "less"}
    assert decide(rulebook, walk(rulebook=rulebook)).energy_g == 62


def test_an_award_explains_its_campaign():
    def explained(rule, *, cut=None, energy_g=None, saved_g=0):
        rulebook = book_of(
            f"id: c, {DAY}, rules: [r], earns_times: 2, budget_g: 100",
            rules=(f"id: r, {rule}",),
        )
        return explain_award(
            rulebook,
            {"steps": 100},
            Award("r", saved_g, energy_g, cut, (), failed=False, campaign="c"),
        )

    assert explained("earns: 52", energy_g=104) == "52 g x 2 The day = 104 g"
    assert explained("earns: steps * 0.5", energy_g=100) == "100 steps x 0.5 g x 2 The day = 100 g"
    assert explained("earns: steps + 4", energy_g=208) == "(100 steps + 4 g) x 2 The day = 208 g"
    assert explained("earns: 52, saves: 7", energy_g=104, saved_g=7) == (
        "52 g x 2 The day = 104 g; saves 7 g CO2e"
    )
    assert explained("saves: 52", energy_g=104, saved_g=52) == (
        "52 g x 2 The day = 104 g; saves 52 g CO2e"
    )
    assert explained("earns: 52", energy_g=61, cut="100 g per campaign") == (
        "52 g x 2 The day, cut to 61 g by what was left of the campaign's 100 g"
    )
    assert explained("earns: 52", energy_g=80, cut="80 g per day") == (
        "52 g x 2 The day, cut to 80 g by the limit of 80 g per day"
    )


def test_an_example_that_names_its_time_is_decided_with_its_campaigns():
    text = (
        PROGRAM
        + WALK
        + """
rules:
  - id: r
    action: mobility.walk
    earns: 52
    examples:
      - {name: alone, given: {steps: 9}, expect: {earns: 52}}
      - name: on the day
        given: {steps: 9}
        context: {occurred_at: "2026-06-05T12:00", region: CN-ZJ}
        expect: {earns: 104}
      - {name: elsewhere, given: {steps: 9}, context: {occurred_at: "2026-06-05T12:00"},
         expect: {earns: 52}}
campaigns:
  - {id: c, title: t, from: 2026-01-01, until: 2026-12-31, rules: [r], regions: [CN-ZJ],
     earns_times: 2, budget_g: 100000}
"""
    )
    draft = compile_rulebook({"a.yaml": text})
    assert failed_examples(draft) == []


def test_the_languages_own_sample_has_its_campaign_and_badges():
    rulebook = rulebook_of(SAMPLE)
    (campaign,) = rulebook.campaigns.values()
    assert (campaign.times, campaign.budget_g) == (Fraction(2), 5_000_000)
    assert campaign.regions == {"CN-ZJ"}
    kinds = {
        badge.id: (badge.kind, badge.action, badge.count) for badge in rulebook.badges.values()
    }
    assert kinds == {
        "commuter": ("actions", "transit.metro_trip", 20),
        "first-tree": ("trees", None, 1),
        "week-streak": ("streak_days", None, 7),
    }


STEPS = st.integers(min_value=1, max_value=100_000)
WALKED = (
    "id: steps, saves: steps * 0.01, earns: steps * 0.02,"
    " limits: [{per: day, grams: 400}, {per: week, count: 6}]"
)
FIXED = (
    "id: fixed, when: steps > 3000, saves: 9, earns: 33,"
    " limits: [{per: day, count: 3, group: g}, {per: month, grams: 500, group: g}]"
)
DAYS = "from: 2026-11-19, until: 2026-11-23"
PLAYED = book_of(
    f"id: big, {DAY}, categories: [mobility], earns_times: 3.5, regions: [CN-ZJ], budget_g: 900",
    f"id: small, {DAYS}, rules: [steps], earns_times: 1.7, budget_g: 500",
    f"id: open, {DAY}, rules: [fixed], earns_times: 1.1",
    rules=(WALKED, FIXED),
)
ACTIONS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=3),
        STEPS,
        st.integers(min_value=0, max_value=4 * 24 * 60),
        st.sampled_from(["", "CN-ZJ", "DE-BY"]),
    ),
    max_size=60,
)


def played(actions):
    """Record these actions of four people as the record path does; yields what was decided."""
    usage = defaultdict(dict)
    budgets = untouched_budgets(PLAYED)
    for person, steps, minutes_ago, region in actions:
        occurred_at = NOW - timedelta(minutes=minutes_ago)
        asked = candidate("mobility.walk", {"steps": steps}, occurred_at=occurred_at)
        judged = judge(PLAYED, asked, NOW)
        before = dict(budgets)
        alone = evaluate(
            PLAYED, judged, region=region, streak_days=0, usage=usage[person], budgets={}
        )
        decision = evaluate(
            PLAYED, judged, region=region, streak_days=0, usage=usage[person], budgets=budgets
        )
        assert budgets == before
        for award in decision.awards:
            if award.drawn_g:
                budgets[award.campaign] -= award.drawn_g
            for key, n, grams in award.counters:
                used = usage[person].get(key, (0, 0))
                usage[person][key] = (used[0] + n, used[1] + grams)
        yield person, judged, alone, decision, budgets


@settings(max_examples=80)
@given(ACTIONS)
def test_no_budget_and_no_limit_is_ever_exceeded_and_none_is_left_while_somebody_is_cut(actions):
    paid, extra = defaultdict(int), defaultdict(int)
    awards = defaultdict(int)
    for person, judged, _, decision, budgets in played(actions):
        assert all(left >= 0 for left in budgets.values())
        for award in decision.awards:
            extra[award.campaign] += award.drawn_g
            if award.limited_by and award.limited_by.endswith("per campaign"):
                assert budgets[award.campaign] == 0
            if award.rule == "steps":
                paid[person, judged.local_date] += award.energy_g
                week = judged.local_date.isocalendar()[:2]
                awards[person, week] += award.energy_g > 0
        for campaign, left in budgets.items():
            assert extra[campaign] == PLAYED.campaigns[campaign].budget_g - left
    assert all(grams <= 400 for grams in paid.values())
    assert all(count <= 6 for count in awards.values())


@settings(max_examples=80)
@given(ACTIONS)
def test_a_campaign_only_ever_adds_and_never_to_savings(actions):
    for _, _, alone, decision, _ in played(actions):
        assert decision.saved_g == alone.saved_g
        assert decision.energy_g == sum(award.energy_g for award in decision.awards)
        for bare, award in zip(alone.awards, decision.awards, strict=True):
            assert award.saved_g == bare.saved_g
            assert 0 <= award.drawn_g <= award.extra_g <= award.energy_g
            assert bool(award.counters) == bool(award.energy_g)
            if award.campaign is None:
                assert award.extra_g == 0
