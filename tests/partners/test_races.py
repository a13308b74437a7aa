"""Two processes and one event: it is paid once, to one person, and both orders end the same."""

import asyncio
import copy
import random
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from service.partners.release import release_due
from tests.callers import sign_in
from tests.partners.sender import PLAIN, linked_person, make_sender


@pytest.fixture
def there(metro, other_client):
    """The same partner, who calls the other process."""
    twin = copy.copy(metro)
    twin.client = other_client
    return twin


async def test_the_same_events_at_two_processes(metro, there, alice):
    await linked_person(metro, "card-2")
    events = [metro.event(f"card-{1 + n % 2}") for n in range(60)]
    shuffled = random.Random(7).sample(events, len(events))
    answers = await asyncio.gather(
        metro.send(*events), there.send(*shuffled), metro.send(*shuffled), there.send(*events)
    )
    by_id = {}
    for results in answers:
        for result in results:
            by_id.setdefault(result["id"], []).append(result)
    for results in by_id.values():
        assert sorted(result["status"] for result in results) == ["accepted", *["duplicate"] * 3]
        assert len({result["action_id"] for result in results}) == 1


async def test_event_and_reversal_cross(metro, there, alice, intake):
    pairs = [(e, metro.reversal(e)) for e in [metro.event("card-1") for _ in range(40)]]
    sends = []
    for number, (event, undo) in enumerate(pairs):
        sender, other = (metro, there) if number % 2 else (there, metro)
        sends += [sender.send_one(event), other.send_one(undo)]
    results = await asyncio.gather(*sends)
    assert {result["status"] for result in results[::2]} == {"accepted"}
    assert {result["status"] for result in results[1::2]} <= {"accepted", "parked"}
    await release_due(intake)
    assert await metro.parked() == []
    assert set((await alice.balances()).values()) == {0}
    again = await metro.send(*[undo for _, undo in pairs])
    assert {result["status"] for result in again} == {"duplicate"}


async def test_a_batch_of_both_in_both_orders(metro, there, alice, intake):
    events = [metro.event("card-1") for _ in range(80)]
    undos = [metro.reversal(event) for event in events]
    await asyncio.gather(
        metro.send(*events), there.send(*undos), there.send(*events), metro.send(*reversed(undos))
    )
    await release_due(intake)
    assert await metro.parked() == []
    assert set((await alice.balances()).values()) == {0}


async def test_one_ticket_over_two_people_at_two_processes(metro, there, alice):
    bob = await linked_person(metro, "card-2")
    tickets = [uuid.uuid4().hex for _ in range(5)]
    mine = [metro.event("card-1", data={"ticket_no": ticket}) for ticket in tickets]
    hers = [metro.event("card-2", data={"ticket_no": ticket}) for ticket in reversed(tickets)]
    first, second = await asyncio.gather(metro.send(*mine), there.send(*hers))
    assert sum(result["status"] == "accepted" for result in first + second) == 5
    refused = [result for result in first + second if result["status"] == "rejected"]
    assert {result["problem"]["reason"] for result in refused} == {"already-claimed"}
    paid = (await alice.balances())["ripening_g"] + (await bob.balances())["ripening_g"]
    assert paid == 260


async def test_one_box_over_two_partners_at_two_processes(operator, other_client, name):
    type_ = "recycling.reusable_box"
    here = await make_sender(operator, f"a-{name}"[:60], [type_])
    there = await make_sender(operator, f"b-{name}"[:60], [type_])
    await linked_person(here, "s-1")
    await linked_person(there, "s-1")
    there.client = other_client
    boxes = [{"box_code": uuid.uuid4().hex} for _ in range(20)]
    first, second = await asyncio.gather(
        here.send(*[here.event("s-1", type_, data=box) for box in boxes]),
        there.send(*[there.event("s-1", type_, data=box) for box in reversed(boxes)]),
    )
    assert sum(result["status"] == "accepted" for result in first + second) == 20


async def test_events_while_their_subject_changes_hands(metro, there, alice):
    """Each is paid once, to whoever was linked then; none is lost, none is left waiting."""
    bob = await sign_in(metro.client, uuid.uuid4().hex)
    # As from a clock that is ahead: after every consent.
    soon = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    events = [metro.event("card-1", time=soon) for _ in range(30)]

    async def relink():
        for person in (bob, alice, bob):
            await metro.link(person, "card-1")

    async def send(sender, order):
        return [await sender.send_one(event) for event in order]

    (first, second, _) = await asyncio.gather(
        send(metro, events), send(there, list(reversed(events))), relink()
    )
    statuses = {}
    for result in first + second:
        statuses.setdefault(result["id"], []).append(result)
    for results in statuses.values():
        assert sorted(result["status"] for result in results) == ["accepted", "duplicate"]
        assert len({result["action_id"] for result in results}) == 1
    paid = (await alice.balances())["ripening_g"], (await bob.balances())["ripening_g"]
    accepted = [r for results in statuses.values() for r in results if r["status"] == "accepted"]
    assert sum(paid) == sum(result["energy_g"] for result in accepted)


