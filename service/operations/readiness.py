"""Whether this process can do its work, part by part."""

from typing import Literal

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.http.access import Request
from service.http.shared import shared
from service.instance.migrate import wanted_revision
from service.platform.database import DRIVER_FAULTS, Database
from service.platform.settings import Settings
from service.rulebooks.publish import NoRulebookError, Rulebooks

PartState = Literal["ok", "missing", "away"]

_MIGRATED = """
SELECT version_num FROM alembic_version WHERE NOT EXISTS (SELECT FROM unfinished_migrations)"""

_HAS_DEMO = "SELECT FROM projects WHERE name LIKE 'demo-%' LIMIT 1"

_OUTBOX_WAITING = """
SELECT (SELECT count(*) FROM outbox WHERE position IS NULL)
    + (SELECT coalesce(sum(positioned - applied), 0) FROM relay_lanes)::bigint"""


async def part_states(request: Request) -> dict[str, PartState]:
    """The state of what requests need. Demo data belongs to the embedded default only."""
    states: dict[str, PartState] = {}
    lists, settings = shared(request, Database).lists, shared(request, Settings)
    try:
        revision = await lists.first(_MIGRATED)
        is_wanted = revision is not None and revision[0] == wanted_revision()
        states["migrations"] = "ok" if is_wanted else "missing"
        if settings.embedded_database and settings.env == "development":
            states["demo_data"] = "ok" if await lists.fetch(_HAS_DEMO) else "missing"
    except asyncpg.UndefinedTableError:
        states["migrations"] = "missing"
    except DRIVER_FAULTS:
        states["database"] = "away"
    try:
        states["rulebook"] = "ok" if shared(request, Rulebooks).active.version > 0 else "missing"
    except NoRulebookError:
        states["rulebook"] = "missing"
    try:
        await shared(request, Redis).ping()
        states["redis"] = "ok"
    except (RedisError, OSError):
        states["redis"] = "away"
    return states


async def outbox_waiting(request: Request) -> int | None:
    """How many transactions the boards have not learnt of; None while the database is away."""
    try:
        ((waiting,),) = await shared(request, Database).lists.fetch(_OUTBOX_WAITING)
    except DRIVER_FAULTS:
        return None
    return int(waiting)


def is_ready(states: dict[str, PartState]) -> bool:
    """True when nothing lacks that requests need. Boards alone need Redis, and can wait for it."""
    return all(state == "ok" for name, state in states.items() if name != "redis")
