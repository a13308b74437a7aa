"""A town, and relays that carry its bookings to Redis."""

import pytest

from service.leaderboards.boards import Boards
from service.leaderboards.keys import Layout
from service.leaderboards.rebuild import prepare_lanes
from service.leaderboards.relay import Shared
from service.platform.clock import Clock
from service.platform.redis_client import open_redis
from tests.actions import conftest as actions
from tests.actions.reports import NOW
from tests.leaderboards.town import Town, relays_of

rulebook = actions.rulebook


@pytest.fixture
def shards():
    return 1


@pytest.fixture
def lanes():
    return 2


@pytest.fixture
async def shared(settings, database, redis, rulebook, shards, lanes):  # noqa: PLR0917
    """What relays work with; the clock stands at noon of a Saturday in Shanghai, and ticks."""
    clock = Clock()
    clock.offset = NOW - clock.real_now()
    client = open_redis(settings.redis_url)
    layout = Layout(settings.redis_prefix, shards)
    async with database.transaction() as connection:
        await prepare_lanes(connection, lanes, clock.real_now())
    yield Shared(database, client, layout, lanes, clock, lambda: rulebook.program)
    await client.aclose()


@pytest.fixture
def town(shared, rulebook):
    return Town(shared, rulebook)


@pytest.fixture
def relays(shared):
    """One relay a lane, as one worker has them."""
    return relays_of(shared)


@pytest.fixture
def boards(shared):
    return Boards(shared.redis, shared.layout)
