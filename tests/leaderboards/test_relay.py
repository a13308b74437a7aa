"""The relay: whatever dies or doubles between commit and board, boards hold each gram once."""

import asyncio
import dataclasses
import random
from contextlib import suppress
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace
from redis.exceptions import RedisError

from service.leaderboards import relay as relay_module
from service.leaderboards.boards import Boards, BoardsAwayError
from service.leaderboards.fold import Changes, Group, Row, fold
from service.leaderboards.keys import Board, period_of
from service.leaderboards.relay import Relay, StartOverError
from service.leaderboards.write import Slice, Turn, apply_slices, load_scores
from service.platform.redis_client import open_redis
from tests import orders
from tests.actions.reports import NOW
from tests.leaderboards.town import held, lane_state, relanes, relays_of, repaired, settle


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


async def lease_runs_out(shared):
    """What three seconds without a sign of life come to."""
    await shared.database.pool.execute("UPDATE relay_lanes SET lease_until = 'epoch'")


async def keys_of(shared):
    return [key async for key in shared.redis.scan_iter(match=shared.layout.pattern(), count=1000)]


async def copy_of(shared):
    """All of the boards, as a replica would have them now."""
    return {key: await shared.redis.dump(key) for key in await keys_of(shared)}


async def fail_over_to(shared, copy):
    """The replica with this copy takes the place of what was written since."""
    await shared.redis.delete(*await keys_of(shared))
    for key, value in copy.items():
        await shared.redis.restore(key, 0, value)


async def round_without_redis(relay):
    """One round of a relay that Redis does not answer: it positions rows and fails to apply."""
    shared = relay._shared
    relay._shared = replace(shared, redis=open_redis("redis://127.0.0.1:1"))
    with pytest.raises(RedisError):
        await relay.round()
    relay._shared = shared


async def test_another_time_zone_has_the_boards_built_anew(town, shared, relays, monkeypatch):
    """What was booked on a Saturday in Shanghai counts on Friday, where it was Friday then."""
    person = await town.join()
    await town.walk(person)
    await settle(*relays)
    first = await lane_state(shared)
    assert first["timezone"] == "Asia/Shanghai"
    program = dataclasses.replace(shared.program(), timezone=ZoneInfo("America/Los_Angeles"))
    moved = replace(shared, program=lambda: program)
    for relay in relays:
        relay._shared = moved
    await settle(*relays)
    assert (await lane_state(shared))["generation"] == first["generation"], "not at once"
    monkeypatch.setattr(relay_module, "SETTLED_S", 0)
    await relays[0].round()
    await settle(*relays)
    day = program.local_date(town.clock.now())
    assert day.isoformat() == "2026-11-20" != town.today().isoformat()
    boards = await held(moved, day)
    assert boards[Board("saved", "2026-11-20", "")].keys() == {person.bytes}
    lanes = await lane_state(shared, every=True)
    assert {lane["timezone"] for lane in lanes} == {"America/Los_Angeles"}
    generations = {lane["generation"] for lane in lanes}
    await settle(*relays)
    assert {lane["generation"] for lane in await lane_state(shared, every=True)} == generations


@pytest.mark.parametrize("shards", [1, 4])
async def test_bookings_reach_all_their_boards(town, shared, relays):
    person, other = await town.join(region="CN-ZJ"), await town.join()
    action = await town.walk(person, km=5)
    await town.walk(other, km=2)
    await settle(*relays)
    assert await held(shared, town.today()) == town.boards()
    town.later(timedelta(days=1))
    await town.collect(person)
    await town.collect(other)
    pledge = await town.pledge(person, 3)
    await town.pledge(other, 1)
    await town.cancel(person, pledge)
    await town.reverse(person, action)
    await settle(*relays)
    assert await held(shared, town.today()) == town.boards()


async def test_what_moved_to_another_region_counts_where_it_was_done(town, shared, relays):
    person = await town.join(region="CN-ZJ")
    await town.walk(person)
    town.later(timedelta(days=1))
    await town.collect(person)
    pledged = await town.pledge(person, 2)
    await town.walk(person)
    await town.move(person, "CN-BJ")
    town.later(timedelta(days=1))
    await town.collect(person)
    await town.cancel(person, pledged)
    await settle(*relays)
    boards = await held(shared, town.today())
    assert boards == town.boards()
    assert {board.region for board in boards} == {"", "CN-ZJ"}
    assert ("trees", "ever") not in {(board.name, board.period) for board in boards}


