"""A served application for each module, on a database that the tests can also look into."""

import pytest

from service.database import open_database
from tests.callers import sign_in
from tests.people import served, settings_for


@pytest.fixture(scope="module")
def settings(servers, database_url, tmp_path_factory):
    return settings_for(servers, database_url, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
async def client(settings):
    async with served(settings) as made:
        yield made


@pytest.fixture(scope="module")
async def database(settings):
    opened = await open_database(settings, settings.database_url)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
async def operator(client):
    return await sign_in(client, "olga", "operator")


@pytest.fixture
async def alice(client, request):
    return await sign_in(client, f"alice of {request.node.name}"[:200])
