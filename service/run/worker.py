"""`saxaul worker`: what goes on without anybody asking for it. Any number of them can run.

Relays carry the outbox to the boards, sweeps expire what nobody collected and record what partners'
events waited for, and what is of no use any more is deleted. Each is a task of its own that a fault
stops only for a moment.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial

import click
import structlog

from service.actions.purge import purge_counters
from service.energy.expire import expire_due
from service.energy.purge import purge_bubbles
from service.http.idempotency import purge_keys
from service.instance.open import open_instance
from service.leaderboards.rebuild import ready_lanes
from service.leaderboards.relay import Relay
from service.ledger.lanes import Lanes
from service.partners.events import Identifier
from service.partners.receive import Intake
from service.partners.release import keep_releasing
from service.platform.beside import beside, pause
from service.platform.clock import CLOCK_CHANNEL, Clock
from service.platform.database import Connection, Database
from service.platform.listen import listening
from service.platform.log import configure_logging
from service.platform.outbox import purge_outbox, unknown_lane
from service.platform.redis_client import open_redis
from service.platform.settings import Settings, load_settings, with_secret_key
from service.privacy.erase import finish_erasures
from service.rulebooks.publish import Rulebooks

_SWEEP_S = 5.0
_SWEEP_AGAIN_S = 0.5
_ALL_S = 3_600.0
_EVER = datetime(2000, 1, 1, tzinfo=UTC)
# A complete sweep leaves nothing behind it but what another clock may have just booked.
_SWEPT = timedelta(hours=1)
_PURGE_S = 60.0
_PURGE_AGAIN_S = 1.0
_PURGED_MANY = 200
# Deletes the next part of what is past its time; gives how many rows went.
Purge = Callable[[Database, Clock, Settings], Awaitable[int]]
# A new noun is named here.
PURGES: tuple[Purge, ...] = (purge_keys, purge_outbox, purge_counters, purge_bubbles)
_BACKOFF_S = 0.1
_BACKOFF_MAX_S = 2.0
_RECOVERED_S = 10.0

_log = structlog.get_logger(__name__)


@click.command()
def worker() -> None:
    """Carry bookings to the boards, expire bubbles and tidy up, until told to stop."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    asyncio.run(_work_until_told(settings))


async def _work_until_told(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen_to_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)

    await work(settings, stop, on_start=listen_to_signals)


async def work(
    settings: Settings, stop: asyncio.Event, on_start: Callable[[], None] = lambda: None
) -> None:
    """Do all of it until `stop` is set; what is under way then is finished.

    Before `on_start` is called nothing is, and whoever wants may break it off.
    """
    async with AsyncExitStack() as stack:
        instance = await stack.enter_async_context(open_instance(settings, "saxaul worker"))
        database, found = instance.database, instance.servers
        settings = with_secret_key(settings)
        redis = open_redis(found.redis_url)
        stack.push_async_callback(redis.aclose)
        clock, moved = Clock(), asyncio.Event()
        follows = (clock.follow, partial(_wake_when_moved, moved))
        await stack.enter_async_context(listening(found.database_url, follows))
        rulebooks = Rulebooks(database)
        shared = await ready_lanes(database, redis, settings, clock, rulebooks)
        await stack.enter_async_context(beside(rulebooks.run()))
        lanes = Lanes(database, clock, lambda: rulebooks.active, settings)
        lanes.start()
        stack.push_async_callback(lanes.stop)
        identifier = Identifier(settings.secret_key)
        intake = Intake(database, clock, rulebooks, lanes, identifier)
        on_start()
        _log.info("worker_started", lanes=settings.lanes)
        async with asyncio.TaskGroup() as tasks:
            jobs = {f"relay {lane}": Relay(shared, lane).run for lane in range(settings.lanes)}
            jobs["expiry"] = partial(_sweep, lanes, moved)
            jobs["purge"] = partial(_purge, database, clock, settings)
            jobs["parked events"] = partial(keep_releasing, intake)
            for name, job in jobs.items():
                tasks.create_task(_keep(name, job, stop))
            await stop.wait()
            moved.set()
        _log.info("worker_stopped")


async def _keep(
    name: str, task: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event
) -> None:
    """Run a task until the stop; after a fault again, a little later each time."""
    loop = asyncio.get_running_loop()
    backoff_s = _BACKOFF_S
    while not stop.is_set():
        began = loop.time()
        try:
            await task(stop)
        except Exception as error:  # noqa: BLE001 - it is told, and the next run mends what is left
            if loop.time() - began > _RECOVERED_S:
                backoff_s = _BACKOFF_S
            _log.warning("task_failed", task=name, error=repr(error), again_s=backoff_s)
            await pause(stop, backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_MAX_S)


async def _wake_when_moved(moved: asyncio.Event, connection: Connection) -> None:
    await connection.add_listener(CLOCK_CHANNEL, lambda *_: moved.set())
    moved.set()


async def _sweep(lanes: Lanes, moved: asyncio.Event, stop: asyncio.Event) -> None:
    """Expire what is due, every few seconds and whenever the clock was moved.

    A process whose clock is behind may record what is past its time already: once an hour all
    bubbles are looked at, not only those that ended since the last sweep.
    """
    loop = asyncio.get_running_loop()
    after, looked_at_all = _EVER, loop.time()
    while not stop.is_set():
        moved.clear()
        now = lanes.clock.now()
        if loop.time() - looked_at_all > _ALL_S:
            after, looked_at_all = _EVER, loop.time()
        expired, complete = await expire_due(lanes.database, lanes.batch, after=after)
        if expired:
            _log.info("bubbles_expired", bubbles=expired)
        if complete:
            after = now - _SWEPT
        await pause(moved, _SWEEP_S if complete else _SWEEP_AGAIN_S)


async def _purge(database: Database, clock: Clock, settings: Settings, stop: asyncio.Event) -> None:
    """Delete what is of no use any more, a bounded part at a time."""
    while not stop.is_set():
        purged = max([await purge(database, clock, settings) for purge in PURGES])
        if (lane := await unknown_lane(database, settings.lanes)) is not None:
            _log.error("outbox_lane_unknown", lane=lane, lanes=settings.lanes)
        await finish_erasures(database, clock.now())
        await pause(stop, _PURGE_AGAIN_S if purged >= _PURGED_MANY else _PURGE_S)
