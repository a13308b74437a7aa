"""The main job under the interleavings that once lost or doubled grams."""

import asyncio
from datetime import timedelta
from functools import partial

import asyncpg
import msgspec
import pytest

from service.actions.record import Recorded
from service.actions.refusals import OverlapError
from service.http.idempotency import KeyReusedError
from service.ledger.books import BookBusyError, SuspendedError, lock_book
from service.ledger.refusals import ActionFaultError, NotRecordedError, QueueFullError
from service.platform.database import open_database
from service.platform.errors import BookClosedError, SaxaulError
from tests.actions.reports import (
    FAIL_ONCE,
    MINUTE,
    NOW,
    blocked_backends,
    book_of,
    count,
    key_of,
    ride,
    walk,
    writer_of,
)
from tests.orders import reverse


async def test_an_action_becomes_award_bubble_transfer_and_counter(database, person, record):
    somebody = await person(region="CN-ZJ")
    outcome = (await record([report := walk(somebody, km=5.6)]))[report]
    assert (outcome.action.saved_g, outcome.action.energy_g) == (565, 160)
    book = await book_of(database, somebody)
    assert (book["issuance"], book["ripening"], book["saved_g"], book["seq"]) == (-160, 160, 565, 1)
    async with database.pool.acquire() as connection:
        bubble = await connection.fetchrow(
            "SELECT * FROM bubbles WHERE participant_id = $1", somebody
        )
        counter = await connection.fetchrow(
            "SELECT * FROM counters WHERE participant_id = $1", somebody
        )
        outbox = await connection.fetchval(
            "SELECT body FROM outbox WHERE participant_id = $1", somebody
        )
    assert (bubble["id"], bubble["remaining_g"]) == (outcome.action.id, 160)
    assert bubble["ripens_at"].isoformat() == "2026-11-21T23:00:00+00:00"
    assert (counter["period"], counter["n"], counter["grams"]) == ("2026-11-21", 1, 160)
    assert outbox["deltas"] == [[somebody.hex, "saved", 565, "CN-ZJ"]]


async def test_a_batch_takes_the_same_number_of_statements_whatever_its_size(
    database, person, record, statements
):
    people = [await person() for _ in range(40)]
    await record([walk(people[0])])
    with statements() as few:
        await record([walk(one) for one in people[:2]])
    with statements() as many:
        await record([walk(one, steps) for one in people for steps in (100, 200)])
    assert len(few) == len(many) == 5, [query.query for query in many]


async def test_same_key_twice_in_one_batch_is_recorded_once(database, person, record):
    somebody = await person()
    twins = [walk(somebody, key=key_of("a")) for _ in range(2)]
    outcomes = await record(twins)
    assert [outcomes[twin].replayed for twin in twins] == [False, True]
    assert await count(database, "actions", somebody) == 1


async def test_same_key_with_other_content_is_refused(person, record):
    somebody = await person()
    first, other = walk(somebody, 100, key=key_of("a")), walk(somebody, 200, key=key_of("a"))
    outcomes = await record([first, other])
    assert isinstance(outcomes[first], Recorded)
    assert isinstance(outcomes[other], KeyReusedError)
    again = walk(somebody, 300, key=key_of("a"))
    assert isinstance((await record([again]))[again], KeyReusedError)


async def test_a_replay_is_recognised_before_it_is_judged_too_late(person, record):
    somebody = await person()
    first = walk(somebody, key=key_of("a"))
    await record([first])
    again = walk(somebody, key=key_of("a"))
    outcome = (await record([again], now=NOW + 30_000 * MINUTE))[again]
    assert outcome.replayed
    assert outcome.action.energy_g == 160


async def test_a_refused_action_keeps_no_key(person, record):
    somebody = await person()
    bad, mended = walk(somebody, 0, key=key_of("a")), walk(somebody, 10, key=key_of("a"))
    assert isinstance((await record([bad]))[bad], SaxaulError)
    assert isinstance((await record([mended]))[mended], Recorded)


async def test_twin_keys_in_two_batches_of_two_processes_are_recorded_once(
    settings, database, person, record
):
    """The second batch waits for the book; what it reads after the lock shows the first's row."""
    somebody = await person()
    second_process = await open_database(settings, settings.database_url)
    try:
        outcomes = await asyncio.gather(
            *(
                record([walk(somebody, key=key_of("a"))], wait=True, database=doors)
                for doors in (database, second_process) * 4
            )
        )
    finally:
        await second_process.close()
    recorded = [outcome for each in outcomes for outcome in each.values()]
    assert sum(not outcome.replayed for outcome in recorded) == 1
    assert await count(database, "actions", somebody) == 1
    assert (await book_of(database, somebody))["ripening"] == 160


