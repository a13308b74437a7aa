"""Limits in a real database: across versions of the rules, for late arrivals, after reversals."""

from datetime import timedelta

import pytest

from service.actions.order import participant_report
from service.audit.audit import audit
from service.platform.acts import Act
from service.rulebooks.publish import Rulebooks, activate
from tests.actions.reports import NOW, SECRET
from tests.ledger.histories import make_person, reverse
from tests.orders import settle
from tests.people import publish

DAY = timedelta(days=1)
RULES = """
program:
  name: Test city
  timezone: Asia/Shanghai
  energy: {ripens: {next_day_at: "07:00"}, expires_after: 72h}
action_types:
  mobility.walk:
    category: mobility
    reported_by: [participant]
    accepted_for: 60d
    attributes:
      steps: {type: integer, minimum: 0, maximum: 100000}
      shoe: {type: string, max_length: 100, required: false}
rules:
"""


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


def rules(*limits, rule="walk", earns="steps * 0.02"):
    listed = ", ".join(f"{{{limit}}}" for limit in limits)
    return (
        RULES + f"  - {{id: {rule}, action: mobility.walk, earns: {earns}, limits: [{listed}]}}\n"
    )


@pytest.fixture
def version(database):
    """Publish rules, or activate an older version by its number; gives what decides then."""

    async def run(wanted):
        async with database.transaction() as connection:
            if isinstance(wanted, int):
                assert await activate(connection, wanted, Act("anna", "", NOW))
                number = wanted
            else:
                files = {"rules.yaml": wanted}
                number = await publish(connection, files, author="anna", note="", now=NOW)
        return await Rulebooks(database).get(number)

    return run


@pytest.fixture
async def somebody(database):
    return await make_person(database)


@pytest.fixture
def walks(database, somebody):
    """Record a walk; gives what it earned and what cut it."""

    async def run(rulebook, steps=5_000, *, ago=timedelta(), now=NOW, **attributes):
        report = participant_report(
            somebody,
            type_="mobility.walk",
            occurred_at=now - ago,
            attributes={"steps": steps, **attributes},
            reporter="participant",
            key=None,
            now=now,
        )
        outcomes = await settle(database, [report], rulebook=rulebook, now=now, secret=SECRET)
        action = outcomes[report].action
        run.last = action.id
        (award,) = action.awards
        return award["energy_g"], award["limited_by"]

    return run


async def is_clean(database, now=NOW):
    return (await audit(database, mode="full", now=now)).differences == []


async def test_a_limit_that_did_not_change_goes_on_in_a_new_version(database, version, walks):
    first = await version(rules("per: day, grams: 250"))
    assert await walks(first) == (100, None)
    second = await version(rules("per: day, grams: 250", earns="steps * 0.04"))
    assert await walks(second) == (150, "250 g per day")
    assert await walks(second) == (0, "250 g per day")
    assert await is_clean(database)


async def test_a_limit_that_a_version_brings_starts_at_0(database, version, walks):
    first = await version(rules("per: day, grams: 250"))
    assert await walks(first) == (100, None)
    second = await version(rules("per: day, count: 1, group: feet", "per: week, grams: 120"))
    assert await walks(second) == (100, None)
    assert await walks(second) == (0, "1 per day")
    third = await version(rules("per: day, grams: 250", "per: week, grams: 120"))
    assert await walks(third) == (20, "120 g per week")
    assert await is_clean(database)


async def test_a_changed_number_counts_on(database, version, walks):
    first = await version(rules("per: day, count: 2"))
    assert [await walks(first) for _ in range(3)] == [(100, None)] * 2 + [(0, "2 per day")]
    raised = await version(rules("per: day, count: 3"))
    assert [await walks(raised) for _ in range(2)] == [(100, None), (0, "3 per day")]
    grams = await version(rules("per: day, grams: 330"))
    assert [await walks(grams) for _ in range(2)] == [(30, "330 g per day"), (0, "330 g per day")]
    lowered = await version(rules("per: day, count: 1"))
    assert await walks(lowered) == (0, "1 per day")
    assert await is_clean(database)


