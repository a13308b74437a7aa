"""Allocating, planting, verifying, losing: what an operator tells of many people's trees."""

from datetime import timedelta

import pytest

from service.planting.tree_numbers import draw_number
from service.planting.trees import Status, TreeStatusError
from service.platform.errors import InvalidRequestError, NotFoundError
from service.platform.ids import uuid7
from tests.planting.forestry import (
    PHOTO,
    START,
    advance,
    allocate,
    assert_all_balances,
    balances,
    make_people,
    make_person,
    open_plot,
    open_project,
    pledge,
    statuses,
)

HOUR = timedelta(hours=1)


@pytest.fixture
async def project(database):
    return await open_project(database)


@pytest.fixture
async def plot(database, project):
    return await open_plot(database, project)


async def acts_of(database, plot_id):
    rows = await database.pool.fetch(
        "SELECT act, detail FROM audit_log WHERE object = $1 ORDER BY seq", str(plot_id)
    )
    return [(row["act"], row["detail"].get("trees")) for row in rows]


async def test_a_tree_goes_from_pledged_to_verified_and_its_grams_are_spent(
    database, project, plot
):
    person = await make_person(database, 200)
    made = await pledge(database, person, project, trees=2)
    await allocate(database, plot, 2, START + HOUR)
    assert (await balances(database, person))["pledged"] == 200
    planted = await advance(database, plot, Status.PLANTED, evidence=[PHOTO], now=START + 2 * HOUR)
    assert sorted(planted.trees) == [tree.number for tree in made.trees]
    assert await balances(database, person) == {
        "available": 0,
        "pledged": 0,
        "planted": 200,
        "trees": 2,
    }
    await advance(database, plot, Status.VERIFIED, now=START + 3 * HOUR)
    assert await statuses(database, plot) == {"verified": 2}
    assert await acts_of(database, plot) == [
        ("plot.make", None),
        ("plot.allocate", 2),
        ("plot.planted", 2),
        ("plot.verified", 2),
    ]
    await assert_all_balances(database)


async def test_the_oldest_pledges_are_allocated_first(database, project, plot):
    people = await make_people(database, 3, 200)
    for hours, person in zip((2, 0, 1), people, strict=True):
        await pledge(database, person, project, trees=2, now=START + hours * HOUR)
    await allocate(database, plot, 3, START + 3 * HOUR)
    rows = await database.pool.fetch(
        "SELECT participant_id, count(*) AS n FROM trees WHERE plot_id = $1 GROUP BY 1", plot
    )
    assert {row["participant_id"]: row["n"] for row in rows} == {people[1]: 2, people[2]: 1}


async def test_fewer_are_allocated_when_fewer_wait(database, project, plot):
    await pledge(database, await make_person(database, 100), project)
    report = await allocate(database, plot, 12)
    assert (len(report.trees), report.remaining) == (1, 0)
    with pytest.raises(TreeStatusError):
        await allocate(database, plot, 12)
    # The number of the first call is forgotten with it: what comes later is not taken unasked.
    for _ in range(2):
        await pledge(database, await make_person(database, 100), project)
    assert len((await allocate(database, plot, 1)).trees) == 1
    await assert_all_balances(database)


async def test_a_lost_tree_is_replaced_before_others_and_not_paid_again(database, project, plot):
    first, second = await make_people(database, 2, 100)
    lost = (await pledge(database, first, project)).trees[0].number
    await allocate(database, plot, 1)
    await advance(database, plot, Status.PLANTED)
    await advance(database, plot, Status.VERIFIED)
    await pledge(database, second, project)
    await advance(database, plot, Status.LOST)
    assert (await balances(database, first))["planted"] == 100
    other = await open_plot(database, project, "South 1")
    report = await allocate(database, other, 1)
    assert report.trees == [lost]
    assert await statuses(database, other) == {"replaced": 1}
    await advance(database, other, Status.PLANTED)
    assert await balances(database, first) == {
        "available": 0,
        "pledged": 0,
        "planted": 100,
        "trees": 1,
    }
    spent = await database.pool.fetchval(
        "SELECT count(*) FROM transfers WHERE participant_id = $1 AND cause = 'plant'", first
    )
    assert spent == 1
    await assert_all_balances(database)


async def test_a_tree_lost_before_it_was_planted_is_paid_when_it_is(database, project, plot):
    person = await make_person(database, 100)
    await pledge(database, person, project)
    await allocate(database, plot, 1)
    await advance(database, plot, Status.LOST)
    assert (await balances(database, person))["pledged"] == 100
    await allocate(database, plot, 1)
    await advance(database, plot, Status.PLANTED)
    assert (await balances(database, person))["planted"] == 100
    await assert_all_balances(database)


async def test_only_the_named_trees_move(database, project, plot):
    person = await make_person(database, 300)
    numbers = [tree.number for tree in (await pledge(database, person, project, trees=3)).trees]
    await allocate(database, plot, 3)
    typed = numbers[1].lower().replace("-", "")
    report = await advance(database, plot, Status.PLANTED, numbers=[typed, numbers[2]])
    assert sorted(report.trees) == numbers[1:]
    assert (await balances(database, person))["planted"] == 200
    # The same call again, as after a lost answer: nothing is left to do, nothing is wrong.
    again = await advance(database, plot, Status.PLANTED, numbers=numbers[1:])
    assert (again.trees, again.remaining) == ([], 0)
    await assert_all_balances(database)


async def test_a_step_that_nobody_can_take_is_refused(database, project, plot):
    person = await make_person(database, 200)
    first, second = [tree.number for tree in (await pledge(database, person, project, 2)).trees]
    for status in (Status.PLANTED, Status.VERIFIED, Status.LOST):
        with pytest.raises(TreeStatusError):
            await advance(database, plot, status)
    await allocate(database, plot, 2)
    with pytest.raises(TreeStatusError):
        await advance(database, plot, Status.VERIFIED)
    await advance(database, plot, Status.PLANTED, numbers=[first])
    with pytest.raises(TreeStatusError) as caught:
        await advance(database, plot, Status.VERIFIED, numbers=[first, second])
    assert caught.value.facts == {"trees": [second]}
    assert await statuses(database, plot) == {"planted": 1, "allocated": 1}


async def test_numbers_of_other_trees_are_refused_by_their_place(database, project, plot):
    person = await make_person(database, 200)
    known = (await pledge(database, person, project)).trees[0].number
    await allocate(database, plot, 1)
    elsewhere = await open_project(database)
    other = (await pledge(database, person, elsewhere)).trees[0].number
    for wrong in (other, draw_number(), "SX-0000-0000-0001", "?"):
        with pytest.raises(InvalidRequestError) as caught:
            await advance(database, plot, Status.PLANTED, numbers=[known, wrong])
        assert [fault.pointer for fault in caught.value.errors] == ["#/trees/1"]
    assert await statuses(database, plot) == {"allocated": 1}


async def test_an_unknown_plot_is_not_found(database):
    with pytest.raises(NotFoundError):
        await allocate(database, uuid7(START), 1)
    with pytest.raises(NotFoundError):
        await advance(database, uuid7(START), Status.PLANTED)
