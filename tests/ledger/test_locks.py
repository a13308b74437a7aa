"""Books are locked in the order of their ids, whatever order they lie in."""

import asyncio

import pytest

from service.ledger.books import lock_books, lock_free_books
from service.platform.database import open_database
from tests.actions.reports import blocked_backends
from tests.ledger.histories import make_person
from tests.people import settings_for


@pytest.fixture
async def database(servers, fresh_database_url, tmp_path):
    settings = settings_for(servers, fresh_database_url, tmp_path)
    opened = await open_database(settings, settings.database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def people(database):
    """Two people in the order of their ids; the first one's book lies behind the second's."""
    one, other = sorted([await make_person(database) for _ in range(2)])
    await database.pool.execute("UPDATE books SET suspended = false WHERE participant_id = $1", one)
    return one, other


async def test_who_waits_for_a_book_holds_none_that_comes_after_it(
    fresh_database_url, database, people
):
    """Else two who want both, each holding one, would wait for each other."""
    one, other = people

    async def lock_both():
        async with database.transaction() as connection:
            # Rows are then found in the order in which they lie.
            for plan in ("enable_indexscan", "enable_bitmapscan", "enable_indexonlyscan"):
                await connection.execute(f"SET LOCAL {plan} = off")
            return await lock_books(connection, [other, one])

    async with database.transaction() as holder:
        assert [*await lock_free_books(holder, [one])] == [one]
        waiting = asyncio.create_task(lock_both())
        await blocked_backends(fresh_database_url)
        async with database.transaction() as third:
            assert [*await lock_free_books(third, [other])] == [other]
    assert [*await waiting] == [one, other]
