"""A card that is sold: rides of before the new owner's consent are nobody's whom we know."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from service.partners.release import release_due
from tests.callers import items_of, sign_in
from tests.partners.sender import linked_person


def ride(metro, at=None, **changes):
    """A ride of card-1, now or then."""
    return metro.event("card-1", time=(at or datetime.now(UTC)).isoformat(), **changes)


async def unlink(person, metro):
    assert (await person.delete(f"/v1/me/links/{metro.id}")).status_code == 204


async def paid(person):
    return (await person.balances())["ripening_g"]


async def reasons(metro):
    return {item["id"]: item["reason"] for item in await metro.parked()}


async def test_a_sold_cards_earlier_rides_are_not_the_new_owners(metro, alice, operator, intake):
    await unlink(alice, metro)
    hers = ride(metro)
    assert (await metro.send_one(hers))["status"] == "parked"
    bob = await linked_person(metro, "card-1")
    assert await paid(bob) == await paid(alice) == 0
    assert await reasons(metro) == {hers["id"]: "before-link"}
    assert await release_due(intake) == 0
    (waiting,) = await items_of(operator, "/v1/operator/parked-events", partner_id=metro.id)
    path = f"/v1/operator/parked-events/{waiting['id']}/retry"
    retried = (await operator.post(path)).json()
    assert (retried["status"], retried["reason"]) == ("parked", "before-link")
    assert await paid(bob) == await paid(alice) == 0
    export = (await bob.get("/v1/me/export")).json()
    assert export["parked_events"] == []
    # What happens from the consent on is his.
    assert (await metro.send_one(ride(metro)))["status"] == "accepted"
    assert await paid(bob) == 52


async def test_an_earlier_ride_that_comes_late_is_not_the_new_owners_either(metro, alice):
    hers = ride(metro, datetime.now(UTC) - timedelta(hours=2))
    bob = await linked_person(metro, "card-1")
    assert await metro.send_one(hers) == {"index": 0, "id": hers["id"], "status": "parked"}
    assert (await metro.send_one(hers))["status"] == "parked"
    assert await reasons(metro) == {hers["id"]: "before-link"}
    bad = ride(metro, datetime.now(UTC) - timedelta(hours=2), data={"distance_km": -3})
    assert (await metro.send_one(bad))["problem"]["code"] == "invalid-attributes"
    undo = metro.reversal(hers)
    assert (await metro.send_one(undo))["status"] == "parked"
    assert await paid(bob) == await paid(alice) == 0


async def test_a_card_that_was_nobodys_brings_what_waited(metro):
    early = ride(metro, datetime.now(UTC) - timedelta(days=3))
    assert (await metro.send_one(early))["status"] == "parked"
    alice = await linked_person(metro, "card-1")
    assert await paid(alice) == 52
    late = ride(metro, datetime.now(UTC) - timedelta(days=2))
    assert (await metro.send_one(late))["status"] == "accepted"


async def test_who_links_their_own_card_again_gets_what_waited(metro, alice):
    early = ride(metro, datetime.now(UTC) - timedelta(days=1))
    await unlink(alice, metro)
    assert (await metro.send_one(early))["status"] == "parked"
    await metro.link(alice, "card-1")
    await metro.link(alice, "card-1")
    assert await paid(alice) == 52
    assert await metro.parked() == []


@pytest.mark.parametrize("again", ["unlinked between", "linked twice"])
async def test_the_new_owners_period_goes_on_when_they_link_again(metro, alice, again):
    hers = ride(metro, datetime.now(UTC) - timedelta(hours=2))
    bob = await linked_person(metro, "card-1")
    his = ride(metro)
    if again == "unlinked between":
        await unlink(bob, metro)
        assert (await metro.send_one(his))["status"] == "parked"
    await metro.link(bob, "card-1")
    results = await metro.send(hers, his)
    assert results[0]["status"] == "parked"
    assert results[1]["status"] == ("duplicate" if again == "unlinked between" else "accepted")
    assert await paid(bob) == 52


async def test_a_card_that_comes_back_brings_nothing_of_before(metro, alice):
    hers = ride(metro, datetime.now(UTC) - timedelta(hours=2))
    bob = await linked_person(metro, "card-1")
    await unlink(bob, metro)
    his = ride(metro)
    assert (await metro.send_one(his))["status"] == "parked"
    await metro.link(alice, "card-1")
    assert (await metro.send_one(hers))["status"] == "parked"
    assert await paid(bob) == await paid(alice) == 0
    assert await reasons(metro) == {hers["id"]: "before-link", his["id"]: "before-link"}
    assert (await metro.send_one(ride(metro)))["status"] == "accepted"
    assert await paid(alice) == 52


async def test_the_card_of_a_person_who_left_was_somebodys(metro, alice, database):
    late = ride(metro)
    assert (await alice.delete("/v1/me")).status_code == 204
    bob = await linked_person(metro, "card-1")
    assert (await metro.send_one(late))["status"] == "parked"
    assert await paid(bob) == 0
    held = "SELECT count(*) FROM links WHERE participant_id = $1"
    assert await database.pool.fetchval(held, alice.participant_id) == 0


async def test_a_person_who_left_after_the_end_of_their_link_is_forgotten(metro, alice, database):
    await unlink(alice, metro)
    (held,) = (await alice.get("/v1/me/export")).json()["links"]
    assert (held["partner_id"], held["ended_at"] is None) == (metro.id, False)
    assert (await alice.delete("/v1/me")).status_code == 204
    held = "SELECT count(*) FROM links WHERE participant_id = $1"
    assert await database.pool.fetchval(held, alice.participant_id) == 0


async def test_what_was_accepted_stays_with_whom_it_was_bound_to(metro, alice):
    hers = ride(metro)
    first = await metro.send_one(hers)
    bob = await linked_person(metro, f"{uuid.uuid4()}")
    await metro.link(bob, "card-1")
    assert await metro.send_one(hers) == first | {"status": "duplicate"}
    assert (await paid(alice), await paid(bob)) == (52, 0)


async def test_somebody_else_never_saw_the_card(metro, alice):
    stranger = await sign_in(metro.client, uuid.uuid4().hex)
    assert (await stranger.get("/v1/me/links")).json()["items"] == []


@pytest.mark.parametrize("hours", [23, -23, 16, -16])
async def test_a_ride_with_any_offset_waits_without_harm_to_others(
    metro, alice, operator, intake, hours
):
    """PostgreSQL reads no offset of 16 hours and more."""
    await unlink(alice, metro)
    zone = timezone(timedelta(hours=hours, minutes=59))
    hers = ride(metro, datetime.now(zone))
    assert (await metro.send_one(hers))["status"] == "parked"
    bob = await linked_person(metro, "card-1")
    assert await release_due(intake) == 0
    assert await reasons(metro) == {hers["id"]: "before-link"}
    export = await bob.get("/v1/me/export")
    assert (export.status_code, export.json()["parked_events"]) == (200, [])
    (waiting,) = await items_of(operator, "/v1/operator/parked-events", partner_id=metro.id)
    retried = await operator.post(f"/v1/operator/parked-events/{waiting['id']}/retry")
    assert (retried.status_code, retried.json()["reason"]) == (200, "before-link")
    assert (await metro.send_one(ride(metro, datetime.now(zone))))["status"] == "accepted"
    assert await paid(bob) == 52
