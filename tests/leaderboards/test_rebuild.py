"""Built anew from the ledger, boards are what the relay had made of them, to the gram."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from msgspec.structs import replace

from service.leaderboards.drift import Drift, RelayBehindError, find_drift
from service.leaderboards.keys import Board, Layout, period_of
from service.leaderboards.rebuild import request_rebuild
from service.leaderboards.relay import Relay
from service.leaderboards.sums import open_spans
from service.platform.database import write_all
from service.platform.outbox import outbox_write
from tests.actions.reports import blocked_backends
from tests.leaderboards.town import Town, empty, held, lane_state, relanes, settle

PEOPLE = 4
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("walk"), st.integers(0, PEOPLE - 1), st.integers(1, 90)),
        st.tuples(st.just("walk"), st.integers(0, PEOPLE - 1), st.integers(1, 90)),
        st.tuples(st.just("collect"), st.integers(0, PEOPLE - 1)),
        st.tuples(st.just("reverse"), st.integers(0, PEOPLE - 1), st.integers(0, 5)),
        st.tuples(st.just("pledge"), st.integers(0, PEOPLE - 1), st.integers(1, 9)),
        st.tuples(st.just("cancel"), st.integers(0, PEOPLE - 1), st.integers(0, 3)),
        st.tuples(st.just("move"), st.integers(0, PEOPLE - 1), st.sampled_from(["", "A-1", "B-2"])),
        st.tuples(st.just("wait"), st.sampled_from([1, 9, 24, 24, 80, 400])),
        st.tuples(st.just("relay"), st.integers(0, 1)),
        st.tuples(st.just("erase"), st.integers(0, PEOPLE - 1)),
        st.tuples(st.just("rebuild")),
    ),
    min_size=3,
    max_size=25,
)


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


class History:
    """Random steps of a few people, those left out that they cannot take."""

    def __init__(self, town, people):
        self.town, self.people = town, people
        self.actions = {person: [] for person in people}
        self.pledges = {person: [] for person in people}

    async def take(self, relays, step):
        kind, *values = step
        if kind == "wait":
            self.town.later(timedelta(hours=values[0]))
        elif kind == "relay":
            await relays[values[0]].round()
        elif kind == "rebuild":
            await ask_for_rebuild(self.town.shared)
        elif self.people[values[0]] not in self.town.erased:
            await getattr(self, kind)(self.people[values[0]], *values[1:])

    async def walk(self, person, km):
        action = await self.town.walk(person, km, steps=100 * km, verified=km % 2 == 0)
        self.actions[person].append(action)

    async def collect(self, person):
        await self.town.collect(person)

    async def reverse(self, person, index):
        if index < len(self.actions[person]):
            await self.town.reverse(person, self.actions[person].pop(index))

    async def pledge(self, person, trees):
        available_g = await self.town.database.pool.fetchval(
            "SELECT available FROM books WHERE participant_id = $1", person
        )
        if available_g >= trees:
            self.pledges[person].append(await self.town.pledge(person, trees))

    async def cancel(self, person, index):
        if index < len(self.pledges[person]):
            await self.town.cancel(person, self.pledges[person].pop(index))

    async def move(self, person, region):
        await self.town.move(person, region)

    async def erase(self, person):
        await self.town.erase(person)


async def ask_for_rebuild(shared):
    async with shared.database.transaction() as connection:
        return await request_rebuild(connection, shared.clock.real_now())


@pytest.mark.parametrize("shards", [1, 4])
@examples(
    max_examples=20,
)
@given(steps=STEPS)
async def test_random_histories_rebuilt_are_as_relayed(shared, rulebook, steps):
    await empty(shared)
    town = Town(shared, rulebook)
    town.go_to(datetime(2026, 11, 27, 15, 30, tzinfo=UTC))
    relays = await relanes(town, 2)
    history = History(town, [await town.join(region="CN-ZJ") for _ in range(PEOPLE)])
    for step in steps:
        await history.take(relays, step)
    await settle(*relays)
    relayed = await held(town.shared, town.today())
    assert relayed == town.boards()
    await ask_for_rebuild(shared)
    await settle(*relays)
    assert await held(town.shared, town.today()) == relayed
    report = await find_drift(town.shared)
    assert (report.wrong, report.moving) == ([], 0)


@pytest.mark.parametrize("shards", [1, 4])
async def test_a_rebuild_while_people_go_on_misses_nothing(town, shared, relays):
    people = [await town.join(region="CN-ZJ") for _ in range(6)]
    await settle(*relays)

    async def go_on(person):
        for _ in range(15):
            await town.walk(person, steps=50)
        town.later(timedelta(hours=4))
        await town.collect(person)

    async def relay(relay):
        while not walking.done():
            await relay.round()
            await asyncio.sleep(0.001)

    walking = asyncio.gather(*(go_on(person) for person in people))
    working = [asyncio.create_task(relay(each)) for each in relays]
    for _ in range(5):
        await ask_for_rebuild(shared)
        await asyncio.sleep(0.03)
    await asyncio.gather(walking, *working)
    await settle(*relays)
    assert await held(shared, town.today()) == town.boards()
    assert (await find_drift(shared)).wrong == []


@pytest.mark.parametrize("lanes", [1])
async def test_what_is_booked_while_the_sums_are_read_counts_once(town, shared, relays, settings):
    """The sums wait for a table that somebody holds; a booking commits meanwhile."""
    person = await town.join()
    await settle(*relays)
    await town.walk(person, km=2)
    await ask_for_rebuild(shared)
    async with shared.database.transaction() as connection:
        await connection.execute("LOCK TABLE pledges IN ACCESS EXCLUSIVE MODE")
        building = asyncio.create_task(relays[0].round())
        await blocked_backends(settings.database_url)
        await town.walk(person, km=3)
    await building
    await settle(*relays)
    assert await held(shared, town.today()) == town.boards()


async def test_who_moved_has_what_was_done_elsewhere_rebuilt_there(town, shared, relays):
    person = await town.join(region="CN-ZJ")
    await town.walk(person)
    town.later(timedelta(days=1))
    await town.walk(person, km=2)
    await town.collect(person)
    pledged = await town.pledge(person, 2)
    kept = await town.pledge(person, 3)
    await town.move(person, "CN-BJ")
    town.later(timedelta(hours=20))
    await town.collect(person)
    await town.cancel(person, pledged)
    await ask_for_rebuild(shared)
    await settle(*relays)
    boards = await held(shared, town.today())
    assert boards == town.boards()
    assert boards[Board("trees", "ever", "CN-ZJ")] == {person.bytes: kept[1]}
    assert {board.region for board in boards} == {"", "CN-ZJ"}


async def test_readers_keep_the_old_boards_until_every_lane_is_there(town, shared, relays, boards):
    for number in range(6):
        await town.walk(await town.join(person=uuid4()), km=number + 1)
    await settle(*relays)
    board = Board("saved", period_of("all", town.today()).name, "")
    before = await boards.page(board, after=None, limit=10)
    generation = (await lane_state(shared))["generation"]
    wanted = await ask_for_rebuild(shared)
    for _ in range(3):
        await relays[0].round()
    states = await lane_state(shared, every=True)
    assert [row["generation"] for row in states] == [wanted, generation]
    assert (await boards.page(board, after=None, limit=10)).entries == before.entries
    assert int(await shared.redis.get(shared.layout.active(0))) == generation
    await settle(*relays)
    assert int(await shared.redis.get(shared.layout.active(0))) == wanted
    assert (await boards.page(board, after=None, limit=10)).entries == before.entries


@pytest.mark.parametrize("lanes", [8])
async def test_more_lanes_than_connections_are_built_at_once(town, shared, relays):
    for _ in range(20):
        await town.walk(await town.join())
    async with asyncio.timeout(20):
        await asyncio.gather(*(relay.round() for relay in relays))
    await settle(*relays)
    assert await held(shared, town.today()) == town.boards()


async def test_what_the_new_boards_replace_is_let_go(town, shared, relays):
    await town.walk(await town.join())
    await settle(*relays)
    old = (await lane_state(shared))["generation"]
    await ask_for_rebuild(shared)
    await settle(*relays)
    keys = [key async for key in shared.redis.scan_iter(match=shared.layout.pattern())]
    left_s = [await shared.redis.ttl(key) for key in keys if f":{old}:".encode() in key]
    assert left_s
    assert all(0 < seconds <= 60 for seconds in left_s)


async def test_boards_over_another_number_of_shards_are_built_by_themselves(town, shared, relays):
    for _ in range(5):
        await town.walk(await town.join(region="CN-ZJ"))
    await settle(*relays)
    for relay in relays:
        await relay.release()
    town.shared = replace(shared, layout=Layout(shared.layout.prefix, 3))
    await settle(*[Relay(town.shared, lane) for lane in range(2)])
    assert await held(town.shared, town.today()) == town.boards()


async def test_the_check_names_each_score_that_is_wrong(town, shared, relays):
    person, other = await town.join(region="CN-ZJ"), await town.join()
    action = await town.walk(person, km=2)
    await town.walk(other)
    await settle(*relays)
    report = await find_drift(shared)
    assert (report.compared, report.wrong) == (9 + 3, [])
    board = Board("saved", period_of("week", town.today()).name, "CN-ZJ")
    key = shared.layout.board(0, (await lane_state(shared))["generation"], board)
    await shared.redis.zincrby(key, 7, person.bytes)
    await shared.redis.zincrby(key, 3, other.bytes)
    report = await find_drift(shared)
    assert sorted(report.wrong) == sorted(
        [
            Drift(board, person.bytes, action.saved_g, action.saved_g + 7),
            Drift(board, other.bytes, 0, 3),
        ]
    )


async def test_the_check_does_not_take_what_moves_for_wrong(town, shared, relays):
    people = [await town.join() for _ in range(3)]
    await settle(*relays)
    stop = asyncio.Event()

    async def go_on():
        while not stop.is_set():
            for person in people:
                await town.walk(person, steps=10)
            town.later(timedelta(minutes=5))

    walking = asyncio.create_task(go_on())
    working = [asyncio.create_task(relay.run(stop)) for relay in relays]
    try:
        for _ in range(3):
            assert (await find_drift(shared)).wrong == []
    finally:
        stop.set()
        await asyncio.gather(walking, *working)


async def test_without_a_relay_the_check_says_so(town, shared, relays):
    await settle(*relays)
    for relay in relays:
        await relay.release()
    await town.walk(await town.join())
    with pytest.raises(RelayBehindError):
        await find_drift(shared)


async def test_what_was_booked_by_a_clock_that_is_ahead_is_there_when_its_day_begins(
    town, shared, relays
):
    """At 23:59:59.9 somebody else's clock says 00:00: a rebuild then must not lose that booking."""
    town.go_to(datetime(2026, 11, 30, 16, 0, 1, tzinfo=UTC))
    person = await town.join(region="CN-ZJ")
    await town.walk(person)
    await town.walk(person)
    assert town.today().isoformat() == "2026-12-01"
    town.later(-timedelta(seconds=3))
    await settle(*relays)
    town.later(timedelta(seconds=3))
    boards = await held(shared, town.today())
    assert boards == town.boards()
    assert Board("saved", "2026-12", "CN-ZJ") in boards


