"""A small rulebook, people with books, and the record path on the test's own database."""

from contextlib import asynccontextmanager, contextmanager

import pytest

from service.ledger.books import make_book
from service.platform.ids import uuid4
from service.rules.compile.draft import compile_rulebook
from tests.actions.proxy import LossyProxy
from tests.actions.reports import NOW, SECRET, writer_of
from tests.orders import settle

RULES = """
program:
  name: Test city
  timezone: Asia/Shanghai
  energy: {ripens: {next_day_at: "07:00"}, expires_after: 72h}
factors:
  car_pkm: {value: 100.95, unit: g/pkm, source: "a test", url: "https://example.org", year: 2026}
action_types:
  mobility.walk:
    title: Walk
    category: mobility
    reported_by: [participant, device]
    attributes:
      steps: {type: integer, minimum: 1, maximum: 100000}
      distance_km: {type: number, minimum: 0.01, maximum: 100, unit: km, required: false}
  mobility.bike:
    title: Ride
    category: mobility
    reported_by: [participant, device]
    attributes:
      distance_km: {type: number, minimum: 0.01, maximum: 300, unit: km}
      duration_min: {type: number, minimum: 1, maximum: 1440, unit: min}
    plausible: distance_km / (duration_min / 60) <= 45
    lasts: duration_min
    overlap: exclusive
  mobility.rental:
    title: Rental
    category: mobility
    reported_by: [participant]
    attributes:
      duration_min: {type: number, minimum: 1, maximum: 1440, unit: min}
      ride_no: {type: string, max_length: 64}
    lasts: duration_min
    overlap: exclusive
    claim: {by: ride_no, per: ever, within: all}
  recycling.box:
    title: Box
    category: recycling
    reported_by: [participant]
    attributes:
      box_code: {type: string, max_length: 64}
    claim: {by: box_code, per: ever, within: all}
rules:
  - id: walk
    title: Walk
    action: mobility.walk
    saves: "has(distance_km) ? distance_km * factors.car_pkm : 0"
    earns: steps * 0.02
    limits: [{per: day, grams: 296}]
    examples: [{name: one, given: {steps: 8000}, expect: {earns: 160}}]
  - id: ride
    title: Ride
    action: mobility.bike
    saves: distance_km * factors.car_pkm
    earns: 20
    limits: [{per: day, count: 3}]
    examples: [{name: one, given: {distance_km: 1, duration_min: 10}, expect: {earns: 20}}]
  - id: rental
    action: mobility.rental
    earns: 20
    examples: [{given: {duration_min: 10, ride_no: A}, expect: {earns: 20}}]
  - id: box
    title: Box
    action: recycling.box
    earns: 37
    examples: [{name: one, given: {box_code: A}, expect: {earns: 37}}]
"""


@pytest.fixture(scope="session")
def rulebook():
    """The small rulebook, compiled as version 1."""
    draft = compile_rulebook({"test.yaml": RULES}, 1)
    assert not draft.errors, draft.errors
    return draft.rulebook


@pytest.fixture
def person(database):
    """Make a participant with an empty book."""

    async def make(region=None):
        participant_id = uuid4()
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO participants (participant_id, display_name, region, created_at)"
                " VALUES ($1, 'somebody', $2, $3)",
                participant_id,
                region,
                NOW,
            )
            await make_book(connection, participant_id, b"salt of 16 bytes", NOW)
        return participant_id

    return make


@pytest.fixture
def record(database, rulebook):
    """Record a batch in one transaction, as one process does."""

    def run(reports, *, now=NOW, wait=False, database=database):
        return settle(
            database,
            reports,
            rulebook=rulebook,
            now=now,
            secret=SECRET,
            wait=wait,
        )

    return run


@pytest.fixture
async def writer(database, rulebook, settings):
    """A running group-commit writer with a clock that stands where the tests stand."""
    made = writer_of(database, rulebook, settings)
    made.start()
    yield made
    await made.stop()


@pytest.fixture
async def statements(database):
    """Count what is sent to PostgreSQL on the writing connections, BEGIN and COMMIT apart."""
    connections = [
        await database.lane_pool.acquire() for _ in range(database.lane_pool.get_max_size())
    ]
    real = [proxy._con for proxy in connections]
    for proxy in connections:
        await database.lane_pool.release(proxy)

    @contextmanager
    def counting():
        seen = []
        for connection in real:
            connection.add_query_logger(seen.append)
        yield seen
        for connection in real:
            connection.remove_query_logger(seen.append)

    return counting


@pytest.fixture
def lossy_proxy():
    """A line to PostgreSQL that can be cut between a statement and its answer."""

    @asynccontextmanager
    async def started(url):
        proxy = LossyProxy(url)
        await proxy.start()
        try:
            yield proxy
        finally:
            await proxy.stop()

    return started