async def test_two_processes_never_exceed_a_limit(settings, database, person, record):
    somebody = await person()
    second_process = await open_database(settings, settings.database_url)
    try:
        await asyncio.gather(
            *(
                record([walk(somebody, 2_000)], wait=True, database=doors)
                for doors in (database, second_process) * 6
            )
        )
    finally:
        await second_process.close()
    assert (await book_of(database, somebody))["ripening"] == 296
    assert await count(database, "actions", somebody) == 12


async def test_a_book_held_by_another_is_skipped_and_its_neighbours_are_recorded(
    database, person, record
):
    held, free = await person(), await person()
    async with database.transaction() as other:
        await other.execute("SELECT FROM books WHERE participant_id = $1 FOR NO KEY UPDATE", held)
        reports = [walk(held), walk(free)]
        outcomes = await record(reports)
    assert [*outcomes] == [reports[1]]
    assert (await book_of(database, held))["ripening"] == 0


async def test_the_writer_answers_neighbours_while_a_book_is_held_and_it_afterwards(
    database, person, writer
):
    held, free = await person(), await person()
    async with database.transaction() as other:
        await other.execute("SELECT FROM books WHERE participant_id = $1 FOR NO KEY UPDATE", held)
        waiting = writer.submit(walk(held))
        recorded = await writer.submit(walk(free))
        assert recorded.action.energy_g == 160
        await blocked_backends(writer.settings.database_url)
        assert not waiting.done()
    assert (await waiting).action.energy_g == 160


async def test_who_was_held_goes_before_whoever_came_later(settings, database, person, rulebook):
    """The book is free again when the first neighbour has its answer; forty of its lane wait."""
    small = msgspec.structs.replace(settings, batch_max=2, lanes=1)
    writer = writer_of(database, rulebook, small)
    held, *free = [await person() for _ in range(42)]
    answered = []
    other = await asyncpg.connect(settings.database_url)
    holding = other.transaction()
    await holding.start()
    await other.execute("SELECT FROM books WHERE participant_id = $1 FOR NO KEY UPDATE", held)
    futures = [writer.submit(walk(one)) for one in (held, *free)]
    for one, future in zip((held, *free), futures, strict=True):
        future.add_done_callback(partial(lambda one, _: answered.append(one), one))
    writer.start()
    await futures[1]
    await holding.rollback()
    await asyncio.gather(*futures)
    await writer.stop()
    await other.close()
    assert answered.index(held) < answered.index(free[-2])


async def test_a_book_held_for_too_long_answers_busy_and_stores_nothing(database, person, writer):
    held = await person()
    async with database.transaction() as other:
        await other.execute("SELECT FROM books WHERE participant_id = $1 FOR NO KEY UPDATE", held)
        with pytest.raises(BookBusyError):
            await writer.submit(walk(held))
    assert await count(database, "actions", held) == 0


async def test_one_poisonous_item_in_a_full_batch_harms_no_neighbour(
    database, person, writer, settings
):
    """A NUL passes no edge; here it reaches PostgreSQL, which refuses the whole statement."""
    people = [await person() for _ in range(20)]
    poisoned = walk(people[7])
    poisoned.source = "nul\0"
    futures = [writer.submit(poisoned if one is people[7] else walk(one)) for one in people]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(outcomes[7], ActionFaultError)
    assert sum(isinstance(outcome, Recorded) for outcome in outcomes) == 19
    assert (await book_of(database, people[7]))["seq"] == 0


async def test_a_commit_whose_answer_is_lost_is_found_by_its_ids(
    settings, database, person, writer, lossy_proxy
):
    """The proxy forwards the COMMIT, then cuts the line before its answer."""
    somebody = await person()
    async with lossy_proxy(settings.database_url) as proxy:
        doors = await open_database(settings, proxy.url)
        writer.database = doors
        proxy.cut_answer_of(b"COMMIT")
        recorded = await writer.submit(walk(somebody))
        await doors.close()
    assert proxy.cuts == 1
    assert not recorded.replayed
    assert await count(database, "actions", somebody) == 1
    assert (await book_of(database, somebody))["ripening"] == 160


