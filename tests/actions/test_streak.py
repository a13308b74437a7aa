"""Streaks beside a plain set of days: in order, late, with gaps, and longer than the window."""

from datetime import date, timedelta
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from service.actions.streak import mark_active, streak_days
from tests.actions.reports import NOW, walk

START = date(2026, 1, 1)
LATE_DAYS_MAX = 60


def empty_book():
    return SimpleNamespace(active_days=0, active_anchor=None, active_before=0)


def plain_streak(active, day):
    run = 0
    while day - timedelta(days=run + 1) in active:
        run += 1
    return run


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0, 1, 1, 1, 1, 2, 3, 70]), st.integers(0, LATE_DAYS_MAX)),
        max_size=120,
    )
)
def test_a_streak_is_what_a_set_of_days_says(steps):
    """Each step: time goes on by so many days, then an action arrives so many days late."""
    book, active, today = empty_book(), set(), START
    for forward, late in steps:
        today += timedelta(days=forward)
        day = today - timedelta(days=late)
        assert streak_days(book, day) == plain_streak(active, day)
        mark_active(book, day)
        active.add(day)
        assert -(2**63) <= book.active_days < 2**63


@given(st.integers(65, 400), st.integers(1, 59))
def test_a_streak_outlives_the_window_and_a_late_day_joins_two(length, gap):
    book = empty_book()
    days = [START + timedelta(days=number) for number in range(length)]
    missing = days[-gap - 1]
    for day in days:
        if day != missing:
            mark_active(book, day)
    following = days[-1] + timedelta(days=1)
    assert streak_days(book, following) == gap
    mark_active(book, missing)
    assert streak_days(book, following) == length


async def test_each_action_keeps_the_streak_that_decided_it(database, person, record):
    somebody = await person()
    streaks = []
    for late in (3, 2, 1, 0, 0, 5, 4):
        report = walk(somebody, 10, at=NOW - timedelta(days=late))
        streaks.append((await record([report]))[report].action.streak_days)
    assert streaks == [0, 1, 2, 3, 3, 0, 1]
    report = walk(somebody, 10)
    assert (await record([report]))[report].action.streak_days == 5
