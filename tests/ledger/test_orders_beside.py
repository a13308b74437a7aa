"""What operators and sweeps order, beside what people do at the same moment, in two processes."""

import asyncio
import uuid
from functools import partial

from service.actions.reverse_by_operator import ReverseOrder
from service.energy.collect import CollectOrder
from service.http.decode import NoFields
from service.ledger.lanes import Lanes
from service.platform.clock import Clock
from tests.callers import advance
from tests.ledger.histories import RULEBOOK, award, book_of, by_operator, make_person
from tests.planting.forestry import give, open_plot, open_project, statuses


async def test_a_reversal_with_a_key_sent_many_times_at_once_is_one(through):
    alice, operator = await through("alice"), await through("olga", "operator")
    walks = [(await alice[0].walks(steps))["id"] for steps in (8_000, 5_000)]
    paths = [f"/v1/operator/actions/{walk}/reverse" for walk in walks]
    key, body = str(uuid.uuid4()), {"reason": "a tram"}
    answers = await asyncio.gather(
        *[operator[n % 2].post(paths[0], body, key=key) for n in range(100)]
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    other = await operator[1].post(paths[1], body, key=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert (await alice[0].balances())["ripening_g"] == 100


async def test_one_key_for_actions_of_two_people_is_one_reversal(through):
    people, operator = [await through(f"p{n}") for n in range(6)], await through("o", "operator")
    walks = [(await person[0].walks())["id"] for person in people]
    key = str(uuid.uuid4())
    answers = await asyncio.gather(
        *[
            operator[n % 2].post(f"/v1/operator/actions/{walk}/reverse", {"reason": "x"}, key=key)
            for n, walk in enumerate(walks)
        ]
    )
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1, statuses
    assert {*statuses} <= {200, 422, 503}, statuses
    held = [(await person[0].balances())["ripening_g"] for person in people]
    assert sorted(held) == [0] + [160] * 5


async def test_what_is_collected_recorded_and_reversed_at_once_is_booked_once(processes, through):
    alice, operator = await through("alice"), await through("olga", "operator")
    walks = [await alice[0].walks(steps) for steps in (3_000, 3_500, 4_000)]
    await advance(processes[0], hours=32)
    undo = [
        operator[n % 2].post(f"/v1/operator/actions/{walk['id']}/reverse", {"reason": "x"})
        for n, walk in enumerate(walks[:2] * 3)
    ]
    collect = [alice[n % 2].post("/v1/me/bubbles/collect") for n in range(4)]
    record = [alice[n % 2].walks(2_000) for n in range(4)]
    ended = await asyncio.gather(*undo, *collect, *record)
    reversed_ = [answer.status_code for answer in ended[:6]]
    assert sorted(reversed_) == [200] * 2 + [409] * 4
    assert {answer.status_code for answer in ended[6:10]} == {200}
    earned_g = sum(walk["energy_g"] for walk in [walks[2], *ended[10:]])
    held = await alice[0].balances()
    assert held["ripening_g"] + held["available_g"] + held["arrears_g"] == earned_g


async def test_trees_are_allocated_and_planted_beside_pledges_and_cancellations(
    through, own_database
):
    people, operator = [await through(f"p{n}") for n in range(8)], await through("o", "operator")
    project = await open_project(own_database, price_g=10, capacity=30)
    plot = await open_plot(own_database, project)
    for person in people:
        await give(own_database, person[0].participant_id, 40)
    pledge, body = "/v1/me/pledges", {"project_id": str(project), "trees": 2}

    def promise(person):
        return person.post(pledge, body, key=str(uuid.uuid4()))

    made = await asyncio.gather(*[promise(person[0]) for person in people])
    asked = f"/v1/operator/plots/{plot}"
    ended = await asyncio.gather(
        *[operator[n % 2].post(f"{asked}/allocate", {"trees": 4}) for n in range(3)],
        *[operator[n % 2].post(f"{asked}/planted", {"evidence": []}) for n in range(3)],
        *[
            person[1].post(f"{pledge}/{answer.json()['id']}/cancel")
            for person, answer in zip(people, made, strict=True)
        ],
        *[promise(person[n % 2]) for n, person in enumerate(people)],
    )
    assert {answer.status_code for answer in ended} <= {200, 201, 409}
    placed = sum(len(answer.json()["trees"]) for answer in ended[:3] if answer.status_code == 200)
    held = await statuses(own_database, project)
    assert held.get("allocated", 0) + held.get("planted", 0) == placed
    await operator[0].post(f"{asked}/planted", {"evidence": []})
    balances = [await person[0].balances() for person in people]
    assert sum(held["planted_g"] for held in balances) == 10 * placed
    for held in balances:
        assert held["available_g"] + held["pledged_g"] + held["planted_g"] == 40


async def test_who_is_erased_beside_everything_leaves_a_clean_nameless_book(
    processes, through, own_database
):
    """Whatever comes before it is booked, what comes behind it is refused, and nothing is kept."""
    operator = await through("olga", "operator")
    for turn in range(4):
        alice = await through(f"alice {turn}")
        old_id = alice[0].participant_id
        walks = [await alice[0].walks(steps) for steps in (3_000, 3_500)]
        await advance(processes[0], hours=32)
        undo = f"/v1/operator/actions/{walks[0]['id']}/reverse"
        adjust = f"/v1/operator/participants/{old_id}/adjustments"
        now = (await alice[0].get("/v1/program")).json()["now"]
        walk = {"type": "mobility.walk", "occurred_at": now, "attributes": {"steps": 2_000}}
        ended = await asyncio.gather(
            *[alice[n % 2].post("/v1/me/bubbles/collect", key=f"a-key-{n:016}") for n in range(4)],
            *[alice[n % 2].post("/v1/me/actions", walk, key=f"b-key-{n:016}") for n in range(4)],
            alice[turn % 2].delete("/v1/me"),
            operator[0].post(undo, {"reason": "x", "participant_id": str(old_id)}),
            operator[1].post(adjust, {"amount_g": 5, "reason": "x"}),
            alice[0].post("/v1/me/bubbles/collect"),
        )
        assert 204 in {answer.status_code for answer in ended}
        assert {answer.status_code for answer in ended} <= {200, 201, 204, 401, 409, 503}
        row = "SELECT closed AND salt IS NULL FROM books WHERE participant_id = $1"
        assert await own_database.pool.fetchval(row, old_id)
        for kept in ("idempotency_keys", "participants", "identities", "counters"):
            count = f"SELECT count(*) FROM {kept} WHERE participant_id = $1"
            assert await own_database.pool.fetchval(count, old_id) == 0, kept


async def test_a_reversal_is_in_no_batch_with_what_reads_the_same_rows(own_settings, own_database):
    """In one batch both would find the bubble full: it would be collected, and taken back whole."""
    person = await make_person(own_database)
    awarded = [await award(own_database, person, 100) for _ in range(3)]
    at = await own_database.pool.fetchval("SELECT max(ripens_at) FROM bubbles")
    clock = Clock()
    clock.offset = at - clock.real_now()
    lanes = Lanes(own_database, clock, lambda: RULEBOOK, own_settings)
    lanes.start()
    collect = partial(CollectOrder, person, key=None, tell=lambda _: NoFields())
    orders = [collect(bubble_id=awarded[0])]
    for action_id in awarded[:2]:
        act = by_operator(clock.now())
        asked = {"action_id": action_id, "reason": "x", "act": act}
        orders.append(ReverseOrder(person, key=None, tell=lambda _: NoFields(), **asked))
    await asyncio.gather(*map(lanes.submit, [*orders, collect()]))
    await lanes.stop()
    book = await book_of(own_database, person)
    assert (book.ripening, book.available) == (0, 100)