async def test_a_copy_of_what_was_recorded_before_is_told_as_a_copy_whatever_answer_is_lost(
    settings, database, person, writer, lossy_proxy
):
    """The COMMIT whose answer is lost wrote nothing for it: the row is an older request's."""
    somebody = await person()
    await writer.submit(walk(somebody, 100, key=key_of("old")))
    async with lossy_proxy(settings.database_url) as proxy:
        doors = await open_database(settings, proxy.url)
        writer.database = doors
        proxy.cut_answer_of(b"COMMIT")
        again = await writer.submit(walk(somebody, 100, key=key_of("old")))
        proxy.cut_answer_of(b"COMMIT")
        copies = [writer.submit(walk(somebody, 300, key=key_of("new"))) for _ in range(3)]
        outcomes = await asyncio.gather(*copies)
        await doors.close()
    assert proxy.cuts == 2
    assert again.replayed
    assert sorted(outcome.replayed for outcome in outcomes) == [False, True, True]
    assert (await book_of(database, somebody))["ripening"] == 8


async def test_a_database_that_stays_away_answers_that_it_is_safe_to_send_again(
    database, person, writer
):
    somebody = await person()
    await database.lane_pool.close()
    with pytest.raises(NotRecordedError):
        await writer.submit(walk(somebody))


@pytest.mark.parametrize("state", ["40001", "40P01", "08006", "53300", "57014", "XX000", "25P03"])
async def test_a_passing_fault_reruns_the_batch(database, person, writer, state):
    """PostgreSQL fails the first insert with this state; sequences outlive the rollback."""
    somebody = await person()
    async with database.pool.acquire() as connection:
        await connection.execute(FAIL_ONCE.format(state=state))
    try:
        recorded = await writer.submit(walk(somebody))
    finally:
        async with database.pool.acquire() as connection:
            await connection.execute("DROP FUNCTION fail_once CASCADE; DROP SEQUENCE tries")
    assert recorded.action.energy_g == 160
    assert await count(database, "actions", somebody) == 1


async def test_a_writer_that_stops_records_what_waits(database, person, rulebook, settings):
    people = [await person() for _ in range(30)]
    stopping = writer_of(database, rulebook, msgspec.structs.replace(settings, batch_max=4))
    stopping.start()
    async with database.transaction() as other:
        await other.execute(
            "SELECT FROM books WHERE participant_id = $1 FOR NO KEY UPDATE", people[0]
        )
        futures = [stopping.submit(walk(one)) for one in people]
        await asyncio.gather(*futures[1:])
        await blocked_backends(settings.database_url)
        futures += [stopping.submit(walk(one)) for one in people[1:]]
        stopped = asyncio.create_task(stopping.stop())
        async with asyncio.timeout(30):
            await asyncio.gather(*futures[30:])
    await stopped
    assert futures[0].done()
    assert (await futures[0]).action.energy_g == 160


async def test_people_who_wait_for_a_held_book_leave_connections_for_actions(
    settings, database, person, writer
):
    """Every connection of the common pool waits for the held book; the lanes have their own."""
    held, free = await person(), await person()
    connection = await asyncpg.connect(settings.database_url)
    holding = connection.transaction()
    await holding.start()
    await connection.execute("SELECT FROM books WHERE participant_id = $1 FOR NO KEY UPDATE", held)

    async def wait_for_it():
        async with database.transaction() as mine:
            await lock_book(mine, held)

    waiting = [asyncio.create_task(wait_for_it()) for _ in range(settings.writer_pool)]
    await blocked_backends(settings.database_url, at_least=settings.writer_pool)
    assert (await writer.submit(walk(free))).action.energy_g == 160
    await holding.rollback()
    await connection.close()
    await asyncio.gather(*waiting)


async def test_a_full_queue_refuses_at_once(person, writer, database):
    somebody = await person()
    futures = [writer.submit(walk(somebody, 1)) for _ in range(writer.settings.queue_max)]
    with pytest.raises(QueueFullError):
        writer.submit(walk(somebody))
    await asyncio.gather(*futures)
    assert await count(database, "actions", somebody) == writer.settings.queue_max


async def test_a_client_that_goes_away_does_not_lose_its_action(database, person, writer):
    somebody = await person()
    future = writer.submit(walk(somebody, key=key_of("a")))
    future.cancel()
    again = await writer.submit(walk(somebody, key=key_of("a")))
    assert again.replayed
    assert await count(database, "actions", somebody) == 1


async def test_a_hundred_parallel_copies_are_recorded_once(database, person, writer):
    somebody = await person()
    futures = [writer.submit(walk(somebody, key=key_of("a"))) for _ in range(100)]
    recorded = await asyncio.gather(*futures)
    assert len({outcome.action.id for outcome in recorded}) == 1
    assert sum(not outcome.replayed for outcome in recorded) == 1
    assert (await book_of(database, somebody))["ripening"] == 160


