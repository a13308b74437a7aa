"""A running instance with a partner."""

import uuid

import pytest

from tests.databases import cloned
from tests.kit.partner.city import found
from tests.processes import Instance


@pytest.fixture(scope="session")
async def instance(tmp_path_factory, servers, template_database):
    async with cloned(servers, template_database) as database_url:
        started = Instance(
            tmp_path_factory.mktemp("partners"),
            database_url=database_url,
            redis_url=servers.redis_url,
            redis_prefix=f"t{uuid.uuid4().hex}:",
            secret_key="a key of the tests, 32 characters",
        )
        started.start()
        yield started
        started.end()


@pytest.fixture(scope="session")
def city(instance):
    partner = found(instance.url)
    yield partner
    partner.client.close()
