"""One act over many people: chunks that stay, whatever ends the call between them.

Chunks are smaller here than in production, so that ten people make three of them.
"""

import asyncio
from contextlib import suppress

import pytest

from service.ledger.books import lock_book
from service.planting import chunks
from service.planting.chunks import PeopleBusyError
from service.planting.trees import Status
from tests.planting.forestry import (
    PHOTO,
    advance,
    allocate,
    assert_all_balances,
    make_people,
    make_person,
    open_plot,
    open_project,
    pledge,
    statuses,
    until_somebody_waits,
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "BOOKS_MAX", 4)


@pytest.fixture
async def project(database):
    return await open_project(database)


@pytest.fixture
async def plot(database, project):
    return await open_plot(database, project)


@pytest.fixture
async def people(database, project):
    """Ten people with one tree each, in the order in which they get a place."""
    people = sorted(await make_people(database, 10, 100))
    for person in people:
        await pledge(database, person, project)
    return people


async def die_at(database, person, act):
    """Begin the act, and end it like a crash where it needs the book of this person."""
    async with database.transaction() as connection:
        await lock_book(connection, person)
        task = asyncio.create_task(act)
        await until_somebody_waits(database, task)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def acts_of(database, plot_id):
    rows = await database.pool.fetch(
        "SELECT act, detail FROM audit_log WHERE object = $1 ORDER BY seq", str(plot_id)
    )
    return [(row["act"], row["detail"].get("trees")) for row in rows]


async def test_each_chunk_has_its_entry_in_the_log(database, plot, people):
    report = await allocate(database, plot, 9)
    assert (len(report.trees), report.remaining) == (9, 0)
    assert (await acts_of(database, plot))[1:] == [("plot.allocate", n) for n in (4, 4, 1)]
    await advance(database, plot, Status.PLANTED)
    assert (await acts_of(database, plot))[4:] == [("plot.planted", n) for n in (4, 4, 1)]
    await assert_all_balances(database)


async def test_the_next_call_goes_on_where_a_broken_one_stopped(database, project, plot, people):
    await die_at(database, people[9], allocate(database, plot, 10))
    assert await statuses(database, project) == {"allocated": 8, "pledged": 2}
    for _ in range(3):
        await pledge(database, await make_person(database, 100), project)
    assert len((await allocate(database, plot, 10)).trees) == 2
    assert await statuses(database, project) == {"allocated": 10, "pledged": 3}
    planting = advance(database, plot, Status.PLANTED, evidence=[PHOTO])
    await die_at(database, people[5], planting)
    assert await statuses(database, plot) == {"planted": 4, "allocated": 6}
    await advance(database, plot, Status.PLANTED, evidence=[PHOTO])
    assert await statuses(database, plot) == {"planted": 10}
    await assert_all_balances(database)


async def test_a_smaller_call_after_a_broken_one_does_no_more_than_it_says(database, plot, people):
    await die_at(database, people[4], allocate(database, plot, 10))
    report = await allocate(database, plot, 1)
    assert (len(report.trees), report.remaining) == (1, 5)
    report = await allocate(database, plot, 100)
    assert (len(report.trees), report.remaining) == (5, 0)
    await assert_all_balances(database)


async def test_a_book_that_is_held_too_long_ends_the_call(database, plot, people):
    async with database.transaction() as connection:
        await lock_book(connection, people[9])
        with pytest.raises(PeopleBusyError):
            await allocate(database, plot, 10)
    assert await statuses(database, plot) == {"allocated": 8}


async def test_calls_at_once_move_no_tree_twice(database, project, plot, people):
    other = await open_plot(database, project, "South 1")
    first, second = await asyncio.gather(allocate(database, plot, 5), allocate(database, other, 5))
    assert len({*first.trees, *second.trees}) == 10
    assert await statuses(database, plot) == await statuses(database, other) == {"allocated": 5}
    await asyncio.gather(*(advance(database, plot, Status.PLANTED) for _ in range(4)))
    assert await statuses(database, plot) == {"planted": 5}
    await assert_all_balances(database)


async def test_a_call_that_is_too_long_says_what_remains(database, plot, people, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNKS_MAX", 2)
    report = await allocate(database, plot, 10)
    assert (len(report.trees), report.remaining) == (8, 2)
    assert len((await allocate(database, plot, 10)).trees) == 2
    report = await advance(database, plot, Status.PLANTED)
    assert (len(report.trees), report.remaining) == (8, 2)
    report = await advance(database, plot, Status.PLANTED)
    assert (len(report.trees), report.remaining) == (2, 0)
    await assert_all_balances(database)
