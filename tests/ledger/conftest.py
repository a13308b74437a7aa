"""A served application for each module, on a database that the tests can also look into."""

import pytest

from tests.callers import sign_in
from tests.module_app import client, database, settings

__all__ = ["client", "database", "settings"]


@pytest.fixture(scope="module")
async def operator(client):
    return await sign_in(client, "olga", "operator")


@pytest.fixture
async def alice(client, request):
    return await sign_in(client, f"alice of {request.node.name}"[:200])
