"""One door for grams: keys, twins and the last tree, through two processes at once."""

import asyncio
import uuid
from datetime import timedelta

import pytest
from msgspec import Struct

from service.energy.collect import CollectOrder
from service.http.decode import NoFields
from service.http.idempotency import Answer
from service.ledger.lanes import Lanes
from service.ledger.refusals import MaybeStoredError
from service.planting.pledge import CancelOrder, PledgeOrder
from service.planting.stock import SoldOutError
from service.platform.clock import Clock
from service.platform.database import open_database
from tests.actions.proxy import LossyProxy
from tests.actions.reports import NOW, walk
from tests.callers import advance, sign_in
from tests.ledger.histories import (
    RULEBOOK,
    award,
    book_of,
    collect_all,
    make_person,
    publish_rules,
)
from tests.ledger.kinds import KINDS, make_rich, moved, orders_of
from tests.orders import expire, pledge, settle
from tests.planting.forestry import give, open_project


@pytest.fixture
async def alice(through):
    """One person, who can ask either process."""
    return await through("alice")


async def test_a_key_sent_many_times_at_once_is_one_order_of_each_kind(
    processes, own_database, through
):
    operators = await through("olga", "operator")
    people, project = await make_rich(own_database, processes[0], KINDS)
    for kind, rich in zip(KINDS, people, strict=True):
        asked = (await orders_of(processes[0], rich, project))[kind]
        twins = await through(kind)
        before = await rich.caller.balances()
        key = str(uuid.uuid4())
        send = [asked.send(twins[n % 2], operators[n % 2], key) for n in range(100)]
        answers = await asyncio.gather(*send)
        # What is recorded is told as made by the first answer alone.
        told = {200, 201} if kind == "record" else {asked.status}
        assert {answer.status_code for answer in answers} == told, kind
        firsts = [a.status_code for a in answers if "idempotency-replayed" not in a.headers]
        assert firsts == [asked.status], kind
        assert len({answer.content for answer in answers}) == 1, kind
        assert await rich.caller.balances() == moved(before, asked.moves), kind


async def test_a_conflict_sent_many_times_at_once_is_one_answer(own_database, alice):
    await give(own_database, alice[0].participant_id, 50)
    body = {"project_id": str(await open_project(own_database, price_g=50)), "trees": 1}
    pledge = await alice[0].post("/v1/me/pledges", body, key=str(uuid.uuid4()))
    path = f"/v1/me/pledges/{pledge.json()['id']}/cancel"
    await alice[0].post(path)
    key = str(uuid.uuid4())
    answers = await asyncio.gather(*[alice[n % 2].post(path, key=key) for n in range(100)])
    assert {(a.status_code, a.json()["code"]) for a in answers} == {(409, "pledge-not-cancellable")}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


async def test_a_key_with_another_body_is_refused_in_the_same_batch(own_database, alice):
    await give(own_database, alice[0].participant_id, 100)
    project, key = str(await open_project(own_database, price_g=10)), str(uuid.uuid4())
    answers = await asyncio.gather(
        *[
            alice[0].post("/v1/me/pledges", {"project_id": project, "trees": n}, key=key)
            for n in (1, 2, 1, 2)
        ]
    )
    codes = sorted((a.status_code, a.json().get("code", "")) for a in answers)
    assert codes == [(201, "")] * 2 + [(422, "idempotency-key-reused")] * 2
    assert (await alice[0].balances())["pledged_g"] in {10, 20}


async def test_a_conflict_is_the_answer_for_ever_and_what_moves_nothing_is_not_kept(
    own_database, alice
):
    project, key = str(await open_project(own_database, price_g=10)), str(uuid.uuid4())
    body = {"project_id": project, "trees": 1}
    poor = await alice[0].post("/v1/me/pledges", body, key=key)
    await give(own_database, alice[0].participant_id, 100)
    again = await alice[1].post("/v1/me/pledges", body, key=key)
    assert (poor.status_code, poor.json()["code"]) == (409, "insufficient-energy")
    assert again.content == poor.content
    assert again.headers["idempotency-replayed"] == "true"
    nowhere = {"project_id": str(uuid.uuid4()), "trees": 1}
    key = str(uuid.uuid4())
    for _ in range(2):
        answer = await alice[0].post("/v1/me/pledges", nowhere, key=key)
        assert (answer.status_code, "idempotency-replayed" in answer.headers) == (404, False)


