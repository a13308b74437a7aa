"""Everything about boards on a Redis Cluster: no script or command may touch two slots."""

import asyncio
import random
from datetime import timedelta

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError

from service.instance.redis import _find_program
from service.leaderboards.boards import Boards
from service.leaderboards.drift import find_drift
from service.leaderboards.keys import Board
from service.leaderboards.rebuild import request_rebuild
from tests.leaderboards.town import Town, held, relays_of, settle

_SLOTS = 16_384


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


@pytest.fixture
async def cluster(tmp_path):
    """A cluster of one node: it refuses what concerns two slots like one of many."""
    # The node also listens at the port 10,000 above.
    port = random.randrange(20_000, 32_000)
    node = await asyncio.create_subprocess_exec(
        *(_find_program(), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(tmp_path)),
        *("--cluster-enabled", "yes", "--save", "", "--appendonly", "no"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(20):
            await _join_all_slots(port)
        async with RedisCluster(host="127.0.0.1", port=port, socket_timeout=1) as client:
            yield client
    finally:
        node.terminate()
        await node.wait()


async def _join_all_slots(port):
    async with Redis(port=port) as client:
        while True:
            try:
                await client.execute_command("CLUSTER", "ADDSLOTS", *range(_SLOTS))
                break
            except RedisConnectionError:
                await asyncio.sleep(0.02)
        while True:
            if b"cluster_state:ok" in await client.execute_command("CLUSTER", "INFO"):
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("shards", [5])
async def test_boards_live_on_a_cluster(shared, rulebook, cluster):
    shared = replace(shared, redis=cluster)
    town, relays = Town(shared, rulebook), relays_of(shared)
    people = [await town.join(region="CN-ZJ") for _ in range(12)]
    await settle(*relays)
    for number, person in enumerate(people):
        await town.walk(person, km=number + 1)
    town.later(timedelta(days=1))
    for person in people:
        await town.collect(person)
    await town.erase(people[0])
    await settle(*relays)
    assert await held(shared, town.today()) == town.boards()

    boards, board = Boards(cluster, shared.layout), Board("saved", "ever", "CN-ZJ")
    page = await boards.page(board, after=None, limit=5)
    assert (page.size, [entry.rank for entry in page.entries]) == (11, [1, 2, 3, 4, 5])
    standing = await boards.standing(board, people[3].bytes, around=2)
    assert (standing.rank, len(standing.entries)) == (9, 5)

    async with shared.database.transaction() as connection:
        await request_rebuild(connection, shared.clock.real_now())
    await settle(*relays)
    assert await held(shared, town.today()) == town.boards()
    assert (await find_drift(shared)).wrong == []