@pytest.mark.parametrize("lanes", [1])
@pytest.mark.parametrize("shards", [1, 4])
async def test_killed_between_script_and_mark(town, shared, relays):
    person = await town.join()
    await settle(*relays)
    await town.walk(person)
    [killed] = relays
    await round_without_redis(killed)
    async with shared.database.transaction() as connection:
        await connection.execute("SELECT FROM relay_lanes FOR UPDATE")
        dying = asyncio.create_task(killed.round())
        while await held(shared, town.today()) != town.boards():
            assert not dying.done()
            await asyncio.sleep(0.01)
        dying.cancel()
        with suppress(asyncio.CancelledError):
            await dying
    state = await lane_state(shared)
    assert (state["positioned"], state["applied"]) == (1, 0)
    await town.walk(person)
    await lease_runs_out(shared)
    await settle(Relay(shared, 0))
    assert await held(shared, town.today()) == town.boards()


@pytest.mark.parametrize("lanes", [1])
@pytest.mark.parametrize("shards", [4])
async def test_killed_between_two_shards(town, shared, relays):
    """A pipeline reaches some nodes of a cluster and not others."""
    people = [await town.join() for _ in range(8)]
    await settle(*relays)
    for person in people:
        await town.walk(person)
    [killed] = relays
    await round_without_redis(killed)
    state = await killed._turns.look()
    rows = [
        Row(*row)
        for row in await shared.database.pool.fetch(
            "SELECT position, body FROM outbox ORDER BY position"
        )
    ]
    turn = Turn(0, state.epoch, state.generation)
    changes = fold(rows[:5], shared.layout)
    parts = [Slice(shard, 0, 5, changes[shard]) for shard in (1, 2)]
    replies = await apply_slices(shared.redis, shared.layout, turn, parts, town.today())
    assert [reply.what for reply in replies] == ["applied", "applied"]
    await lease_runs_out(shared)
    await settle(Relay(shared, 0))
    assert await held(shared, town.today()) == town.boards()


@pytest.mark.parametrize("lanes", [1])
async def test_two_relays_that_both_believe_it_is_their_turn(town, shared):
    people = [await town.join() for _ in range(3)]
    first, second = Relay(shared, 0), Relay(shared, 0)
    chance = random.Random(7)

    async def book():
        for _ in range(40):
            await town.walk(chance.choice(people), steps=chance.randint(1, 100))

    async def relay(relay):
        while not booking.done() or (await lane_state(shared))["epoch"] < 10:
            with suppress(StartOverError):
                await relay.round()
            await lease_runs_out(shared)
            await asyncio.sleep(chance.random() / 200)

    booking = asyncio.create_task(book())
    await asyncio.gather(booking, relay(first), relay(second))
    await lease_runs_out(shared)
    await settle(second)
    assert await held(shared, town.today()) == town.boards()


@pytest.mark.parametrize("lanes", [1])
async def test_an_award_that_arrives_after_its_reversal_was_applied(town, shared, relays):
    """The slice of a relay that stood still for a while: its rows are on the board already."""
    person = await town.join()
    await settle(*relays)
    action = await town.walk(person, km=50)
    [late] = relays
    await round_without_redis(late)
    slow = (await lane_state(shared))["epoch"]
    await lease_runs_out(shared)
    await town.reverse(person, action)
    await settle(Relay(shared, 0))
    assert await held(shared, town.today()) == town.boards() == {}
    changes = Changes({(person.bytes, Group("saved", town.today().isoformat(), "")): 5048})
    turn = Turn(0, slow, (await lane_state(shared))["generation"])
    for epoch in (slow, slow + 1):
        parts = [Slice(0, 0, 1, changes)]
        await apply_slices(
            shared.redis, shared.layout, replace(turn, epoch=epoch), parts, town.today()
        )
    assert await held(shared, town.today()) == {}


@pytest.mark.parametrize("lanes", [1])
async def test_a_zombie_cannot_load_what_it_read_before_a_later_turn(town, shared, relays):
    person = await town.join()
    await town.walk(person, km=3)
    await settle(*relays)
    zombie = await lane_state(shared)
    before = (await relays[0]._turns.look()).generation
    await town.walk(person, km=4)
    await lease_runs_out(shared)
    await settle(Relay(shared, 0))
    turn = Turn(0, zombie["epoch"], before)
    loaded = await load_scores(shared.redis, shared.layout, turn, 0, [], complete_at=(0, NOW))
    assert not loaded
    [reply] = await apply_slices(
        shared.redis, shared.layout, turn, [Slice(0, 2, 3, Changes())], town.today()
    )
    assert reply.what == "stale"
    await town.walk(person, km=5)
    await lease_runs_out(shared)
    await settle(Relay(shared, 0))
    assert await held(shared, town.today()) == town.boards()