async def test_an_event_whose_subject_changes_hands_each_time_it_is_tried(
    metro, alice, intake, database
):
    """The race is lost six times: the partner does not notice, the last one linked is paid."""
    bob = await sign_in(metro.client, uuid.uuid4().hex)
    link = (metro.id, intake.identifier.subject_key(metro.id, "card-1"))
    holding, holder = await hold_book(database, alice)
    sending = asyncio.create_task(metro.send_one(metro.event("card-1")))
    for person in (bob, alice) * 3:
        await until_it_waits(sending, database, holder)
        before = holding
        holding, holder = await hold_book(database, person)
        await database.pool.execute(_RELINK, *link, person.participant_id)
        await before.aclose()
    await holding.aclose()
    assert (await sending)["status"] == "accepted"
    assert (await alice.balances())["ripening_g"] == 52
    assert (await bob.balances())["ripening_g"] == 0


async def test_events_while_the_person_leaves(metro, there):
    person = await linked_person(metro, "card-1")
    events = [metro.event("card-1") for _ in range(20)]

    async def send():
        return [await there.send_one(event) for event in events]

    results, left = await asyncio.gather(send(), person.delete("/v1/me"))
    assert left.status_code == 204
    assert {result["status"] for result in results} <= {"accepted", "parked"}
    again = await metro.send(*events)
    assert [r["status"] for r in again] == [
        "duplicate" if r["status"] == "accepted" else "parked" for r in results
    ]


async def test_a_parked_id_is_claimed_by_two_people_at_once(metro, there, alice):
    await linked_person(metro, "card-2")
    parked = [metro.event("card-9") for _ in range(40)]
    assert {result["status"] for result in await metro.send(*parked)} == {"parked"}

    def mended(subject):
        return [
            event | {"subject": subject, "data": {"ticket_no": uuid.uuid4().hex}}
            for event in parked
        ]

    first, second = await asyncio.gather(
        asyncio.gather(*[metro.send_one(event) for event in mended("card-1")]),
        asyncio.gather(*[there.send_one(event) for event in mended("card-2")]),
    )
    for one, two in zip(first, second, strict=True):
        assert {one["status"], two["status"]} == {"accepted", "rejected"}
        refused = one if one["status"] == "rejected" else two
        assert refused["problem"]["code"] == "event-id-reused"


async def test_parked_events_are_released_once(metro, there, app, intake):
    events = [metro.event("card-9") for _ in range(50)]
    await metro.send(*events)
    person = await sign_in(metro.client, uuid.uuid4().hex)
    code = (await person.post("/v1/me/links", {"partner_id": metro.id})).json()["link_code"]
    order = {"link_code": code, "subject": "card-9"}
    linked, _, _, again = await asyncio.gather(
        metro.call("POST", "/links", order, PLAIN),
        release_due(intake),
        release_due(intake),
        there.send(*events),
    )
    assert linked.status_code == 201
    await release_due(intake)
    assert {result["status"] for result in again} <= {"accepted", "parked", "duplicate"}
    assert await metro.parked() == []
    assert (await person.balances())["ripening_g"] == 260
    assert {r["status"] for r in await metro.send(*events)} == {"duplicate"}


async def test_links_are_cut_and_made_while_events_come(metro, there, alice, intake):
    events = [metro.event("card-1") for _ in range(20)]

    async def change():
        for _ in range(5):
            await alice.delete(f"/v1/me/links/{metro.id}")
            await metro.link(alice, "card-1")

    async def send():
        return [await there.send_one(event) for event in events]

    results, _ = await asyncio.gather(send(), change())
    assert {result["status"] for result in results} <= {"accepted", "parked"}
    await release_due(intake)
    assert await metro.parked() == []
    assert {r["status"] for r in await metro.send(*events)} == {"duplicate"}
    assert (await alice.balances())["ripening_g"] == 260


