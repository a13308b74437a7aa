"""Budgets of campaigns in a real database: drawn once, to the gram, and never given back."""

import re

import pytest

from service.actions.budgets import EndedCampaigns
from service.audit.audit import audit
from service.platform.acts import Act
from service.rulebooks.publish import Rulebooks, activate
from tests.actions.conftest import RULES
from tests.actions.reports import FAIL_ONCE, NOW, SECRET, count, key_of, ride, walk, writer_of
from tests.ledger.histories import make_person, reverse
from tests.orders import settle
from tests.people import publish


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


def campaigns(*listed):
    """The small rulebook with these campaigns of the day on which the tests stand."""
    dates = "from: 2026-11-21, until: 2026-11-22, title: The day"
    return RULES + "campaigns:\n" + "".join(f"  - {{{dates}, {each}}}\n" for each in listed)


BUDGET = "id: double, rules: [walk], earns_times: 2, budget_g: {}"


@pytest.fixture
def published(database):
    """Publish rules; gives the version as a process compiles it."""

    async def run(text):
        async with database.transaction() as connection:
            version = await publish(
                connection, {"rules.yaml": text}, author="anna", note="a test", now=NOW
            )
        return await Rulebooks(database).get(version)

    return run


@pytest.fixture
def switched(database):
    """Activate an older version; gives it as a process compiles it."""

    async def run(version):
        async with database.transaction() as connection:
            assert await activate(connection, version, Act("anna", "", NOW))
        return await Rulebooks(database).get(version)

    return run


@pytest.fixture
def recorded(database):
    """Record reports in one batch under a rulebook; gives their actions, in order."""

    async def run(rulebook, *reports, ended=None):
        outcomes = await settle(
            database,
            reports,
            rulebook=rulebook,
            now=NOW,
            secret=SECRET,
            ended=ended,
        )
        return [outcomes[report].action for report in reports]

    return run


async def budget(database, campaign="double"):
    """What is promised, what is left, and how often it was drawn from."""
    row = await database.pool.fetchrow(
        "SELECT budget_g, left_g, seq FROM campaign_budgets WHERE campaign = $1", campaign
    )
    return tuple(row)


def drawn(*actions):
    return [
        (award["energy_g"], award.get("extra_g"), award.get("budget_seq"), award["limited_by"])
        for action in actions
        for award in action.awards
    ]


async def is_clean(database):
    return (await audit(database, mode="full", now=NOW)).differences == []


async def test_an_award_stores_what_it_drew_and_the_last_draw_is_cut(database, published, recorded):
    rulebook = await published(campaigns(BUDGET.format(250)))
    people = [await make_person(database) for _ in range(3)]
    first = await recorded(rulebook, *(walk(one, 5_000) for one in people))
    assert drawn(*first) == [
        (200, 100, 1, None),
        (200, 100, 2, None),
        (150, 50, 3, "250 g per campaign"),
    ]
    assert [action.awards[0]["campaign"] for action in first] == ["double"] * 3
    assert await budget(database) == (250, 0, 3)
    (late,) = await recorded(rulebook, walk(people[0], 1_000))
    assert drawn(late) == [(20, None, None, None)]
    assert "campaign" not in late.awards[0]
    assert await budget(database) == (250, 0, 3)
    assert await is_clean(database)


async def test_a_person_in_a_batch_draws_within_limits(database, published, recorded):
    """296 g a day: 200 and 96, of which the rule's own 100 come first and 0 are extra."""
    rulebook = await published(campaigns(BUDGET.format(1000)))
    somebody = await make_person(database)
    actions = await recorded(rulebook, walk(somebody, 5_000), walk(somebody, 5_000))
    assert drawn(*actions) == [(200, 100, 1, None), (96, 0, None, "296 g per day")]
    assert await budget(database) == (1000, 900, 1)
    assert await is_clean(database)


async def test_budgets_cost_a_statement_only_while_they_are_wanted(
    database, published, recorded, statements
):
    somebody = await make_person(database)
    free = await published(campaigns("id: free, rules: [walk], earns_times: 2"))
    over = await published(campaigns(BUDGET.format(10)))
    ended = EndedCampaigns()

    async def told(rulebook, report):
        with statements() as seen:
            (action,) = await recorded(rulebook, report, ended=ended)
        return action.energy_g, len([sent for sent in seen if not _OF_DRIVER.search(sent.query)])

    assert await told(free, walk(somebody, 500)) == (20, 5)
    at = NOW.replace(hour=1)
    assert await told(over, ride(somebody, at=at)) == (20, 5)
    assert await told(over, walk(somebody, 50)) == (2, 6)
    assert await told(over, walk(somebody, 500)) == (19, 6)
    assert await told(over, walk(somebody, 500)) == (10, 6)  # sees that it has ended
    assert await told(over, walk(somebody, 500)) == (10, 5)
    assert await is_clean(database)


# What the driver asks on its own when it first meets a type.
_OF_DRIVER = re.compile(r"pg_catalog|current_setting\('jit'\)")


