"""A served application for each module, or two for a test, with the database that they are on."""

from datetime import timedelta

import pytest

from service.audit.audit import audit
from service.platform.clock import Clock
from service.platform.database import open_database
from tests.callers import Caller, sign_in
from tests.module_app import client, database, settings
from tests.people import served, settings_for

__all__ = ["client", "database", "settings"]


@pytest.fixture(scope="module")
async def operator(client):
    return await sign_in(client, "olga", "operator")


@pytest.fixture
async def alice(client, request):
    return await sign_in(client, f"alice of {request.node.name}"[:200])


@pytest.fixture
def own_settings(servers, fresh_database_url, tmp_path):
    return settings_for(servers, fresh_database_url, tmp_path)


@pytest.fixture
async def own_database(own_settings):
    """A database for one test, whose books must be clean at the end, however far the clock went."""
    opened = await open_database(own_settings, own_settings.database_url)
    yield opened
    at = Clock().real_now() + timedelta(days=9)
    assert (await audit(opened, mode="full", now=at)).differences == []
    await opened.close()


@pytest.fixture
async def processes(own_settings, own_database):
    """Two API processes on one database."""
    async with served(own_settings) as one, served(own_settings) as two:
        yield one, two


@pytest.fixture
def through(processes):
    """Somebody who can ask either process."""

    async def sign(name, *role):
        first = await sign_in(processes[0], name, *role)
        return [Caller(client, first.headers, first.participant_id) for client in processes]

    return sign
