"""Reports as phones make them, and looks at what became of them."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg

from service.actions.order import participant_report
from service.ledger.lanes import Lanes
from service.platform.clock import Clock

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
SECRET = b"a secret of the tests"

# The first action that is inserted fails with a state; sequences outlive the rollback.
FAIL_ONCE = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') = 1 THEN
        RAISE EXCEPTION 'failed once' USING ERRCODE = '{state}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail_once BEFORE INSERT ON actions FOR EACH ROW EXECUTE FUNCTION fail_once()"""


def walk(participant_id, steps=8000, *, key=None, at=NOW, km=None, **changes):
    """A walk as a phone reports it."""
    attributes = {"steps": steps} | ({"distance_km": km} if km else {}) | changes
    return participant_report(
        participant_id,
        type_="mobility.walk",
        occurred_at=at,
        attributes=attributes,
        reporter="participant",
        key=key,
        now=NOW,
    )


def ride(participant_id, *, at, minutes=30, key=None, km=5.0):
    """A bike trip, exclusive in its minutes."""
    return participant_report(
        participant_id,
        type_="mobility.bike",
        occurred_at=at,
        attributes={"distance_km": km, "duration_min": minutes},
        reporter="device",
        key=key,
        now=NOW,
    )


def rental(participant_id, *, at, number):
    """A rented bike's trip of half an hour: exclusive, and its number is paid once."""
    return participant_report(
        participant_id,
        type_="mobility.rental",
        occurred_at=at,
        attributes={"duration_min": 30, "ride_no": number},
        reporter="participant",
        key=None,
        now=NOW,
    )


def box(participant_id, code, *, key=None):
    """A returned box, paid once over all people."""
    return participant_report(
        participant_id,
        type_="recycling.box",
        occurred_at=NOW,
        attributes={"box_code": code},
        reporter="participant",
        key=key,
        now=NOW,
    )


def writer_of(database, rulebook, settings):
    """A group-commit writer, not yet started, with a clock that stands where the tests stand."""
    clock = Clock()
    clock.offset = NOW - clock.real_now()
    return Lanes(database, clock, lambda: rulebook, settings)


async def book_of(database, participant_id):
    """The book's row as a mapping."""
    async with database.pool.acquire() as connection:
        return await connection.fetchrow(
            "SELECT * FROM books WHERE participant_id = $1", participant_id
        )


async def count(database, table, participant_id):
    """How many rows a person has in a table."""
    async with database.pool.acquire() as connection:
        return await connection.fetchval(
            f"SELECT count(*) FROM {table} WHERE participant_id = $1", participant_id
        )


async def blocked_backends(url, *, at_least=1):
    """Wait until that many backends of this database wait for a lock: seen, not slept."""
    connection = await asyncpg.connect(url)
    try:
        for _ in range(2_000):
            waiting = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if waiting >= at_least:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("nobody waits for a lock")
    finally:
        await connection.close()


def key_of(text):
    """An Idempotency-Key of legal length."""
    return text.rjust(16, "k")


MINUTE = timedelta(minutes=1)
