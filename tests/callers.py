"""Somebody with a token, who says what they want in one line."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import httpx
from click.testing import CliRunner

from service.__main__ import main
from tests.people import walk


@dataclass
class Caller:
    """A client with a token."""

    client: httpx.AsyncClient
    headers: dict
    participant_id: UUID | None = None

    async def get(self, path, **query):
        return await self.client.get(path, headers=self.headers, params=query or None)

    async def post(self, path, body=None, key=None):
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        return await self.client.post(path, headers=headers, json=body)

    async def patch(self, path, body):
        return await self.client.patch(path, headers=self.headers, json=body)

    async def delete(self, path):
        return await self.client.delete(path, headers=self.headers)

    async def balances(self):
        answer = await self.get("/v1/me")
        assert answer.status_code == 200, answer.text
        return answer.json()["balances"]

    async def walks(self, steps=8000):
        """Record a walk; gives the answer's body."""
        now = (await self.client.get("/v1/dev/clock")).json()["now"]
        report = walk(occurred_at=now, attributes={"steps": steps, "distance_km": steps * 0.0007})
        answer = await self.post("/v1/me/actions", report)
        assert answer.status_code == 201, answer.text
        return answer.json()


async def sign_in(client, subject, role="participant", **order):
    """Somebody with a token of the development issuer."""
    answer = await client.post("/v1/dev/token", json={"subject": subject, "role": role, **order})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    headers = {"Authorization": f"Bearer {told['access_token']}"}
    participant_id = told.get("participant_id")
    return Caller(client, headers, participant_id and UUID(participant_id))


async def advance(client, **by):
    """Move the programme's clock: days=1, hours=2."""
    seconds = {"days": 86_400, "hours": 3_600, "minutes": 60}
    moved = sum(seconds[unit] * n for unit, n in by.items())
    answer = await client.post("/v1/dev/clock", json={"advance_s": moved})
    assert answer.status_code == 200, answer.text


async def items_of(caller, path, **query):
    """A whole list, page by page."""
    items, cursor = [], None
    while True:
        answer = await caller.get(path, **query, **({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return items


# One at a time: a command has the environment and the outputs of the process. No thread starts for
# it while it sets these: where the time is faked, a thread that starts reads the environment.
_OPERATOR = ThreadPoolExecutor(max_workers=1)


async def saxaul(settings, *words, environment=None):
    """Run a command as an operator types it, in this process: exit code, output, errors and log."""
    environment = {
        "SAXAUL_HOME": str(settings.home),
        "SAXAUL_DATABASE_URL": settings.database_url,
        "SAXAUL_REDIS_URL": settings.redis_url,
        "SAXAUL_REDIS_PREFIX": settings.redis_prefix,
        "SAXAUL_SECRET_KEY": settings.secret_key,
    } | (environment or {})
    invoke = partial(CliRunner().invoke, main, words, env=environment)
    result = await asyncio.get_running_loop().run_in_executor(_OPERATOR, invoke)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