async def test_the_last_trees_go_to_as_many_as_there_are(processes, own_database):
    project = await open_project(own_database, price_g=10, capacity=7)
    people = [await sign_in(processes[n % 2], f"person-{n}") for n in range(20)]
    for person in people:
        await give(own_database, person.participant_id, 10)
    body = {"project_id": str(project), "trees": 1}
    answers = await asyncio.gather(
        *[person.post("/v1/me/pledges", body, key=str(uuid.uuid4())) for person in people]
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] * 7 + [409] * 13
    refused = {a.json()["trees_left"] for a in answers if a.status_code == 409}
    assert refused == {0}
    cancels = [
        person.post(f"/v1/me/pledges/{answer.json()['id']}/cancel")
        for person, answer in zip(people, answers, strict=True)
        if answer.status_code == 201
    ]
    late = [
        person.post("/v1/me/pledges", body, key=str(uuid.uuid4()))
        for person, answer in zip(people, answers, strict=True)
        if answer.status_code == 409
    ]
    ended = await asyncio.gather(*cancels, *late)
    assert [answer.status_code for answer in ended[:7]] == [200] * 7
    sold = sum(answer.status_code == 201 for answer in ended[7:])
    assert sold <= 7
    row = await own_database.pool.fetchrow(
        "SELECT pledged FROM stock WHERE project_id = $1", project
    )
    assert row["pledged"] == sold


@pytest.mark.parametrize("is_cancelled_first", [True, False])
async def test_a_tree_that_is_given_back_is_sold_to_who_comes_behind(
    own_database, is_cancelled_first
):
    """The last tree in one batch: the second order sees what the first did."""
    alice, bob = [await make_person(own_database) for _ in range(2)]
    for person in (alice, bob):
        await give(own_database, person, 10)
    project = await open_project(own_database, price_g=10, capacity=1)
    told = {"rulebook": RULEBOOK, "now": NOW}
    async with own_database.transaction() as connection:
        held = await pledge(connection, alice, project, **told)
    asked = {"key": None, "tell": lambda _: NoFields()}
    giving = CancelOrder(alice, pledge_id=held.id, **asked)
    wanting = PledgeOrder(bob, project_id=project, trees=1, **asked)
    orders = [giving, wanting] if is_cancelled_first else [wanting, giving]
    done = await settle(own_database, orders, **told)
    assert isinstance(done[giving], Answer)
    assert isinstance(done[wanting], Answer if is_cancelled_first else SoldOutError)
    books = [await book_of(own_database, person) for person in (alice, bob)]
    assert [(book.available, book.pledged) for book in books] == [
        (10, 0),
        (0, 10) if is_cancelled_first else (10, 0),
    ]


async def test_energy_that_is_given_back_pays_once(processes, own_database, alice):
    """A person pledges with what the cancelling of another pledge frees, at both processes."""
    await give(own_database, alice[0].participant_id, 50)
    body = {"project_id": str(await open_project(own_database, price_g=50)), "trees": 1}
    made = await alice[0].post("/v1/me/pledges", body, key=str(uuid.uuid4()))
    path = f"/v1/me/pledges/{made.json()['id']}/cancel"
    pledges = [alice[n % 2].post("/v1/me/pledges", body, key=str(uuid.uuid4())) for n in range(20)]
    cancels = [alice[n % 2].post(path, key=str(uuid.uuid4())) for n in range(20)]
    pairs = zip(pledges, cancels, strict=True)
    answers = await asyncio.gather(*[ask for pair in pairs for ask in pair])
    made, cancelled = [[a.status_code for a in answers[n::2]] for n in (0, 1)]
    assert set(made) <= {201, 409}
    assert made.count(201) <= 1
    assert sorted(cancelled) == [200] + [409] * 19
    held = await alice[0].balances()
    sold = made.count(201)
    assert (held["available_g"], held["pledged_g"]) == (50 - 50 * sold, 50 * sold)


