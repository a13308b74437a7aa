"""Pledging and cancelling: energy, stock and board move together or not at all."""

import asyncio
from datetime import date, timedelta

import pytest

from service.ledger.books import SuspendedError
from service.participants.operate import set_suspended
from service.planting.pledge import PledgeNotCancellableError, SeasonClosedError
from service.planting.stock import SoldOutError
from service.planting.trees import TreeStatusError
from service.platform.errors import ConflictError, InsufficientEnergyError, NotFoundError
from service.platform.ids import uuid7
from tests import orders
from tests.ledger.histories import RULEBOOK
from tests.planting.forestry import (
    START,
    allocate,
    assert_all_balances,
    balances,
    by_operator,
    cancel,
    make_people,
    make_person,
    open_plot,
    open_project,
    pledge,
    statuses,
    until_somebody_waits,
)

DAY = timedelta(days=1)


async def outcome(awaitable):
    try:
        return await awaitable
    except ConflictError as error:
        return error


async def test_a_pledge_reserves_energy_and_stock_and_counts_on_the_board(database):
    person = await make_person(database, 350, region="CN-ZJ")
    project = await open_project(database)
    made = await pledge(database, person, project, trees=3)
    assert await balances(database, person) == {
        "available": 50,
        "pledged": 300,
        "planted": 0,
        "trees": 3,
    }
    body = await database.pool.fetchval("SELECT body FROM outbox WHERE participant_id = $1", person)
    assert body == {"day": "2026-11-21", "deltas": [[person.hex, "trees", 3, "CN-ZJ"]]}
    assert len({tree.number for tree in made.trees}) == 3
    await assert_all_balances(database)


async def test_a_cancelled_pledge_gives_all_back_once(database):
    person = await make_person(database, 300, region="CN-ZJ")
    project = await open_project(database)
    made = await pledge(database, person, project, trees=3)
    await database.pool.execute(
        "UPDATE participants SET region = 'CN-GS' WHERE participant_id = $1", person
    )
    first = await cancel(database, person, made.id, START + DAY)
    with pytest.raises(PledgeNotCancellableError):
        await cancel(database, person, made.id, START + 2 * DAY)
    assert first.cancelled_at == START + DAY
    assert await balances(database, person) == {
        "available": 300,
        "pledged": 0,
        "planted": 0,
        "trees": 0,
    }
    rows = await database.pool.fetch(
        "SELECT body FROM outbox WHERE participant_id = $1 ORDER BY id", person
    )
    # Taken back where and as many as were counted, in the period of the cancellation.
    assert [row["body"]["deltas"][0][2:] for row in rows] == [[3, "CN-ZJ"], [-3, "CN-ZJ"]]
    assert rows[1]["body"]["day"] == "2026-11-22"
    await assert_all_balances(database)


async def test_a_pledge_with_an_allocated_tree_stays(database):
    person = await make_person(database, 200)
    project = await open_project(database)
    made = await pledge(database, person, project, trees=2)
    await allocate(database, await open_plot(database, project), 1)
    with pytest.raises(PledgeNotCancellableError):
        await cancel(database, person, made.id)
    assert (await balances(database, person))["pledged"] == 200
    await assert_all_balances(database)


async def test_a_strangers_pledge_cannot_be_cancelled(database):
    person, stranger = await make_person(database, 100), await make_person(database)
    made = await pledge(database, person, await open_project(database))
    with pytest.raises(NotFoundError):
        await cancel(database, stranger, made.id)


async def test_too_little_energy_is_refused_with_both_amounts(database):
    person = await make_person(database, 299)
    project = await open_project(database)
    with pytest.raises(InsufficientEnergyError) as caught:
        await pledge(database, person, project, trees=3)
    assert caught.value.facts == {"needed_g": 300, "available_g": 299}
    await assert_all_balances(database)


async def test_more_trees_than_are_left_are_refused(database):
    person = await make_person(database, 1_000)
    project = await open_project(database, capacity=10, funded=4)
    await pledge(database, person, project, trees=3)
    with pytest.raises(SoldOutError) as caught:
        await pledge(database, person, project, trees=2)
    assert caught.value.facts == {"trees_left": 1}
    await pledge(database, person, project, trees=1)
    await assert_all_balances(database)


