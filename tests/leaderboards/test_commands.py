"""`saxaul leaderboards`, as an operator types it, with and without a running worker."""

import asyncio
from datetime import timedelta

import pytest

from service.leaderboards.keys import Board, period_of
from service.platform.database import database_name
from tests.actions.conftest import RULES
from tests.leaderboards.town import held, lane_state, settle
from tests.people import publish, settings_for
from tests.processes import Instance

pytestmark = pytest.mark.real_processes


@pytest.fixture
def settings(servers, fresh_database_url, tmp_path, lanes):
    return settings_for(servers, fresh_database_url, tmp_path / "home", lanes=lanes)


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


@pytest.fixture
async def saxaul(settings, town):
    """A `saxaul leaderboards` command on the town's servers, at the town's time."""
    town.clock.offset = timedelta()
    async with town.database.transaction() as connection:
        now = town.clock.real_now()
        await publish(connection, {"test.yaml": RULES}, author="a test", note="", now=now)
    instance = Instance(
        settings.home,
        database_url=settings.database_url,
        redis_url=settings.redis_url,
        redis_prefix=settings.redis_prefix,
        lanes=settings.lanes,
    )
    return lambda word: asyncio.to_thread(instance.type, "leaderboards", word)


async def test_check_prints_what_is_wrong_and_rebuild_mends_it(
    saxaul, town, shared, relays, settings
):
    named = f"the database {database_name(settings.database_url)}"
    person = await town.join(region="CN-ZJ")
    await town.walk(person)
    await settle(*relays)
    board = Board("saved", period_of("month", town.today()).name, "CN-ZJ")
    key = shared.layout.board(0, (await lane_state(shared))["generation"], board)
    await shared.redis.zincrby(key, 7, person.bytes)
    drifted = await saxaul("check")
    assert drifted.returncode == 1
    assert drifted.stdout.splitlines() == [
        f"saved {board.period} CN-ZJ {person}: 101 in the ledger, 108 on the board",
        f"1 of 8 scores of {named} differ from the ledger",
    ]
    for relay in relays:
        await relay.release()
    mended = await saxaul("rebuild")
    assert (mended.returncode, mended.stderr) == (0, "")
    clean = await saxaul("check")
    assert (clean.returncode, clean.stdout) == (
        0,
        f"8 scores of {named} are what the ledger says\n",
    )
    assert await held(shared, town.today()) == town.boards()


async def test_what_nobody_relays_is_one_line(saxaul, town, relays):
    await settle(*relays)
    for relay in relays:
        await relay.release()
    await town.walk(await town.join())
    behind = await saxaul("check")
    assert behind.returncode == 1
    assert behind.stderr == "the boards do not catch up with the outbox; is a worker running?\n"


async def test_without_redis_it_is_one_line(saxaul, settings):
    away = Instance(
        settings.home, database_url=settings.database_url, redis_url="redis://u:secret@127.0.0.1:1"
    )
    refused = await asyncio.to_thread(away.type, "leaderboards", "check")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Redis does not answer: ")
    assert refused.stderr.count("\n") == 1
    assert "secret" not in refused.stderr