async def test_what_is_collected_does_not_expire_and_what_expires_is_not_collected(
    processes, own_database, alice
):
    for steps in (3_000, 4_000, 5_000):
        await alice[0].walks(steps)
    earned_g = (await alice[0].balances())["ripening_g"]
    await advance(processes[0], hours=32)
    clock = Clock()
    async with own_database.pool.acquire() as connection:
        await clock.refresh(connection)
    ended = await asyncio.gather(
        *[alice[n % 2].post("/v1/me/bubbles/collect") for n in range(6)],
        *[expire(own_database, clock.now() + timedelta(days=5)) for _ in range(3)],
    )
    assert {answer.status_code for answer in ended[:6]} == {200}
    held = await alice[0].balances()
    assert held["ripening_g"] == 0
    assert held["available_g"] + held["expired_g"] == earned_g
    assert sum(answer.json()["collected_g"] for answer in ended[:6]) == held["available_g"]


async def test_an_order_without_a_key_is_not_run_again_when_it_may_be_booked(
    own_settings, own_database
):
    """A second run would find nothing ripe, and say so of grams that it had collected."""
    person = await make_person(own_database)
    await award(own_database, person, 100)
    at = await own_database.pool.fetchval("SELECT max(ripens_at) FROM bubbles")
    clock = Clock()
    clock.offset = at - clock.real_now()
    proxy = LossyProxy(own_settings.database_url)
    await proxy.start()
    doors = await open_database(own_settings, proxy.url)
    lanes = Lanes(doors, clock, lambda: RULEBOOK, own_settings)
    lanes.start()
    proxy.cut_answer_of(b"COMMIT")
    with pytest.raises(MaybeStoredError):
        await lanes.submit(CollectOrder(person, key=None, tell=lambda _: NoFields()))
    await lanes.stop()
    await doors.close()
    await proxy.stop()
    assert proxy.cuts == 1
    assert (await book_of(own_database, person)).available == 100
    assert (await collect_all(own_database, person, at)).collected_g == 0


async def test_many_trees_at_once_are_no_batch_that_takes_too_long(processes, own_database):
    project = await open_project(own_database, price_g=1, capacity=10_000)
    people = [await sign_in(processes[0], f"person-{n}") for n in range(8)]
    for person in people:
        await give(own_database, person.participant_id, 1_000)
    body = {"project_id": str(project), "trees": 1_000}
    answers = await asyncio.gather(
        *[person.post("/v1/me/pledges", body, key=str(uuid.uuid4())) for person in people]
    )
    assert {answer.status_code for answer in answers} == {201}
    assert await own_database.pool.fetchval("SELECT pledged FROM stock") == 8_000


async def test_ids_are_told_apart_by_their_people(own_database):
    """The key of an action and its bubble is the person with the id, in a batch of many, too."""
    await publish_rules(own_database)
    people = [await make_person(own_database) for _ in range(2)]
    reports = [walk(person, steps) for person, steps in zip(people, (4_000, 8_000), strict=True)]
    for report in reports:
        report.id = uuid.UUID(int=7)
    recorded = await settle(own_database, reports, rulebook=RULEBOOK, now=NOW)
    earned = [recorded[report].action.energy_g for report in reports]
    assert earned[0] < earned[1]
    orders = [
        CollectOrder(person, key=None, tell=lambda done: AmountOnly(done.collected_g))
        for person in people
    ]
    answers = await settle(own_database, orders, rulebook=RULEBOOK, now=NOW + timedelta(days=2))
    assert [answers[order].body for order in orders] == [
        b'{"collected_g":%d}' % grams for grams in earned
    ]


class AmountOnly(Struct):
    """What was collected."""

    collected_g: int
