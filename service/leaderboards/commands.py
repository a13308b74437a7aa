"""`saxaul leaderboards`: build the boards anew, or compare them with the ledger."""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import click
from redis.exceptions import RedisError

from service.clock import Clock
from service.database import open_database
from service.embedded import servers
from service.errors import SaxaulError
from service.leaderboards.drift import DriftReport, RelayBehindError, find_drift
from service.leaderboards.keys import Layout
from service.leaderboards.rebuild import prepare_lanes, request_rebuild
from service.leaderboards.relay import Relay, Shared
from service.log import configure_logging
from service.redis_client import open_redis
from service.rules.publish import Rulebooks
from service.settings import load_settings

_SHOWN_MAX = 20
_POLL_S = 0.05


@click.group()
def leaderboards() -> None:
    """The boards in Redis, which the ledger can always build anew."""


@leaderboards.command("rebuild")
def rebuild() -> None:
    """Build all open boards anew from the ledger; readers keep the old ones meanwhile."""
    _run(_rebuild())
    click.echo("the leaderboards are built anew and in use")


@leaderboards.command("check")
def check() -> None:
    """Compare every open board with the ledger. Exit code 1 when a score differs."""
    report = _run(_check())
    _print(report)
    sys.exit(1 if report.wrong else 0)


def _run(command: Coroutine[Any, Any, Any]) -> Any:
    configure_logging("error")
    try:
        return asyncio.run(command)
    except (RedisError, RelayBehindError, SaxaulError) as error:
        click.echo(str(error) or repr(error), err=True)
        sys.exit(1)


async def _rebuild() -> None:
    async with _shared("saxaul leaderboards rebuild") as shared:
        async with shared.database.transaction() as connection:
            # A lane that is just being summed up is locked for as long as that takes.
            await connection.execute("SELECT set_config('statement_timeout', '0', true)")
            generation = await request_rebuild(connection, shared.clock.real_now())
        # A running worker has the lanes and does it; without one these relays take them.
        relays = [Relay(shared, lane) for lane in range(shared.lanes)]
        try:
            while not await _is_active(shared, generation):
                for relay in relays:
                    await relay.round()
                await asyncio.sleep(_POLL_S)
        finally:
            for relay in relays:
                await relay.release()


async def _is_active(shared: Shared, generation: int) -> bool:
    keys = [shared.layout.active(shard) for shard in range(shared.layout.shards)]
    return all([int(await shared.redis.get(key) or 0) >= generation for key in keys])


async def _check() -> DriftReport:
    async with _shared("saxaul leaderboards check") as shared:
        return await find_drift(shared)


def _print(report: DriftReport) -> None:
    if report.moving:
        click.echo(f"{report.moving} scores changed too often to be compared")
    if not report.wrong:
        click.echo(f"{report.compared} scores are what the ledger says")
        return
    for board, member, in_ledger, on_board in report.wrong[:_SHOWN_MAX]:
        where = f"{board.name} {board.period} {board.region or 'global'} {UUID(bytes=member)}"
        click.echo(f"{where}: {in_ledger} in the ledger, {on_board} on the board")
    click.echo(f"{len(report.wrong)} of {report.compared} scores differ from the ledger")


@asynccontextmanager
async def _shared(what: str) -> AsyncIterator[Shared]:
    settings = load_settings()
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(servers(settings, what))
        database = await open_database(settings, found.database_url)
        stack.push_async_callback(database.close)
        redis = open_redis(found.redis_url)
        stack.push_async_callback(redis.aclose)
        clock, rulebooks = Clock(), Rulebooks(database)
        async with database.transaction() as connection:
            await clock.refresh(connection)
            await rulebooks.refresh(connection)
            await prepare_lanes(connection, settings.lanes, clock.real_now())
        layout = Layout(settings.redis_prefix, settings.leaderboard_shards)
        yield Shared(
            database, redis, layout, settings.lanes, clock, lambda: rulebooks.active.program
        )


commands: list[click.Command] = [leaderboards]
