"""What the lanes do when a row is held, a line is lost or a statement takes too long."""

import asyncio
import uuid
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest
from msgspec.structs import replace

from service.actions.record import Recorded
from service.energy.collect import CollectOrder
from service.http.decode import NoFields
from service.http.idempotency import Answer
from service.ledger.adjust import AdjustOrder
from service.ledger.books import BookBusyError
from service.ledger.lanes import Lanes
from service.ledger.refusals import ActionFaultError, MaybeStoredError, QueueFullError
from service.planting.pledge import PledgeOrder
from service.planting.projects import change_project
from service.platform.clock import Clock
from service.platform.database import open_database
from service.privacy.erase import erase_participant
from tests.actions.proxy import LossyProxy
from tests.actions.reports import NOW, blocked_backends, box, walk
from tests.callers import sign_in
from tests.ledger.histories import RULEBOOK, book_of, by_operator, make_person, publish_rules
from tests.orders import settle
from tests.planting.forestry import give, open_project

ASKED = {"key": None, "tell": lambda _: NoFields()}

POISON = """
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.participant_id = '{person}' THEN RAISE EXCEPTION USING ERRCODE = '22003'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER poison BEFORE INSERT ON actions FOR EACH ROW EXECUTE FUNCTION poison()"""

SLOW_TOGETHER = """
CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM inserted) > 2 THEN PERFORM pg_sleep(60); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER be_slow AFTER INSERT ON actions REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION be_slow()"""


@pytest.fixture
async def rules(own_database):
    await publish_rules(own_database)


@asynccontextmanager
async def lanes_of(database, settings):
    """A door that is open, at the time of the tests."""
    clock = Clock()
    clock.offset = NOW - clock.real_now()
    lanes = Lanes(database, clock, lambda: RULEBOOK, settings)
    lanes.start()
    yield lanes
    async with asyncio.timeout(60):
        await lanes.stop()


