"""`saxaul leaderboards`: build the boards anew, or compare them with the ledger."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import click

from service.instance.open import Instance, on_instance
from service.leaderboards.drift import DriftReport, find_drift
from service.leaderboards.lane import Shared
from service.leaderboards.rebuild import ready_lanes, request_rebuild
from service.leaderboards.relay import Relay
from service.platform.log import configure_logging
from service.platform.redis_client import open_redis
from service.platform.terminal import typed
from service.rulebooks.publish import Rulebooks

_SHOWN_MAX = 20
_POLL_S = 0.05


@click.group()
def leaderboards() -> None:
    """The boards in Redis, which the ledger can always build anew."""


@leaderboards.command("rebuild")
def rebuild() -> None:
    """Build all open boards anew from the ledger; readers keep the old ones meanwhile."""
    configure_logging("error")
    name, is_fresh = on_instance("saxaul leaderboards rebuild", _rebuild)
    click.echo(f"the leaderboards of {name} are built anew and in use")
    if is_fresh:
        click.echo(f"nothing runs there: `{typed('run')}` builds them anew when it starts, too")


@leaderboards.command("check")
def check() -> None:
    """Compare every open board with the ledger. Exit code 1 when a score differs."""
    configure_logging("error")
    name, is_fresh, report = on_instance("saxaul leaderboards check", _check)
    _print(report, name)
    if is_fresh:
        click.echo("nothing runs there: these boards were built from the ledger for the check")
    sys.exit(1 if report.wrong else 0)


async def _rebuild(instance: Instance) -> tuple[str, bool]:
    """What was rebuilt, and whether it was started for that alone."""
    async with _shared(instance) as shared:
        await _build(shared)
        return instance.name, instance.servers.has_fresh_redis


async def _build(shared: Shared) -> None:
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


async def _check(instance: Instance) -> tuple[str, bool, DriftReport]:
    """What was checked, whether it was started for that alone, and what was found."""
    async with _shared(instance) as shared:
        if instance.servers.has_fresh_redis:
            # The embedded Redis keeps nothing: without a run there are no boards to compare.
            await _build(shared)
        return instance.name, instance.servers.has_fresh_redis, await find_drift(shared)


def _print(report: DriftReport, name: str) -> None:
    if report.moving:
        click.echo(f"{report.moving} scores changed too often to be compared")
    if not report.wrong:
        click.echo(f"{report.compared} scores of {name} are what the ledger says")
        return
    for board, member, in_ledger, on_board in report.wrong[:_SHOWN_MAX]:
        where = f"{board.name} {board.period} {board.region or 'global'} {UUID(bytes=member)}"
        click.echo(f"{where}: {in_ledger} in the ledger, {on_board} on the board")
    click.echo(f"{len(report.wrong)} of {report.compared} scores of {name} differ from the ledger")


@asynccontextmanager
async def _shared(instance: Instance) -> AsyncIterator[Shared]:
    database, settings, clock = instance.database, instance.settings, instance.clock
    async with open_redis(instance.servers.redis_url) as redis:
        await redis.ping()
        yield await ready_lanes(database, redis, settings, clock, Rulebooks(database))
