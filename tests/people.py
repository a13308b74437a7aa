"""A served application with the shipped rules, and callers of every kind."""

import asyncio
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import httpx

from service.app import create_app
from service.platform.acts import Act
from service.platform.database import open_database
from service.platform.settings import Settings
from service.rulebooks.checked import checked_draft
from service.rulebooks.publish import publish as store
from service.rules.compile.draft import sha256_of
from service.rules.language.load import read_folder
from tests.processes import PATIENCE_S

RULES = Path(__file__).parent.parent / "rules"


def settings_for(servers, database_url, home, **changes):
    """Settings of a development instance; `changes` are of one value, mostly."""
    values = {
        "home": home,
        "database_url": database_url,
        "redis_url": servers.redis_url,
        "redis_prefix": f"t{uuid.uuid4().hex}:",
        "rules_dir": RULES,
        "secret_key": "a key of the tests, 32 characters",
    }
    return Settings(**(values | changes))


@cache
def _shipped():
    """The shipped rules, checked once for all tests of this process."""
    files, unreadable = read_folder(RULES)
    assert not unreadable
    return files, checked_draft(files)


async def publish(connection, files, *, author, note, now, **how):
    """Publish these files as somebody does who has checked them."""
    act = Act(author, "", now)
    return await store(connection, files, checked_draft(files), act, note=note, **how)


async def publish_rules(database):
    """Publish the shipped rules as a start does, unless they are active already."""
    files, draft = _shipped()
    sha256 = sha256_of(files)
    async with database.transaction() as connection:
        if await connection.fetchval(_ACTIVE_SHA256) != bytes.fromhex(sha256):
            act, note = Act("folder", "", datetime.now(UTC)), "from the folder rules"
            await store(connection, files, draft, act, note=note, folder_sha256=sha256)


_ACTIVE_SHA256 = "SELECT sha256 FROM active_rulebook JOIN rulebooks USING (version)"


@asynccontextmanager
async def running_app(settings):
    """The application as one process serves it, its start and its end in one task."""
    app = create_app(settings)
    started, ending = asyncio.Event(), asyncio.Event()

    async def live():
        async with app.lifespan():
            started.set()
            await ending.wait()

    task = asyncio.create_task(live())
    waiting = asyncio.create_task(started.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if started.is_set():
            yield app
    finally:
        ending.set()
        waiting.cancel()
        await task


@asynccontextmanager
async def client_of(app, address="127.0.0.1"):
    """An HTTP client in the same loop, from this address, which sees faults as answers."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client


@asynccontextmanager
async def served(settings):
    """A client of an application that runs with the shipped rules."""
    database = await open_database(settings, settings.database_url)
    await publish_rules(database)
    await database.close()
    async with running_app(settings) as app, client_of(app) as client:
        yield client


async def token_of(client, subject, role="participant", **order):
    """A token of the development issuer."""
    order = {"subject": subject, "role": role, **order}
    answer = await client.post("/v1/dev/token", json=order)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


async def headers_of(client, subject, role="participant", **order):
    """The header that makes a request this person's."""
    return {"Authorization": f"Bearer {await token_of(client, subject, role, **order)}"}


async def eventually(check):
    """Wait until this holds: what another process learns by itself is learnt in moments."""
    async with asyncio.timeout(PATIENCE_S):
        while not await check():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


def walk(**changes):
    """The body of an ordinary walk, a minute ago."""
    now = datetime.now(UTC).replace(microsecond=0)
    report = {
        "type": "mobility.walk",
        "occurred_at": now.isoformat().replace("+00:00", "Z"),
        "attributes": {"steps": 8000, "distance_km": 5.6},
    }
    return report | changes
