"""The worker: what goes on by itself, what faults do to it, and how it stops."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from datetime import timedelta
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
import pytest
from structlog.testing import capture_logs

from service.leaderboards.drift import find_drift
from service.run import worker as running
from service.run.worker import work
from tests.actions.conftest import RULES
from tests.leaderboards import conftest as leaderboards
from tests.leaderboards.town import held, lane_state
from tests.people import publish, settings_for
from tests.processes import PATIENCE_S, Instance

rulebook = leaderboards.rulebook
shared, town, shards, lanes = (
    leaderboards.shared,
    leaderboards.town,
    leaderboards.shards,
    leaderboards.lanes,
)


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


@pytest.fixture
def settings(servers, database_url, tmp_path, lanes):
    return settings_for(servers, database_url, tmp_path / "home", lanes=lanes)


@pytest.fixture
async def people(town):
    """Three people in a town whose rules are published and whose clock is everybody's."""
    town.clock.offset = timedelta()
    async with town.database.transaction() as connection:
        now = town.clock.real_now()
        await publish(connection, {"test.yaml": RULES}, author="a test", note="", now=now)
    return [await town.join(region="CN-ZJ") for _ in range(3)]


@asynccontextmanager
async def working(settings):
    """A worker in this process, which is told to stop in the end."""
    stop = asyncio.Event()
    task = asyncio.create_task(work(settings, stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)


async def until(condition):
    """Wait until the condition holds; fail when it does not in time."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.02)


def boards_are_right(town):
    async def compare():
        if not await town.shared.redis.exists(town.shared.layout.active(0)):
            return False
        return await held(town.shared, town.today()) == town.boards()

    return compare


async def move_clock(town, **by):
    async with town.database.transaction() as connection:
        await town.clock.move(connection, timedelta(**by))


async def test_it_carries_bookings_to_the_boards(settings, town, people):
    async with working(settings):
        for person in people:
            await town.walk(person)
        await until(boards_are_right(town))
        await move_clock(town, days=1)
        await town.collect(people[0])
        await until(boards_are_right(town))
    states = await lane_state(town.shared, every=True)
    assert [row["owner"] for row in states] == [None] * len(states)


async def test_a_moved_clock_expires_bubbles_at_once(settings, town, people, monkeypatch):
    monkeypatch.setattr(running, "_SWEEP_S", 3_600.0)
    await town.walk(people[0])

    async def is_expired():
        return await town.database.pool.fetchval(
            "SELECT expired > 0 FROM books WHERE participant_id = $1", people[0]
        )

    async with working(settings):
        await until(boards_are_right(town))
        assert not await is_expired()
        await move_clock(town, days=5)
        await until(is_expired)


async def test_without_redis_the_rest_goes_on_and_boards_catch_up(settings, town, people):
    away = msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1")
    await town.walk(people[0])
    await move_clock(town, days=5)
    async with working(away) as worker:
        await until(
            lambda: town.database.pool.fetchval("SELECT bool_or(expired > 0) FROM books"),
        )
        assert not worker.done()
    await town.walk(people[1])
    async with working(settings):
        await until(boards_are_right(town))


async def test_of_two_workers_one_takes_over_what_the_other_left(settings, town, people):
    async with working(settings):
        async with working(settings):
            await town.walk(people[0])
            await until(boards_are_right(town))
        await town.walk(people[0])
        await until(boards_are_right(town))


async def test_it_deletes_what_is_of_no_use_any_more(settings, town, people):
    pool, now = town.database.pool, town.clock.now()
    await town.walk(people[0])
    await town.walk(people[1])
    async with working(settings):
        await until(boards_are_right(town))
    for days, key in ((0, "k" * 16), (3, "o" * 16)):
        await pool.execute(
            "INSERT INTO idempotency_keys VALUES ($1, 'r', $2, '', 200, '', $3)",
            people[0],
            key,
            now - timedelta(days=days),
        )
    for days in (100, 130):
        await pool.execute(
            "INSERT INTO counters VALUES ($1, 'c', $2, '', 1, 1, $3)",
            people[0],
            f"{days} days ago",
            (now - timedelta(days=days)).date(),
        )
    await pool.execute(
        "UPDATE bubbles SET remaining_g = 0, expired_g = energy_g,"
        " ripens_at = ripens_at - interval '40 days', expires_at = expires_at - interval '40 days'"
        " WHERE participant_id = $1",
        people[0],
    )
    await pool.execute("UPDATE outbox SET at = at - interval '2 hours' WHERE position = 1")
    await town.walk(people[2])
    waiting = await pool.fetchval("SELECT count(*) FROM outbox WHERE position IS NULL")

    async def is_tidy():
        return (
            await pool.fetchval(
                "SELECT (SELECT count(*) FROM idempotency_keys WHERE key ~ 'o')"
                " + (SELECT count(*) FROM counters WHERE period = '130 days ago')"
                " + (SELECT count(*) FROM bubbles WHERE participant_id = $1)"
                " + (SELECT count(*) FROM outbox WHERE at < $2)",
                people[0],
                now - timedelta(hours=1),
            )
            == 0
        )

    async with working(settings):
        await until(is_tidy)
        await until(boards_are_right(town))
    assert waiting == 1
    assert await pool.fetchval("SELECT count(*) FROM idempotency_keys") == 1
    assert await pool.fetchval("SELECT count(*) FROM counters WHERE counter = 'c'") == 1
    assert await pool.fetchval("SELECT count(*) FROM bubbles") == 2


async def test_what_the_boards_have_not_seen_is_kept_however_old(settings, town, people):
    pool, now = town.database.pool, town.clock.now()
    await town.walk(people[0])
    await pool.execute("UPDATE outbox SET at = at - interval '2 hours'")
    await pool.execute(
        "INSERT INTO counters VALUES ($1, 'c', 'long ago', '', 1, 1, $2)",
        people[0],
        (now - timedelta(days=130)).date(),
    )

    async def has_purged():
        """Counters are deleted after the outbox."""
        return not await pool.fetchval("SELECT count(*) FROM counters WHERE counter = 'c'")

    async with working(msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1")):
        await until(has_purged)
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 1
    async with working(settings):
        await until(boards_are_right(town))


async def test_what_holds_grams_is_never_deleted(settings, town, people):
    """One of two ended bubbles is empty; both ended before any sweep looks."""
    pool = town.database.pool
    full, empty = await town.walk(people[0]), await town.walk(people[0])
    await pool.execute(
        "UPDATE bubbles SET ripens_at = '1999-01-01', expires_at = '1999-01-02',"
        " remaining_g = CASE WHEN id = $1 THEN energy_g ELSE 0 END,"
        " expired_g = CASE WHEN id = $1 THEN 0 ELSE energy_g END",
        full.id,
    )

    async def is_deleted():
        return not await pool.fetchval("SELECT count(*) FROM bubbles WHERE id = $1", empty.id)

    async with working(settings):
        await until(is_deleted)
    assert await pool.fetchval("SELECT remaining_g FROM bubbles") == full.energy_g


async def test_a_bubble_of_a_book_that_was_held_is_found_by_a_later_sweep(settings, town, people):
    """It ended days ago; the sweep that met the held book expired only its neighbour's."""
    held, free = people[:2]
    for person in (held, free):
        await town.walk(person)
    await move_clock(town, days=7)
    with capture_logs() as logs:
        other = await asyncpg.connect(settings.database_url)
        holding = other.transaction()
        await holding.start()
        await other.execute("SELECT FROM books WHERE participant_id = $1 FOR NO KEY UPDATE", held)
        async with working(settings):
            await until(swept(logs, 1))
            assert not await expired(town, held)()
            await holding.rollback()
            await until(expired(town, held))
        await other.close()
    assert await expired(town, free)()


async def test_what_a_clock_that_is_behind_books_is_swept_although_it_ended_before(
    settings, town, people
):
    """The sweep before it was complete; the bubble ended half an hour earlier."""
    await to_half_past_seven(town, days=6)
    early, late = people[:2]
    await walk_ago(town, early, days=5)
    with capture_logs() as logs:
        async with working(settings):
            await until(swept(logs, 1))
            await walk_ago(town, late, days=4)
            await move_clock(town, seconds=1)
            await until(expired(town, late))


async def test_now_and_then_a_sweep_looks_at_everything(settings, town, people, monkeypatch):
    """A process whose clock is far behind books what ended long before the sweep's mark."""
    monkeypatch.setattr(running, "_ALL_S", 0.0)
    await to_half_past_seven(town, days=9)
    early, late = people[:2]
    await walk_ago(town, early, days=5)
    with capture_logs() as logs:
        async with working(settings):
            await until(swept(logs, 1))
            await walk_ago(town, late, days=7)
            await move_clock(town, seconds=1)
            await until(expired(town, late))


async def to_half_past_seven(town, *, days):
    """Half an hour after bubbles end: they ripen at seven."""
    today = town.clock.now().astimezone(ZoneInfo("Asia/Shanghai"))
    then = (today + timedelta(days=days)).replace(hour=7, minute=30)
    await move_clock(town, seconds=(then - today).total_seconds())


async def walk_ago(town, person, *, days):
    """A walk that is recorded by a process whose clock is so far behind."""
    town.clock.offset -= timedelta(days=days)
    await town.walk(person)
    town.clock.offset += timedelta(days=days)


def swept(logs, times):
    """Whether so many sweeps that expired something are over: they tell at their end."""

    async def check():
        return sum(line["event"] == "bubbles_expired" for line in logs) >= times

    return check


def expired(town, person):
    async def check():
        return await town.database.pool.fetchval(
            "SELECT expired > 0 FROM books WHERE participant_id = $1", person
        )

    return check


@pytest.mark.real_processes
async def test_killed_workers_lose_nothing_and_a_signal_stops_one(settings, town, people):
    instance = Instance(
        settings.home,
        database_url=settings.database_url,
        redis_url=settings.redis_url,
        redis_prefix=settings.redis_prefix,
        secret_key=settings.secret_key,
        lanes=settings.lanes,
    )
    settings.home.mkdir()
    for _ in range(2):
        worker = instance.command("worker", wait=False)
        try:
            for person in people * 5:
                await town.walk(person, steps=50)
            await until(boards_are_right(town))
            for person in people * 5:
                await town.walk(person, steps=50)
        finally:
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait(timeout=PATIENCE_S)
    worker = instance.command("worker", wait=False)
    try:
        await until(boards_are_right(town))
    finally:
        worker.terminate()
        assert worker.wait(timeout=PATIENCE_S) == 0, instance.said()
    assert (await find_drift(town.shared)).wrong == []
    states = await lane_state(town.shared, every=True)
    assert [row["owner"] for row in states] == [None] * len(states)