async def test_a_cancelled_pledge_can_be_bought_by_somebody_else(database):
    first, second = await make_people(database, 2, 100)
    project = await open_project(database, capacity=1)
    made = await pledge(database, first, project)
    assert isinstance(await outcome(pledge(database, second, project)), SoldOutError)
    await cancel(database, first, made.id)
    await pledge(database, second, project)
    await assert_all_balances(database)


@pytest.mark.parametrize(
    ("first", "until", "is_open"),
    [
        (date(2026, 11, 21), date(2026, 11, 22), True),
        (date(2026, 11, 22), date(2026, 12, 1), False),
        (date(2026, 11, 1), date(2026, 11, 21), False),
    ],
)
async def test_a_season_holds_from_its_first_day_and_is_over_on_the_last_named(
    database, first, until, is_open
):
    person = await make_person(database, 100)
    project = await open_project(database, season_from=first, season_until=until)
    if is_open:
        await pledge(database, person, project)
    else:
        with pytest.raises(SeasonClosedError):
            await pledge(database, person, project)


async def test_an_unknown_project_is_not_found(database):
    with pytest.raises(NotFoundError):
        await pledge(database, await make_person(database, 100), uuid7(START))


async def test_a_suspended_person_moves_nothing(database):
    person = await make_person(database, 200)
    project = await open_project(database)
    made = await pledge(database, person, project)
    await set_suspended(database, person, suspended=True, reason="?", act=by_operator())
    with pytest.raises(SuspendedError):
        await pledge(database, person, project)
    with pytest.raises(SuspendedError):
        await cancel(database, person, made.id)


async def test_of_fifty_pledges_at_once_for_ten_trees_exactly_ten_are_sold(database):
    people = await make_people(database, 50, 100)
    project = await open_project(database, capacity=10)
    outcomes = await asyncio.gather(
        *(outcome(pledge(database, person, project)) for person in people)
    )
    refused = [found for found in outcomes if isinstance(found, SoldOutError)]
    assert len(refused) == 40
    stock = await database.pool.fetchrow("SELECT * FROM stock WHERE project_id = $1", project)
    assert (stock["for_sale"], stock["pledged"]) == (10, 10)
    await assert_all_balances(database)


async def test_one_person_at_once_cannot_spend_the_same_energy_twice(database):
    person = await make_person(database, 300)
    project = await open_project(database)
    outcomes = await asyncio.gather(*(outcome(pledge(database, person, project)) for _ in range(8)))
    assert sum(isinstance(found, InsufficientEnergyError) for found in outcomes) == 5
    await assert_all_balances(database)


async def test_cancelling_and_allocating_at_once_end_in_one_of_both(database):
    people = await make_people(database, 16, 100)
    project = await open_project(database)
    plot = await open_plot(database, project)
    made = [await pledge(database, person, project) for person in people]
    acts = []
    for person, pledged in zip(people, made, strict=True):
        acts += [allocate(database, plot, 1), cancel(database, person, pledged.id)]
    outcomes = await asyncio.gather(*(outcome(act) for act in acts))
    refused = sum(isinstance(found, PledgeNotCancellableError) for found in outcomes)
    assert await statuses(database, project) == {"allocated": refused, "cancelled": 16 - refused}
    assert 0 < refused < 16
    await assert_all_balances(database)


async def test_an_allocation_that_waited_for_a_cancellation_sees_it(database):
    person = await make_person(database, 100)
    project = await open_project(database)
    plot = await open_plot(database, project)
    made = await pledge(database, person, project)
    async with database.transaction() as connection:
        await orders.cancel(connection, person, made.id, rulebook=RULEBOOK, now=START)
        allocating = asyncio.create_task(outcome(allocate(database, plot, 1)))
        await until_somebody_waits(database, allocating)
    assert isinstance(await allocating, TreeStatusError)
    assert await statuses(database, project) == {"cancelled": 1}
    await assert_all_balances(database)


async def test_a_thousand_trees_take_as_many_statements_as_one(database):
    person = await make_person(database, 200_000)
    project = await open_project(database)
    counts = []
    for trees in (1, 1, 998):
        statements = []
        async with database.pool.acquire() as connection:
            with connection.query_logger(lambda record: statements.append(record.query)):  # noqa: B023
                await pledge_on(connection, person, project, trees)
        counts.append(len(statements))
    # The first one also teaches the connection its types.
    assert counts[1] == counts[2] == 6
    await assert_all_balances(database)


async def pledge_on(connection, person, project, trees):
    async with connection.transaction():
        await orders.pledge(connection, person, project, trees, rulebook=RULEBOOK, now=START)