@pytest.mark.parametrize("lanes", [1])
async def test_a_lower_id_that_commits_later_is_not_lost(town, shared, relays):
    slow, quick = await town.join(), await town.join()
    await town.walk(slow)
    town.later(timedelta(days=1))
    await settle(*relays)
    async with shared.database.transaction() as connection:
        collected = await orders.collect(connection, slow, **town._at())
        await town.walk(quick)
        await settle(*relays)
        ids = await shared.database.pool.fetch("SELECT id, position FROM outbox ORDER BY position")
        assert [row["position"] for row in ids] == [1, 2]
    town._log(slow, "energy", collected.collected_g, "")
    await settle(*relays)
    rows = await shared.database.pool.fetch("SELECT id FROM outbox ORDER BY position")
    assert rows[2]["id"] < rows[1]["id"]
    assert await held(shared, town.today()) == town.boards()


@pytest.mark.parametrize("shards", [1, 4])
async def test_redis_emptied_is_built_anew(town, shared, relays, boards):
    for region in ("CN-ZJ", "", "NO-03"):
        await town.walk(await town.join(region=region))
    await settle(*relays)
    await shared.redis.delete(*await keys_of(shared))
    board = Board("saved", period_of("week", town.today()).name, "")
    with pytest.raises(BoardsAwayError):
        await boards.page(board, after=None, limit=10)
    await town.walk(await town.join())
    await repaired(town, relays)
    assert (await boards.page(board, after=None, limit=10)).size == 4


@pytest.mark.parametrize("shards", [4])
async def test_one_shard_of_several_emptied_is_built_anew(town, shared, relays):
    for _ in range(20):
        await town.walk(await town.join())
    await settle(*relays)
    gone = [key for key in await keys_of(shared) if b"{0/" in key]
    await shared.redis.delete(*gone)
    await repaired(town, relays)


@pytest.mark.parametrize("shards", [1, 4])
async def test_a_failover_that_lost_the_tail_is_replayed(town, shared, relays):
    people = [await town.join() for _ in range(6)]
    for person in people:
        await town.walk(person)
    await settle(*relays)
    generation = (await lane_state(shared))["generation"]
    replica = await copy_of(shared)
    for person in people:
        await town.walk(person, km=2)
    await settle(*relays)
    await fail_over_to(shared, replica)
    await town.walk(people[0], km=3)
    await repaired(town, relays)
    assert (await lane_state(shared))["generation"] == generation


async def test_a_tail_that_the_outbox_no_longer_holds_is_built_anew(town, shared, relays):
    person = await town.join()
    await town.walk(person)
    await settle(*relays)
    replica = await copy_of(shared)
    for _ in range(3):
        await town.walk(person, km=2)
    await settle(*relays)
    await shared.database.pool.execute("DELETE FROM outbox WHERE position <= 2")
    await fail_over_to(shared, replica)
    await repaired(town, relays)


@pytest.mark.parametrize("lanes", [1])
@pytest.mark.parametrize("worker", ["the same", "another"])
async def test_a_restored_database_is_believed_not_redis(town, shared, relays, worker):
    """PostgreSQL came back from a backup: Redis holds bookings that never happened."""
    person = await town.join()
    await town.walk(person)
    await settle(*relays)
    backup = await lane_state(shared)
    rows = await shared.database.pool.fetchval("SELECT max(id) FROM outbox")
    await town.walk(person)
    await settle(*relays)
    pool = shared.database.pool
    await pool.execute("DELETE FROM outbox WHERE id > $1", rows)
    await pool.execute(
        "UPDATE relay_lanes SET positioned = $1, applied = $1, lease_until = 'epoch'",
        backup["applied"],
    )
    await town.walk(person)
    await settle(*(relays if worker == "the same" else relays_of(shared)))
    assert await held(shared, town.today()) == town.boards()
    assert (await lane_state(shared))["generation"] > backup["generation"]


async def test_writes_go_on_without_redis_and_are_caught_up_with(town, shared, relays):
    person = await town.join()
    await settle(*relays)
    await town.walk(person)
    for relay in relays:
        if relay._lane == town.lane(person):
            await round_without_redis(relay)
    await town.walk(person)
    await settle(*relays)
    assert await held(shared, town.today()) == town.boards()