async def test_a_limit_that_comes_back_knows_what_it_counted_and_no_more(database, version, walks):
    first = await version(rules("per: day, count: 3"))
    assert [await walks(first) for _ in range(2)] == [(100, None)] * 2
    without = await version(rules())
    assert [await walks(without) for _ in range(5)] == [(100, None)] * 5
    back = await version(1)
    assert [await walks(back) for _ in range(2)] == [(100, None), (0, "3 per day")]
    again = await version(rules("per: day, count: 4", "per: ever, count: 9"))
    assert [await walks(again) for _ in range(2)] == [(100, None), (0, "4 per day")]
    assert await is_clean(database)


async def test_another_rule_with_the_same_limit_counts_by_itself(database, version, walks):
    first = await version(rules("per: day, count: 1", "per: day, grams: 150, group: feet"))
    assert await walks(first) == (100, None)
    renamed = await version(
        rules("per: day, count: 1", "per: day, grams: 150, group: feet", rule="stroll")
    )
    assert await walks(renamed) == (50, "150 g per day")
    assert await walks(renamed) == (0, "1 per day")
    assert await is_clean(database)


async def test_late_arrivals_count_in_the_period_in_which_they_happened(database, version, walks):
    """NOW is Saturday, 21 November, noon in Shanghai."""
    book = await version(
        rules(
            "per: day, count: 2",
            "per: week, count: 3",
            "per: month, count: 4",
            "per: year, count: 5",
        )
    )
    assert await walks(book, ago=12 * DAY / 24 + timedelta(seconds=1)) == (100, None)
    assert [await walks(book) for _ in range(3)] == [(100, None)] * 2 + [(0, "2 per day")]
    assert await walks(book, ago=2 * DAY) == (0, "3 per week")
    assert [await walks(book, ago=8 * DAY) for _ in range(2)] == [
        (100, None),
        (0, "4 per month"),
    ]
    assert [await walks(book, ago=30 * DAY) for _ in range(2)] == [
        (100, None),
        (0, "5 per year"),
    ]
    new_year = NOW + 45 * DAY
    assert await walks(book, now=new_year) == (100, None)
    assert await walks(book, now=new_year, ago=10 * DAY) == (0, "5 per year")
    assert await is_clean(database, new_year)


async def test_ever_is_for_ever_and_by_is_for_each_value(database, version, walks):
    book = await version(rules("per: ever, count: 1, by: shoe", "per: ever, grams: 250"))
    assert await walks(book, shoe="boot") == (100, None)
    assert await walks(book, shoe="boot", ago=40 * DAY) == (0, "1 per ever")
    assert await walks(book, shoe="sandal") == (100, None)
    assert await walks(book) == (50, "250 g per ever")
    assert await walks(book, shoe="clog") == (0, "250 g per ever")
    assert await is_clean(database)


async def test_an_award_of_0_g_uses_no_count(database, version, walks):
    book = await version(rules("per: day, count: 2", "per: day, grams: 110"))
    assert await walks(book, 0) == (0, None)
    assert await walks(book, 20) == (0, None)
    assert await walks(book) == (100, None)
    assert await walks(book) == (10, "110 g per day")
    assert await walks(book) == (0, "2 per day")
    assert await is_clean(database)


async def test_a_reversal_gives_back_what_its_own_award_used(database, version, walks, somebody):
    book = await version(rules("per: day, count: 2", "per: week, grams: 150"))
    assert await walks(book) == (100, None)
    assert await walks(book) == (50, "150 g per week")
    await reverse(database, somebody, walks.last, NOW)
    assert await walks(book, 1_000) == (20, None)
    assert await walks(book) == (0, "2 per day")
    await reverse(database, somebody, walks.last, NOW)
    assert await walks(book) == (0, "2 per day")
    assert await is_clean(database)
