"""`saxaul worker`: what goes on without anybody asking for it. Any number of them can run.

Relays carry the outbox to the boards, sweeps expire what nobody collected and record what partners'
events waited for, and what is of no use any more is deleted. Each is a task of its own that a fault
stops only for a moment.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import click
import structlog

from service.actions.writer import Writer
from service.energy.expire import expire_due
from service.http.keys import purge_keys
from service.instance.open import open_instance
from service.leaderboards.keys import Layout
from service.leaderboards.rebuild import prepare_lanes
from service.leaderboards.relay import Relay, Shared
from service.ledger.books import lock_free_books
from service.partners.events import Identifier
from service.partners.receive import Intake
from service.partners.release import keep_releasing
from service.platform.clock import CLOCK_CHANNEL, Clock
from service.platform.database import Connection, Database
from service.platform.listen import listening
from service.platform.log import configure_logging
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
_PURGED_MAX = 5_000
_BOOKS_MAX = 200
# A shard that lost its tail is mended from rows that were applied already.
_KEEP_OUTBOX = timedelta(hours=1)
_KEEP_COUNTERS = timedelta(days=120)
_KEEP_BUBBLES = timedelta(days=30)
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
        async with database.transaction() as connection:
            await rulebooks.refresh(connection)
            await prepare_lanes(connection, settings.lanes, clock.real_now())
        await stack.enter_async_context(_beside(rulebooks.run()))
        writer = Writer(database, clock, rulebooks, settings)
        writer.start()
        stack.push_async_callback(writer.stop)
        identifier = Identifier(settings.secret_key)
        intake = Intake(database, clock, rulebooks, writer, settings, identifier)
        shared = Shared(
            database,
            redis,
            Layout(settings.redis_prefix, settings.leaderboard_shards),
            settings.lanes,
            clock,
            lambda: rulebooks.active.program,
        )
        on_start()
        _log.info("worker_started", lanes=settings.lanes)
        async with asyncio.TaskGroup() as tasks:
            for lane in range(settings.lanes):
                run = Relay(shared, lane).run
                tasks.create_task(_keep(f"relay {lane}", run, stop))
            sweep = partial(_sweep, database, clock, moved)
            tasks.create_task(_keep("expiry", sweep, stop))
            purge = partial(_purge, database, clock, settings)
            tasks.create_task(_keep("purge", purge, stop))
            release = partial(keep_releasing, intake)
            tasks.create_task(_keep("parked events", release, stop))
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
            await _wait(stop, backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_MAX_S)


async def _wake_when_moved(moved: asyncio.Event, connection: Connection) -> None:
    await connection.add_listener(CLOCK_CHANNEL, lambda *_: moved.set())
    moved.set()


async def _sweep(
    database: Database, clock: Clock, moved: asyncio.Event, stop: asyncio.Event
) -> None:
    """Expire what is due, every few seconds and whenever the clock was moved.

    A process whose clock is behind may record what is past its time already: once an hour all
    bubbles are looked at, not only those that ended since the last sweep.
    """
    loop = asyncio.get_running_loop()
    after, looked_at_all = _EVER, loop.time()
    while not stop.is_set():
        moved.clear()
        now = clock.now()
        if loop.time() - looked_at_all > _ALL_S:
            after, looked_at_all = _EVER, loop.time()
        expired, complete = await expire_due(database, now, after=after)
        if expired:
            _log.info("bubbles_expired", bubbles=expired)
        if complete:
            after = now - _SWEPT
        await _wait(moved, _SWEEP_S if complete else _SWEEP_AGAIN_S)


async def _purge(database: Database, clock: Clock, settings: Settings, stop: asyncio.Event) -> None:
    """Delete what is of no use any more, a bounded part at a time."""
    while not stop.is_set():
        now = clock.now()
        async with database.transaction() as connection:
            keep = timedelta(hours=settings.idempotency_keep_hours)
            keys = await purge_keys(connection, clock.real_now(), keep)
        rows = await database.pool.execute(_PURGE_OUTBOX, now - _KEEP_OUTBOX, _PURGED_MAX)
        counters = await database.pool.execute(
            _PURGE_COUNTERS, (now - _KEEP_COUNTERS).date(), _PURGED_MAX
        )
        bubbles = await _purge_bubbles(database, now - _KEEP_BUBBLES)
        await _tell_of_strangers(database, settings.lanes)
        await finish_erasures(database, now)
        purged = max(keys, _count(rows), _count(counters), bubbles)
        await _wait(stop, _PURGE_AGAIN_S if purged >= _BOOKS_MAX else _PURGE_S)


async def _purge_bubbles(database: Database, ended_before: datetime) -> int:
    """Delete finished bubbles; a book's lock covers its bubbles, so held books wait."""
    async with database.transaction() as connection:
        owners = await connection.fetch(_FINISHED, ended_before, _BOOKS_MAX)
        books = await lock_free_books(connection, [row[0] for row in owners])
        return _count(await connection.execute(_PURGE_BUBBLES, [*books], ended_before))


async def _tell_of_strangers(database: Database, lanes: int) -> None:
    """Rows of lanes that nobody relays: some process has another number of lanes."""
    lane = await database.pool.fetchval("SELECT max(lane) FROM outbox WHERE position IS NULL")
    if lane is not None and lane >= lanes:
        _log.error("outbox_lane_unknown", lane=lane, lanes=lanes)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


@asynccontextmanager
async def _beside(forever: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(forever)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


_PURGE_OUTBOX = """
DELETE FROM outbox WHERE (participant_id, id) IN (
    SELECT participant_id, id FROM outbox JOIN relay_lanes USING (lane)
    WHERE position <= applied AND at < $1 LIMIT $2 FOR UPDATE OF outbox SKIP LOCKED)"""

_PURGE_COUNTERS = """
DELETE FROM counters WHERE (participant_id, counter, period, by_key) IN (
    SELECT participant_id, counter, period, by_key FROM counters
    WHERE ends_on < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"""

_FINISHED = """
SELECT DISTINCT participant_id FROM bubbles
WHERE expires_at < $1 AND remaining_g = 0 LIMIT $2"""

_PURGE_BUBBLES = """
DELETE FROM bubbles
WHERE participant_id = ANY($1::uuid[]) AND expires_at < $2 AND remaining_g = 0"""

commands: list[click.Command] = [worker]
