"""Fixtures of a served application for a whole module, for the `conftest.py` that imports them."""

import pytest

from service.platform.database import open_database
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
    """Both doors to the database that the application is on."""
    opened = await open_database(settings, settings.database_url)
    yield opened
    await opened.close()
