"""A served application for each module, its operator, and a partner for each test."""

import itertools
import re

import pytest

from service.audit.audit import audit
from service.audit.checks import COMPARES
from service.partners.receive import Intake
from service.platform.clock import Clock
from service.platform.database import open_database
from tests.callers import sign_in
from tests.partners.sender import linked_person, make_sender
from tests.people import client_of, publish_rules, running_app, settings_for

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def settings(servers, database_url, tmp_path_factory):
    return settings_for(servers, database_url, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
async def database(settings):
    opened = await open_database(settings, settings.database_url)
    await publish_rules(opened)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
async def app(settings, database):
    async with running_app(settings) as running:
        yield running


@pytest.fixture(scope="module")
async def client(app):
    async with client_of(app) as made:
        yield made


@pytest.fixture(scope="module")
async def other_client(settings, database):
    """A client of a second process on the same servers."""
    async with running_app(settings) as running, client_of(running) as made:
        yield made


@pytest.fixture
def intake(app):
    """What the worker's sweep settles parked events with."""
    return app.state.shared[Intake]


@pytest.fixture(scope="module")
async def operator(client):
    return await sign_in(client, "olga", "operator")


@pytest.fixture
def name(request):
    """A partner's id that no other test has."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return f"{words[:50]}-{next(_numbers)}"


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
