"""What people read all day: beside those who write, many at once, and after connections broke."""

import asyncio

import asyncpg
import pytest

from service.platform.database import open_database
from tests.callers import sign_in
from tests.people import eventually, served, settings_for

MINE = ("", "/bubbles", "/actions", "/statement", "/pledges", "/suggestions", "/links")
READS = [f"/v1/me{path}" for path in MINE] + ["/v1/projects"]


@pytest.fixture
def settings(servers, fresh_database_url, tmp_path):
    # Few connections each, so that there is waiting; who is held is held for as long as it takes.
    pools = {"database_pool": 2, "writer_pool": 2, "statement_timeout_ms": 60_000}
    return settings_for(servers, fresh_database_url, tmp_path / "home", **pools)


@pytest.fixture
async def client(settings):
    async with served(settings) as made:
        yield made


@pytest.fixture
async def other(settings):
    """A connection of somebody else."""
    connection = await asyncpg.connect(settings.database_url)
    yield connection
    await connection.close()


async def test_who_reads_does_not_wait_for_who_writes(client, other):
    alice = await sign_in(client, "alice")
    await alice.walks()
    async with other.transaction():
        await other.execute("LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE")
        held = [
            asyncio.create_task(alice.post("/v1/me/bubbles/collect", key=f"collect-{n:020d}"))
            for n in range(6)
        ]

        async def their_lane_is_held():
            # A transaction would see the first count again.
            await other.execute("SELECT pg_stat_clear_snapshot()")
            return await other.fetchval(_WAITING) == 1

        await eventually(their_lane_is_held)
        for path in READS:
            assert (await alice.get(path)).status_code == 200, path
        assert not any(task.done() for task in held)
    answers = await asyncio.gather(*held)
    assert {answer.status_code for answer in answers} == {200}


_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""


async def test_who_reads_waits_for_a_connection_and_is_not_refused(client):
    alice = await sign_in(client, "alice")
    await alice.walks()
    answers = await asyncio.gather(*[alice.get(path) for path in READS * 20])
    assert {answer.status_code for answer in answers} == {200}


async def test_a_lost_connection_is_made_anew(client, other):
    alice = await sign_in(client, "alice")
    for _ in range(3):
        assert (await alice.get("/v1/me")).status_code == 200
        await other.execute(_END_ALL)

        async def everything_is_read():
            answers = await asyncio.gather(*[alice.get(path) for path in READS])
            assert {answer.status_code for answer in answers} <= {200, 503}
            return all(answer.status_code == 200 for answer in answers)

        await eventually(everything_is_read)


_END_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""


async def test_what_only_reads_cannot_write(settings):
    database = await open_database(settings, settings.database_url)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await database.reads.fetch("UPDATE books SET saved_g = saved_g + 1")
    await database.close()