async def test_several_campaigns_are_drawn_in_one_batch(database, published, recorded):
    rulebook = await published(
        campaigns(
            "id: b, rules: [walk], earns_times: 3, budget_g: 210",
            "id: a, categories: [mobility], earns_times: 2, budget_g: 130",
        )
    )
    people = [await make_person(database) for _ in range(4)]
    actions = await recorded(
        rulebook,
        walk(people[0], 5_000),
        walk(people[1], 5_000),
        ride(people[2], at=NOW.replace(hour=1)),
        walk(people[3], 5_000),
    )
    assert [
        (action.energy_g, award.get("campaign"), award.get("budget_seq"))
        for action in actions
        for award in action.awards
    ] == [(296, "b", 1), (114, "b", 2), (40, "a", 1), (200, "a", 2)]
    assert await budget(database, "b") == (210, 0, 2)
    assert await budget(database, "a") == (130, 10, 2)
    assert await is_clean(database)


async def test_a_reversal_gives_limits_back_and_budgets_not(database, published, recorded):
    rulebook = await published(campaigns(BUDGET.format(300)))
    somebody = await make_person(database)
    (action,) = await recorded(rulebook, walk(somebody, 7_400))
    assert drawn(action) == [(296, 148, 1, None)]
    await reverse(database, somebody, action.id, NOW)
    assert await budget(database) == (300, 152, 1)
    (again,) = await recorded(rulebook, walk(somebody, 7_500))
    assert drawn(again) == [(296, 146, 2, "296 g per day")]
    assert await is_clean(database)


async def test_raising_a_budget_gives_the_difference_to_processes_that_saw_it_end(
    database, published, recorded
):
    ended = EndedCampaigns()
    first = await published(campaigns(BUDGET.format(100)))
    people = [await make_person(database) for _ in range(4)]
    for one in people[:3]:
        await recorded(first, walk(one, 5_000), ended=ended)
    assert await budget(database) == (100, 0, 1)
    raised = await published(campaigns(BUDGET.format(160)))
    assert await budget(database) == (160, 60, 1)
    (action,) = await recorded(raised, walk(people[3], 5_000), ended=ended)
    assert drawn(action) == [(160, 60, 2, "160 g per campaign")]


async def test_lowering_takes_no_paid_gram_back_and_rolling_back_keeps_the_draws(
    database, published, recorded, switched
):
    first = await published(campaigns(BUDGET.format(1000)))
    people = [await make_person(database) for _ in range(3)]
    await recorded(first, walk(people[0], 5_000))
    lowered = await published(campaigns(BUDGET.format(40)))
    assert await budget(database) == (100, 0, 1)
    ended = EndedCampaigns()
    # A process that has not switched yet finds nothing left, and must not believe that for ever.
    (between,) = await recorded(first, walk(people[1], 5_000), ended=ended)
    assert drawn(between) == [(100, None, None, None)]
    (after,) = await recorded(lowered, walk(people[1], 10), ended=ended)
    assert drawn(after) == [(0, None, None, None)]
    back = await switched(1)
    assert await budget(database) == (1000, 900, 1)
    (action,) = await recorded(back, walk(people[2], 5_000), ended=ended)
    assert drawn(action) == [(200, 100, 2, None)]


async def test_a_campaign_that_a_version_left_out_keeps_its_draws(database, published, recorded):
    first = await published(campaigns(BUDGET.format(150)))
    people = [await make_person(database) for _ in range(2)]
    await recorded(first, walk(people[0], 5_000))
    without = await published(RULES)
    (plain,) = await recorded(without, walk(people[1], 1_000))
    assert drawn(plain) == [(20, None, None, None)]
    again = await published(campaigns(BUDGET.format(150)))
    (action,) = await recorded(again, walk(people[1], 5_000))
    assert drawn(action) == [(150, 50, 2, "150 g per campaign")]


async def test_a_budget_counts_from_the_version_that_brings_it(database, published, recorded):
    """What the running campaign paid before, without a budget, was drawn from nothing."""
    free = await published(campaigns("id: double, rules: [walk], earns_times: 2"))
    people = [await make_person(database) for _ in range(3)]
    (before,) = await recorded(free, walk(people[0], 5_000))
    assert drawn(before) == [(200, 100, None, None)]
    bounded = await published(campaigns(BUDGET.format(150)))
    assert await budget(database) == (150, 150, 0)
    actions = await recorded(bounded, *(walk(one, 5_000) for one in people[1:]))
    assert drawn(*actions) == [(200, 100, 1, None), (150, 50, 2, "150 g per campaign")]
    assert await is_clean(database)


async def test_a_batch_that_is_run_again_draws_once(database, published, settings):
    rulebook = await published(campaigns(BUDGET.format(1000)))
    somebody = await make_person(database)
    await database.pool.execute(FAIL_ONCE.format(state="40001"))
    writer = writer_of(database, rulebook, settings)
    writer.start()
    outcome = await writer.submit(walk(somebody, 5_000, key=key_of("a")))
    copy = await writer.submit(walk(somebody, 5_000, key=key_of("a")))
    await writer.stop()
    assert drawn(outcome.action) == drawn(copy.action) == [(200, 100, 1, None)]
    assert await budget(database) == (1000, 900, 1)
    assert await count(database, "actions", somebody) == 1
