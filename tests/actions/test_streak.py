"""Streaks beside a plain set of days: in order, late, with gaps, and longer than the window."""

from datetime import date, timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.actions.streak import mark_active, streak_days
from service.audit.audit import audit
from service.audit.checks import COMPARES
from tests.actions.conftest import RULES
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


@pytest.mark.parametrize(
    "corruption",
    [
        ("UPDATE books SET active_days = -1, active_before = 500 WHERE", "active days"),
        ("UPDATE books SET active_anchor = active_anchor + 1 WHERE", "active days"),
        ("UPDATE actions SET streak_days = 9 WHERE seq = 3 AND", "streak of action"),
    ],
)
async def test_the_audit_counts_streaks_anew(database, person, record, rulebook, corruption):
    change, what = corruption
    await database.pool.execute(
        "INSERT INTO rulebooks (version, sha256, files, author, note, created_at)"
        " VALUES (1, $1, $2, '', '', $3) ON CONFLICT DO NOTHING",
        bytes.fromhex(rulebook.sha256),
        {"test.yaml": RULES},
        NOW,
    )
    somebody = await person()
    for late in (3, 2, 1, 5, 0):
        await record([walk(somebody, 10, at=NOW - timedelta(days=late))])
    run = partial(audit, database, mode="full", now=NOW, participant_id=somebody, more=COMPARES)
    assert set((await run()).found) == {"people"}
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(f"{change} participant_id = $1", somebody)
    report = await run()
    assert "streaks" in report.found
    assert any(what in difference.what for difference in report.differences)


async def test_each_action_keeps_the_streak_that_decided_it(database, person, record):
    somebody = await person()
    streaks = []
    for late in (3, 2, 1, 0, 0, 5, 4):
        report = walk(somebody, 10, at=NOW - timedelta(days=late))
        streaks.append((await record([report]))[report].action.streak_days)
    assert streaks == [0, 1, 2, 3, 3, 0, 1]
    report = walk(somebody, 10)
    assert (await record([report]))[report].action.streak_days == 5
