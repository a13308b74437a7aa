"""Questions of many that are asked in one trip."""

import asyncio

import pytest

from service.platform.together import Together


@pytest.fixture
def trips():
    """Which questions were asked in which trip."""
    return []


@pytest.fixture
def together(trips):
    async def ask_all(questions):
        trips.append(questions)
        await asyncio.sleep(0)
        if "unknown" in questions:
            raise LookupError
        return [question.upper() for question in questions]

    return Together(ask_all)


async def test_who_asks_at_once_shares_a_trip_and_has_an_own_answer(together, trips):
    answers = await asyncio.gather(*map(together.ask, ("a", "b", "a")))
    assert answers == ["A", "B", "A"]
    assert trips == [["a", "b", "a"]]


async def test_a_trip_under_way_answers_nobody_who_comes_later(together, trips):
    first = together.ask("a")
    while not trips:  # noqa: ASYNC110 - the trip itself tells nobody
        await asyncio.sleep(0)
    assert await together.ask("b") == "B"
    assert await first == "A"
    assert trips == [["a"], ["b"]]


async def test_who_goes_away_takes_nothing_from_the_others(together):
    impatient, patient = together.ask("a"), together.ask("b")
    impatient.cancel()
    assert await patient == "B"
    assert await together.ask("c") == "C"


async def test_a_trip_that_fails_is_told_to_everybody_and_the_next_one_goes(together):
    told = await asyncio.gather(*map(together.ask, ("a", "unknown")), return_exceptions=True)
    assert [type(answer) for answer in told] == [LookupError, LookupError]
    assert await together.ask("a") == "A"


async def test_a_trip_is_of_bounded_size(together, trips):
    answers = await asyncio.gather(*(together.ask("a") for _ in range(200)))
    assert answers == ["A"] * 200
    assert [len(questions) for questions in trips] == [64, 64, 64, 8]
