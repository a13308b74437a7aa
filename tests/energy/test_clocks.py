"""Processes whose clocks differ: time inside a book never runs back, whoever looks."""

from datetime import timedelta

import pytest

from service.audit.audit import audit
from service.energy.bubbles import BubbleExpiredError
from tests.ledger.histories import (
    EXPIRES_AFTER,
    RIPENS_AFTER,
    START,
    award,
    bubble_of,
    collect,
    expire,
    make_person,
)

SOON = timedelta(minutes=2)


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


async def times_of(database, person):
    rows = await database.pool.fetch(
        "SELECT at FROM transfers WHERE participant_id = $1 ORDER BY seq", person
    )
    return [row["at"] for row in rows]


async def is_clean(database, now):
    report = await audit(database, mode="full", now=now + timedelta(days=1))
    assert report.differences == []
    return report.is_clean


async def test_what_is_ripe_by_the_books_time_is_collected_by_a_clock_that_is_behind(database):
    person = await make_person(database)
    bubble = await award(database, person, 100)
    ripe = START + RIPENS_AFTER
    await award(database, person, 10, now=ripe + SOON)
    collected = await collect(database, person, bubble, ripe - SOON)
    assert collected.collected_g == 100
    assert (await times_of(database, person))[-1] == ripe + SOON
    assert await is_clean(database, ripe)


async def test_what_ended_by_the_books_time_is_lost_also_for_a_clock_that_is_behind(database):
    person = await make_person(database)
    bubble = await award(database, person, 100)
    end = START + RIPENS_AFTER + EXPIRES_AFTER
    await award(database, person, 10, now=end + SOON)
    with pytest.raises(BubbleExpiredError):
        await collect(database, person, bubble, end - SOON)
    assert (await bubble_of(database, person, bubble)).remaining_g == 100
    assert await is_clean(database, end)


async def test_a_sweep_whose_clock_is_behind_books_after_what_the_book_booked(database):
    person = await make_person(database)
    bubble = await award(database, person, 100)
    end = START + RIPENS_AFTER + EXPIRES_AFTER
    await award(database, person, 10, now=end + 3 * SOON)
    assert await expire(database, end + SOON) == (1, True)
    assert (await bubble_of(database, person, bubble)).expired_g == 100
    times = await times_of(database, person)
    assert times == sorted(times)
    assert times[-1] == end + 3 * SOON
    assert await is_clean(database, end)
