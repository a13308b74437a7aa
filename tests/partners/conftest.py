"""A served application for each module, its operator, and a partner for each test."""

import re

import pytest

from service.actions.audit import COMPARES
from service.clock import Clock
from service.database import open_database
from service.ledger.audit import audit
from tests.callers import sign_in
from tests.partners.sender import linked_person, make_sender
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
def name(request):
    """A partner's id that no other test has."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60]


@pytest.fixture
async def metro(operator, name):
    return await make_sender(operator, name)


@pytest.fixture
async def alice(metro):
    """A person whom the metro knows as card-1."""
    return await linked_person(metro, "card-1")


@pytest.fixture(autouse=True)
async def clean_ledger(request, database):
    """Whatever a test did, the ledger must add up afterwards."""
    yield
    clock = Clock()
    async with database.pool.acquire() as connection:
        await clock.refresh(connection)
    report = await audit(database, mode="full", now=clock.now(), more=COMPARES)
    assert report.is_clean, report.differences