async def test_who_was_erased_is_taken_off_every_open_board(town, shared, relays):
    gone, stays = await town.join(region="CN-ZJ"), await town.join(region="CN-BJ")
    await town.walk(gone)
    await town.walk(stays)
    town.later(timedelta(days=1))
    await town.collect(gone)
    await town.collect(stays)
    await town.move(gone, "CN-BJ")
    await town.walk(gone)
    await town.pledge(gone)
    await settle(*relays)
    assert await held(shared, town.today()) == town.boards()
    await town.walk(gone, km=9)
    await town.erase(gone)
    await settle(*relays)
    boards = await held(shared, town.today())
    assert boards == town.boards()
    assert all(members.keys() == {stays.bytes} for members in boards.values())


async def test_boards_of_a_period_go_when_it_is_long_over(town, shared, relays):
    await town.walk(await town.join(region="CN-ZJ"))
    await settle(*relays)
    layout, today = shared.layout, town.today()
    generation = (await lane_state(shared))["generation"]
    for kind, days in (("day", 3), ("week", 4), ("month", 12)):
        for region in ("", "CN-ZJ"):
            board = Board("saved", period_of(kind, today).name, region)
            keep_s = await shared.redis.ttl(layout.board(0, generation, board))
            assert (days - 1) * 86_400 < keep_s <= days * 86_400
    board = Board("saved", period_of("all", today).name, "")
    assert await shared.redis.ttl(layout.board(0, generation, board)) == -1


async def test_a_booking_of_a_period_long_over_makes_no_board(town, shared, relays):
    person = await town.join()
    await settle(*relays)
    day = town.today()
    await town.walk(person)
    town.later(timedelta(days=40))
    await settle(*relays)
    names = {shared.layout.parse(key)[2] for key in await keys_of(shared) if b"saved" in key}
    assert names == {Board("saved", period_of("all", day).name, "")}
    assert await held(shared, town.today()) == town.boards()


async def test_a_score_below_zero_counts_on_though_it_is_on_no_board(town, shared, relays, boards):
    person = await town.join()
    action = await town.walk(person, km=10)
    await settle(*relays)
    town.later(timedelta(days=3))
    await town.reverse(person, action)
    await settle(*relays)
    board = Board("saved", period_of("week", town.today()).name, "")
    standing = await boards.standing(board, person.bytes, around=5)
    assert (standing.rank, standing.score, standing.size) == (None, -action.saved_g, 0)
    more = await town.walk(person, km=25)
    await settle(*relays)
    standing = await boards.standing(board, person.bytes, around=5)
    assert (standing.rank, standing.score) == (1, more.saved_g - action.saved_g)


async def test_another_number_of_lanes_builds_everything_anew(town, shared, relays):
    people = [await town.join() for _ in range(8)]
    for person in people:
        await town.walk(person)
    await settle(*relays)
    for person in people:
        await town.walk(person)
    for relay in relays:
        await relay.release()
    await settle(*await relanes(town, 3))
    assert await held(shared, town.today()) == town.boards()
    for person in people:
        await town.walk(person)
    for lane in range(3):
        await Relay(town.shared, lane).round()
    await lease_runs_out(shared)
    await settle(*await relanes(town, 1))
    assert await held(shared, town.today()) == town.boards()


async def test_a_lane_that_its_relay_gave_free_is_taken_at_once(town, shared, relays):
    await settle(*relays)
    epochs = [row["epoch"] for row in await lane_state(shared, every=True)]
    others = relays_of(shared)
    for other in others:
        assert not await other.round()
    assert [row["epoch"] for row in await lane_state(shared, every=True)] == epochs
    for relay in relays:
        await relay.release()
    await town.walk(await town.join())
    await settle(*others)
    assert await held(shared, town.today()) == town.boards()


async def test_what_partners_told_stands_on_a_board_of_its_own(town, shared, relays):
    person, other = await town.join(region="CN-ZJ"), await town.join()
    told = await town.walk(person, km=3, verified=True)
    typed = await town.walk(person, km=5)
    await town.walk(other, km=7)
    await settle(*relays)
    boards, week = Boards(shared.redis, shared.layout), period_of("week", town.today()).name
    page = await boards.page(Board("saved", week, ""), after=None, limit=5)
    assert [entry.member for entry in page.entries] == [person.bytes, other.bytes]
    assert page.entries[0].score == told.saved_g + typed.saved_g
    for region in ("", "CN-ZJ"):
        page = await boards.page(Board("verified", week, region), after=None, limit=5)
        assert [entry[1:] for entry in page.entries] == [(person.bytes, told.saved_g)]
    await town.reverse(person, told)
    await settle(*relays)
    assert await held(shared, town.today()) == town.boards()
    assert (await boards.page(Board("verified", week, ""), after=None, limit=5)).size == 0