@asynccontextmanager
async def held(settings, row, statement="SELECT FROM {} FOR UPDATE"):
    """A transaction of somebody else that holds a row, such as `books WHERE ...`, and rests."""
    connection = await asyncpg.connect(settings.database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(statement.format(row))
    yield
    await transaction.rollback()
    await connection.close()


@asynccontextmanager
async def lossy(settings):
    """A database behind a line that loses answers on demand."""
    proxy = LossyProxy(settings.database_url)
    await proxy.start()
    doors = await open_database(settings, proxy.url)
    yield proxy, doors
    await doors.close()
    await proxy.stop()


def book_row(person):
    return f"books WHERE participant_id = '{person}'"


def adjustment(person, amount_g=7):
    return AdjustOrder(person, amount_g=amount_g, reason="why", act=by_operator(NOW), **ASKED)


def pledge_of(person, project):
    return PledgeOrder(person, project_id=project, trees=1, **ASKED)


async def test_what_may_be_booked_is_not_run_again_when_its_batch_is_halved(
    own_settings, own_database, rules
):
    """COMMIT's answer is lost; when the batch is run again, a neighbour poisons it."""
    adjusted, poisoned = await make_person(own_database), await make_person(own_database)
    one_lane = replace(own_settings, lanes=1)
    await own_database.pool.execute(POISON.format(person=poisoned))
    async with lossy(one_lane) as (proxy, doors), lanes_of(doors, one_lane) as lanes:
        async with held(own_settings, book_row(poisoned)):
            proxy.cut_answer_of(b"COMMIT")
            orders = adjustment(adjusted), walk(poisoned)
            futures = [lanes.submit(order) for order in orders]
            async with asyncio.timeout(30):
                while not proxy.cuts:
                    await asyncio.wait(futures, timeout=0.01)
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [MaybeStoredError, ActionFaultError]
    assert (await book_of(own_database, adjusted)).available == 7


async def test_an_erasure_whose_commit_gets_no_answer_forgets_all(
    own_settings, own_database, rules
):
    person = await make_person(own_database)
    async with lossy(own_settings) as (proxy, doors), lanes_of(doors, own_settings) as lanes:
        await lanes.submit(walk(person))
        proxy.cut_answer_of(b"COMMIT")
        await erase_participant(lanes, person)
        assert proxy.cuts == 1
    kept = "SELECT count(*) FROM actions WHERE attributes IS NOT NULL"
    assert await own_database.pool.fetchval(kept) == 0


async def test_stock_that_is_held_harms_nobody_who_wants_no_tree(own_settings, own_database, rules):
    one_lane = replace(own_settings, lanes=1)
    wanting, walking = await make_person(own_database), await make_person(own_database)
    await give(own_database, wanting, 100)
    project = await open_project(own_database, price_g=10)
    async with lanes_of(own_database, one_lane) as lanes:
        async with held(own_settings, f"stock WHERE project_id = '{project}'"):
            orders = pledge_of(wanting, project), walk(walking)
            futures = [lanes.submit(order) for order in orders]
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [BookBusyError, Recorded]
        assert isinstance(await lanes.submit(pledge_of(wanting, project)), Answer)


async def test_a_claim_that_is_held_harms_nobody_who_claims_nothing(
    own_settings, own_database, rules
):
    """Another process was stopped between binding a claim and its COMMIT."""
    one_lane = replace(own_settings, lanes=1)
    first, second, walking = [await make_person(own_database) for _ in range(3)]
    async with lanes_of(own_database, one_lane) as lanes:
        await lanes.submit(box(first, "box-1"))
        async with held(own_settings, "claims", "DELETE FROM {}"):
            orders = box(second, "box-1"), walk(walking)
            futures = [lanes.submit(order) for order in orders]
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [BookBusyError, Recorded]


async def test_an_end_of_the_log_that_is_held_harms_nobody_who_is_not_logged(
    own_settings, own_database, rules
):
    one_lane = replace(own_settings, lanes=1)
    people = [await make_person(own_database) for _ in range(3)]
    async with lanes_of(own_database, one_lane) as lanes:
        assert isinstance(await lanes.submit(adjustment(people[0])), Answer)
        async with held(own_settings, "audit_head"):
            orders = adjustment(people[1]), walk(people[2])
            futures = [lanes.submit(order) for order in orders]
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [BookBusyError, Recorded]
    assert (await book_of(own_database, people[1])).available == 0


async def test_a_batch_that_takes_too_long_is_halved(own_settings, own_database, rules):
    hasty = replace(own_settings, lanes=1, statement_timeout_ms=500)
    people = [await make_person(own_database) for _ in range(8)]
    await own_database.pool.execute(SLOW_TOGETHER)
    doors = await open_database(hasty, hasty.database_url)
    async with lanes_of(doors, hasty) as lanes:
        outcomes = await asyncio.gather(*[lanes.submit(walk(person)) for person in people])
    await doors.close()
    assert {type(outcome) for outcome in outcomes} == {Recorded}


async def test_a_busy_person_takes_no_more_than_one_place_of_those_who_wait(
    own_settings, own_database, rules
):
    busy, other = await make_person(own_database), await make_person(own_database)
    async with lanes_of(own_database, own_settings) as lanes, held(own_settings, book_row(busy)):
        async with held(own_settings, book_row(other)):
            futures = [lanes.submit(walk(busy, 100 + n)) for n in range(12)]
            last = lanes.submit(walk(other))
            # Both are waited for at the same time, though twelve came before the other.
            await blocked_backends(own_settings.database_url, at_least=2)
        assert isinstance(await last, Recorded)
        assert not any(future.done() for future in futures)
        refused = await asyncio.gather(*futures, return_exceptions=True)
        assert {type(outcome) for outcome in refused} == {BookBusyError}
    assert (await book_of(own_database, busy)).seq == 0


async def test_who_waits_for_a_book_is_settled_in_order_of_arrival(
    own_settings, own_database, rules
):
    """An adjustment that takes what the first one gives comes while the first one waits."""
    person = await make_person(own_database)
    async with lanes_of(own_database, own_settings) as lanes:
        async with held(own_settings, book_row(person)):
            first = lanes.submit(adjustment(person, 10))
            await blocked_backends(own_settings.database_url)
            later = [lanes.submit(adjustment(person, -10)), lanes.submit(adjustment(person, 3))]
        outcomes = await asyncio.gather(first, *later)
    assert {type(outcome) for outcome in outcomes} == {Answer}
    assert (await book_of(own_database, person)).available == 3


async def test_nobody_overtakes_in_the_queue_what_was_set_aside(own_settings, own_database, rules):
    """Both places of those who wait are taken, and a crowd stands between a person's two orders."""
    small = replace(own_settings, lanes=1, batch_max=1)
    person, *stuck = [await make_person(own_database) for _ in range(3)]
    crowd = [await make_person(own_database) for _ in range(50)]
    async with lanes_of(own_database, small) as lanes, AsyncExitStack() as holders:
        for each in stuck:
            await holders.enter_async_context(held(own_settings, book_row(each)))
        refused = [lanes.submit(walk(each)) for each in stuck]
        await blocked_backends(own_settings.database_url, at_least=2)
        async with held(own_settings, book_row(person)):
            orders = adjustment(person, 10), *map(walk, crowd), adjustment(person, -10)
            futures = [lanes.submit(order) for order in orders]
            await futures[1]
        outcomes = await asyncio.gather(*futures)
        assert (type(outcomes[0]), type(outcomes[-1])) == (Answer, Answer)
        await asyncio.gather(*refused, return_exceptions=True)
    assert (await book_of(own_database, person)).available == 0


async def test_whose_book_is_free_again_is_served_however_many_others_wait(
    own_settings, own_database, rules
):
    person, *stuck = [await make_person(own_database) for _ in range(9)]
    async with lanes_of(own_database, own_settings) as lanes, AsyncExitStack() as holders:
        for each in stuck:
            await holders.enter_async_context(held(own_settings, book_row(each)))
        refused = [lanes.submit(walk(each)) for each in stuck]
        async with held(own_settings, book_row(person)):
            await blocked_backends(own_settings.database_url, at_least=2)
            future = lanes.submit(walk(person))
            await asyncio.wait(refused, return_when=asyncio.FIRST_COMPLETED)
        assert isinstance(await future, Recorded)
        outcomes = await asyncio.gather(*refused, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {BookBusyError}


async def test_a_line_on_which_nothing_comes_back_is_cut(own_settings, own_database, rules):
    hasty = replace(own_settings, lanes=1, statement_timeout_ms=250)
    person = await make_person(own_database)
    async with lossy(hasty) as (proxy, doors), lanes_of(doors, hasty) as lanes:
        await lanes.submit(walk(person, 100))
        proxy.hold_answers_of(b"\0")
        future = lanes.submit(walk(person, 200))
        await proxy.until_held(1)
        proxy.hold_answers_of(None)
        async with asyncio.timeout(30):
            assert isinstance(await future, Recorded)
            await doors.reads.fetch("SELECT 1")
    assert (await book_of(own_database, person)).seq == 2


async def test_what_was_left_out_of_a_batch_is_not_told_as_perhaps_stored(
    own_settings, own_database, rules
):
    """Its book was held when the batch was booked whose COMMIT got no answer."""
    one_lane = replace(own_settings, lanes=1)
    person, walking = await make_person(own_database), await make_person(own_database)
    async with lossy(one_lane) as (proxy, doors), lanes_of(doors, one_lane) as lanes:
        async with held(own_settings, book_row(person)):
            proxy.cut_answer_of(b"COMMIT")
            futures = [lanes.submit(order) for order in (adjustment(person), walk(walking))]
            await futures[1]
        assert isinstance(await futures[0], Answer)
    assert (await book_of(own_database, person)).available == 7


async def test_a_door_that_is_closed_takes_no_order(own_settings, own_database, rules):
    person = await make_person(own_database)
    async with lanes_of(own_database, own_settings) as lanes:
        pass
    with pytest.raises(QueueFullError):
        lanes.submit(walk(person))


async def test_a_pledge_pays_the_price_of_when_its_trees_are_there(
    own_settings, own_database, rules
):
    """An operator makes a tree dearer and adds one, while a pledge waits for that very stock."""
    early, late = await make_person(own_database), await make_person(own_database)
    told = {"rulebook": RULEBOOK, "now": NOW}
    for person in (early, late):
        await give(own_database, person, 100)
    project = await open_project(own_database, price_g=10, capacity=1)
    await settle(own_database, [pledge_of(early, project)], **told)
    async with own_database.transaction() as connection:
        await change_project(connection, project, {"price_g": 90, "capacity": 2}, by_operator(NOW))
        order = pledge_of(late, project)
        waiting = asyncio.create_task(settle(own_database, [order], **told))
        await blocked_backends(own_settings.database_url)
    assert isinstance((await waiting)[order], Answer)
    assert (await book_of(own_database, late)).pledged == 90


async def test_all_bubbles_of_many_people_are_collected_in_one_batch(
    own_settings, own_database, rules
):
    """Tables that were empty when they were last looked at: the plan must not rest on that."""
    await own_database.pool.execute("ANALYZE")
    hasty = replace(own_settings, lanes=1, statement_timeout_ms=10_000)
    people = [await make_person(own_database) for _ in range(600)]
    doors = await open_database(hasty, hasty.database_url)
    async with lanes_of(doors, hasty) as lanes:
        for _ in range(25):
            await asyncio.gather(*[lanes.submit(walk(person, 100)) for person in people])
    at = await own_database.pool.fetchval("SELECT max(ripens_at) FROM bubbles")
    orders = [CollectOrder(person, **ASKED) for person in people]
    outcomes = await settle(doors, orders, rulebook=RULEBOOK, now=at)
    await doors.close()
    assert {type(outcome) for outcome in outcomes.values()} == {Answer}
    assert await own_database.pool.fetchval("SELECT sum(remaining_g) FROM bubbles") == 0
    # The audit behind each test looks at them all.
    await own_database.pool.execute("ANALYZE")


async def test_batches_of_phones_that_wait_leave_connections_for_others(
    processes, own_settings, own_database
):
    one = processes[0]
    busy = await sign_in(one, "xaver")
    now = (await one.get("/v1/dev/clock")).json()["now"]
    item = {"type": "mobility.walk", "occurred_at": now, "attributes": {"steps": 100}}

    def send():
        batch = {"actions": [item | {"idempotency_key": str(uuid.uuid4())}]}
        return busy.post("/v1/me/actions/batch", batch, key=str(uuid.uuid4()))

    async with own_database.pool.acquire() as connection, connection.transaction():
        await connection.execute(f"SELECT FROM {book_row(busy.participant_id)} FOR UPDATE")
        sent = [asyncio.create_task(send()) for _ in range(12)]
        await blocked_backends(own_settings.database_url)
        newcomer = await sign_in(one, "newcomer")
        assert not any(task.done() for task in sent)
    answers = await asyncio.gather(*sent)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert newcomer.participant_id != busy.participant_id