async def test_yesterdays_boards_survive_a_rebuild_just_after_midnight(town, shared, relays):
    town.go_to(datetime(2026, 11, 30, 15, 59, 58, tzinfo=UTC))
    await town.walk(await town.join())
    expected = town.boards()
    yesterday = town.today()
    town.later(timedelta(seconds=30))
    await settle(*relays)
    assert await held(shared, yesterday) == expected


def test_open_periods_are_those_of_now_with_their_neighbours(rulebook):
    program = rulebook.program
    names = [
        span.period.name for span in open_spans(program, datetime(2026, 11, 21, 4, tzinfo=UTC))
    ]
    assert names == [
        *("ever", "2026-11-21", "2026-11-22", "2026-W47", "2026-W48", "2026-11", "2026-12"),
    ]
    midnight = datetime(2026, 11, 30, 16, 0, tzinfo=UTC)
    spans = {span.period.name: span for span in open_spans(program, midnight)}
    assert spans.keys() == {
        *("ever", "2026-11-30", "2026-12-01", "2026-12-02"),
        *("2026-W49", "2026-W50", "2026-11", "2026-12", "2027-01"),
    }
    assert spans["2026-11"].ends_at == spans["2026-12"].starts_at == midnight


async def test_a_booking_without_a_row_in_the_ledger_is_drift(town, shared, relays):
    """The check does not believe the outbox either."""
    person = await town.join()
    await settle(*relays)
    async with shared.database.transaction() as connection:
        row = outbox_write(
            town.lane(person),
            town.clock.now(),
            town.today().isoformat(),
            [(person, "trees", 1, "")],
        )
        await write_all(connection, [row])
    await settle(*relays)
    report = await find_drift(shared)
    assert {(drift.board.name, drift.in_ledger, drift.on_board) for drift in report.wrong} == {
        ("trees", 0, 1)
    }
    assert len(report.wrong) == 4
