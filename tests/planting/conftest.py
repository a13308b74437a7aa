"""A served application for each module, and people and operators who talk to it."""

from dataclasses import dataclass
from uuid import UUID

import httpx
import pytest

from tests.module_app import client, database, settings
from tests.planting.forestry import give

__all__ = ["client", "database", "settings"]


@dataclass
class Caller:
    """A client with a token."""

    client: httpx.AsyncClient
    headers: dict
    participant_id: UUID | None = None

    async def get(self, path):
        return await self.client.get(path, headers=self.headers)

    async def post(self, path, body=None, key=None):
        headers = dict(self.headers)
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.client.post(path, json=body, headers=headers)

    async def patch(self, path, body):
        return await self.client.patch(path, json=body, headers=self.headers)


@pytest.fixture
def sign_in(client):
    async def sign_in(subject, role="participant", **more):
        body = {"subject": subject, "role": role, **more}
        token = (await client.post("/v1/dev/token", json=body)).json()
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        participant_id = token.get("participant_id")
        return Caller(client, headers, participant_id and UUID(participant_id))

    return sign_in


@pytest.fixture
async def operator(sign_in):
    return await sign_in("olga", "operator", scope="planting:write")


@pytest.fixture
async def alice(sign_in, database, request):
    caller = await sign_in(f"alice of {request.node.name}")
    await give(database, caller.participant_id, 1_000)
    return caller