async def test_exclusive_trips_that_meet_are_refused_in_a_batch_and_later(person, record):
    somebody = await person()
    first = ride(somebody, at=NOW - 60 * MINUTE)
    within = ride(somebody, at=NOW - 45 * MINUTE)
    after = ride(somebody, at=NOW - 30 * MINUTE)
    outcomes = await record([first, within, after])
    assert isinstance(outcomes[within], OverlapError)
    assert isinstance(outcomes[after], Recorded)
    late = ride(somebody, at=NOW - 80 * MINUTE)
    assert isinstance((await record([late]))[late], OverlapError)
    other = await person()
    same_minutes = ride(other, at=NOW - 60 * MINUTE)
    assert isinstance((await record([same_minutes]))[same_minutes], Recorded)


async def test_a_trip_of_a_whole_day_reaches_to_its_end(person, record):
    somebody = await person()
    await record([ride(somebody, at=NOW - 1441 * MINUTE, minutes=1440)])
    in_its_last_minute = ride(somebody, at=NOW - 2 * MINUTE, minutes=5, km=1.0)
    outcomes = await record([in_its_last_minute])
    assert isinstance(outcomes[in_its_last_minute], OverlapError)
    after_it = ride(somebody, at=NOW - MINUTE, minutes=5, km=1.0)
    assert isinstance((await record([after_it]))[after_it], Recorded)


async def test_a_reversed_trip_frees_its_minutes(database, person, record, rulebook):
    somebody = await person()
    first = ride(somebody, at=NOW - 60 * MINUTE)
    await record([first])
    await reverse(database, somebody, first.id, now=NOW, rulebook=rulebook)
    same_minutes = ride(somebody, at=NOW - 50 * MINUTE)
    assert isinstance((await record([same_minutes]))[same_minutes], Recorded)


async def test_a_board_counts_in_the_day_in_which_the_book_booked(database, person, record):
    """Midnight in Shanghai is 16:00 UTC; the book was last written to after it."""
    somebody = await person()
    midnight = NOW.replace(hour=16, minute=0)
    await record([walk(somebody, 10, km=0.02)], now=midnight + MINUTE)
    await record([walk(somebody, 3_000, km=2.0)], now=midnight - MINUTE)
    async with database.pool.acquire() as connection:
        days = await connection.fetch(
            "SELECT body ->> 'day' FROM outbox WHERE participant_id = $1", somebody
        )
    assert {day for (day,) in days} == {"2026-11-22"}


async def test_energy_ripens_after_it_was_recorded_however_late_that_was(person, record):
    report = walk(await person(), at=NOW - timedelta(days=3))
    action = (await record([report]))[report].action
    assert action.ripens_at.isoformat() == "2026-11-21T23:00:00+00:00"
    assert action.expires_at - action.ripens_at == timedelta(hours=72)


async def test_nothing_is_recorded_in_a_closed_or_suspended_book(database, person, record):
    closed, suspended = await person(), await person()
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE books SET closed = (participant_id = $1), suspended = (participant_id = $2)"
            " WHERE participant_id = ANY(ARRAY[$1, $2]::uuid[])",
            closed,
            suspended,
        )
    reports = [walk(closed), walk(suspended)]
    outcomes = await record(reports)
    assert isinstance(outcomes[reports[0]], BookClosedError)
    assert isinstance(outcomes[reports[1]], SuspendedError)


async def test_time_inside_a_book_never_runs_backwards(database, person, record):
    """Two processes' clocks differ; the order inside a book must not."""
    somebody = await person()
    await record([walk(somebody, 10)], now=NOW + MINUTE)
    report = walk(somebody, 10)
    outcome = (await record([report]))[report]
    assert outcome.action.recorded_at == NOW + MINUTE


async def test_history_refuses_changes(database, person, record):
    somebody = await person()
    await record([walk(somebody)])
    for statement in (
        "UPDATE transfers SET amount_g = 1 WHERE participant_id = $1",
        "DELETE FROM transfers WHERE participant_id = $1",
        "UPDATE actions SET energy_g = 1 WHERE participant_id = $1",
        "UPDATE actions SET attributes = '{}' WHERE participant_id = $1",
        "DELETE FROM actions WHERE participant_id = $1",
    ):
        async with database.pool.acquire() as connection:
            with pytest.raises(asyncpg.RestrictViolationError):
                await connection.execute(statement, somebody)