async def hold_book(database, person):
    """Hold this person's book until this is closed; with the process that others wait for."""
    holding = AsyncExitStack()
    connection = await holding.enter_async_context(database.transaction())
    await connection.execute(
        "SELECT FROM books WHERE participant_id = $1 FOR NO KEY UPDATE", person.participant_id
    )
    return holding, connection.get_server_pid()


async def until_it_waits(task, database, holder):
    """Wait until the task is done, or somebody waits for this holder; whoever that is."""
    waiter = None
    while waiter is None and not task.done():
        await asyncio.sleep(0.01)
        waiter = await database.pool.fetchval(_WAITS_FOR, holder)
    return waiter


_WAITS_FOR = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND $1::int = ANY(pg_blocking_pids(pid))"""

_RELINK = """
UPDATE links SET participant_id = $3 WHERE partner_id = $1 AND subject_key = $2"""


@asynccontextmanager
async def release_that_waits(database, intake, person):
    """A release that has read what is parked, while somebody holds the person's book."""
    holding, holder = await hold_book(database, person)
    async with holding:
        release = asyncio.create_task(release_due(intake))
        await until_it_waits(release, database, holder)
        yield release


async def parked_and_linked(metro, intake, database, person, *events):
    """Park these events of card-9, and link it without anybody releasing them."""
    await metro.send(*events)
    await database.pool.execute(
        "INSERT INTO links (partner_id, subject_key, participant_id, linked_at)"
        " SELECT $1, $2, $3, linked_at FROM links LIMIT 1",
        metro.id,
        intake.identifier.subject_key(metro.id, "card-9"),
        person.participant_id,
    )


async def discard(operator, event):
    items = (await operator.get("/v1/operator/parked-events")).json()["items"]
    (found,) = [item["id"] for item in items if item["event_id"] == event["id"]]
    done = await operator.post(f"/v1/operator/parked-events/{found}/discard", {})
    return done.status_code


async def test_what_is_discarded_while_its_release_waits_is_not_paid(
    metro, alice, operator, intake, database
):
    event = metro.event("card-9")
    await parked_and_linked(metro, intake, database, alice, event)
    async with release_that_waits(database, intake, alice) as release:
        assert await discard(operator, event) == 200
    assert await release == 0
    assert (await alice.balances())["ripening_g"] == 0


async def test_what_is_mended_while_its_release_waits_is_not_paid(metro, alice, intake, database):
    """The last content counts: it names somebody who is not linked yet."""
    event = metro.event("card-9")
    await parked_and_linked(metro, intake, database, alice, event)
    async with release_that_waits(database, intake, alice) as release:
        mended = event | {"subject": "card-8"}
        assert (await metro.send_one(mended))["status"] == "parked"
    assert await release == 0
    assert (await alice.balances())["ripening_g"] == 0
    bob = await linked_person(metro, "card-8")
    assert (await bob.balances())["ripening_g"] == 52


async def test_a_reversal_discarded_while_its_release_waits_takes_nothing(
    metro, alice, operator, intake, database
):
    event = metro.event("card-9")
    undo = metro.reversal(event)
    await parked_and_linked(metro, intake, database, alice, event, undo)
    assert (await metro.send_one(event))["status"] == "accepted"
    async with release_that_waits(database, intake, alice) as release:
        assert await discard(operator, undo) == 200
    await release
    assert (await alice.balances())["ripening_g"] == 52


@pytest.fixture
async def recording_waits(database):
    """Whatever is recorded waits, late in its transaction, while the key of this is held."""
    await database.pool.execute(_WAIT)
    yield "SELECT pg_advisory_xact_lock(7)"
    await database.pool.execute("DROP TRIGGER wait ON actions; DROP FUNCTION wait()")


_WAIT = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(7);
    RETURN NEW;
END $$;
CREATE TRIGGER wait BEFORE INSERT ON actions FOR EACH ROW EXECUTE FUNCTION wait()"""


async def test_a_reversal_whose_event_is_being_recorded_is_not_discarded(
    metro, alice, operator, database, recording_waits
):
    """Nobody is told that it is discarded when it has taken the event back."""
    event = metro.event("card-1")
    undo = metro.reversal(event)
    await metro.send(undo)
    async with database.transaction() as connection:
        await connection.execute(recording_waits)
        sending = asyncio.create_task(metro.send_one(event))
        batch = await until_it_waits(sending, database, connection.get_server_pid())
        discarding = asyncio.create_task(discard(operator, undo))
        await until_it_waits(discarding, database, batch)
    assert await discarding == 404
    assert (await sending)["status"] == "accepted"
    assert (await alice.balances())["ripening_g"] == 0
    assert (await metro.send_one(undo))["status"] == "duplicate"
