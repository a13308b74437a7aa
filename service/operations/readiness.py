"""Whether this process can do its work, part by part."""

from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from service.http.access import Request
from service.http.shared import shared
from service.instance.migrate import wanted_revision
from service.platform.database import Database
from service.platform.settings import Settings
from service.rulebooks.publish import NoRulebookError, Rulebooks

PartState = Literal["ok", "missing", "away"]

_MIGRATED = text(
    "SELECT version_num FROM alembic_version WHERE NOT EXISTS (SELECT FROM unfinished_migrations)"
)
_HAS_DEMO = text("SELECT EXISTS (SELECT FROM projects WHERE name LIKE 'demo-%')")

_OUTBOX_WAITING = text(
    "SELECT (SELECT count(*) FROM outbox WHERE position IS NULL)"
    " + (SELECT coalesce(sum(positioned - applied), 0) FROM relay_lanes)::bigint"
)


async def part_states(request: Request) -> dict[str, PartState]:
    """The state of what requests need. Demo data belongs to the embedded default only."""
    states: dict[str, PartState] = {}
    try:
        async with shared(request, Database).sessions() as session:
            revision = await session.scalar(_MIGRATED)
            states["migrations"] = "ok" if revision == wanted_revision() else "missing"
            settings = shared(request, Settings)
            if settings.embedded_database and settings.env == "development":
                states["demo_data"] = "ok" if await session.scalar(_HAS_DEMO) else "missing"
    except ProgrammingError:
        states["migrations"] = "missing"
    except (SQLAlchemyError, OSError):
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
        async with shared(request, Database).sessions() as session:
            waiting: int = (await session.execute(_OUTBOX_WAITING)).scalar_one()
    except (SQLAlchemyError, OSError):
        return None
    return waiting


def is_ready(states: dict[str, PartState]) -> bool:
    """True when nothing lacks that requests need. Boards alone need Redis, and can wait for it."""
    return all(state == "ok" for name, state in states.items() if name != "redis")
