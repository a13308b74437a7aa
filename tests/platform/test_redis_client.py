"""The client of Redis when more wait for a connection than there are."""

import asyncio

import pytest

from service.platform.redis_client import open_redis


@pytest.fixture
async def client(servers):
    """A client with one connection."""
    joint = "&" if "?" in servers.redis_url else "?"
    async with open_redis(f"{servers.redis_url}{joint}max_connections=1") as made:
        yield made


async def test_who_waits_for_a_connection_gets_one(client):
    assert await asyncio.gather(*(client.echo("here") for _ in range(100))) == [b"here"] * 100


async def test_who_gives_up_waiting_takes_no_turn_from_the_others(client):
    for _ in range(10):
        asking = [asyncio.create_task(client.echo("here")) for _ in range(120)]
        # One after the other, so that one of them has just been told that it is his turn.
        for impatient in asking[1:100]:
            await asyncio.sleep(0)
            impatient.cancel()
        assert await asyncio.gather(*asking[100:]) == [b"here"] * 20
