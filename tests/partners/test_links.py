"""A person agrees to be linked by a code, which works once; links come and go."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from service.participants.links import purge_codes
from service.platform.clock import Clock
from tests.callers import sign_in
from tests.partners.sender import PLAIN, Sender, code_of, link


async def test_a_code_is_good_for_one_link(metro):
    person = await sign_in(metro.client, uuid.uuid4().hex)
    code = await code_of(person, metro.id)
    assert (await link(metro, code, "card-5")).status_code == 201
    assert (await link(metro, code, "card-5")).status_code == 404
    assert (await link(metro, code, "card-6")).status_code == 404
    (shown,) = (await person.get("/v1/me/links")).json()["items"]
    assert shown["partner_id"] == metro.id
    assert "card-5" not in str(shown)


async def test_a_code_ends_after_ten_minutes_of_real_time(metro, database, intake):
    person = await sign_in(metro.client, uuid.uuid4().hex)
    answer = await person.post("/v1/me/links", {"partner_id": metro.id})
    lasts = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=9) < lasts <= timedelta(minutes=10)
    await database.pool.execute(
        "UPDATE link_codes SET expires_at = $1 WHERE participant_id = $2",
        Clock().real_now() - timedelta(seconds=1),
        person.participant_id,
    )
    assert (await link(metro, answer.json()["link_code"], "card-5")).status_code == 404
    async with database.transaction() as connection:
        assert await purge_codes(connection, Clock().real_now()) == 1


async def test_a_code_is_for_the_partner_it_was_given_for(metro, operator, name):
    other = await operator_partner(operator, f"o-{name}"[:60])
    person = await sign_in(metro.client, uuid.uuid4().hex)
    code = await code_of(person, metro.id)
    assert (await link(other, code, "card-5")).status_code == 404
    assert (await link(metro, code, "card-5")).status_code == 201


async def operator_partner(operator, partner_id):
    body = {"id": partner_id, "name": "n", "action_types": [], "source_prefix": "urn:o"}
    assert (await operator.post("/v1/operator/partners", body)).status_code == 201
    path = f"/v1/operator/partners/{partner_id}/keys"
    key = (await operator.post(path, {"kind": "hmac"})).json()
    return Sender(operator.client, partner_id, key["secret"], "urn:o")


async def test_a_new_code_ends_the_one_before(metro):
    person = await sign_in(metro.client, uuid.uuid4().hex)
    first, second = await code_of(person, metro.id), await code_of(person, metro.id)
    assert (await link(metro, first, "card-5")).status_code == 404
    assert (await link(metro, second, "card-5")).status_code == 201


async def test_a_code_can_be_asked_for_again_with_its_key(metro):
    person = await sign_in(metro.client, uuid.uuid4().hex)
    key = uuid.uuid4().hex
    first = await person.post("/v1/me/links", {"partner_id": metro.id}, key=key)
    again = await person.post("/v1/me/links", {"partner_id": metro.id}, key=key)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("partner_id", ["nobody", "NO", "a"])
async def test_nobody_links_with_an_unknown_partner(client, partner_id):
    person = await sign_in(client, uuid.uuid4().hex)
    answer = await person.post("/v1/me/links", {"partner_id": partner_id})
    assert answer.status_code == 404
    assert (await person.delete(f"/v1/me/links/{partner_id}")).status_code == 404


@pytest.mark.parametrize(
    "order",
    [{}, {"link_code": "x"}, {"subject": "s"}, {"link_code": "x", "subject": ""}, []],
)
async def test_a_link_must_be_well_formed(metro, order):
    answer = await metro.call("POST", "/links", order, PLAIN)
    assert answer.status_code == 422


async def test_after_unlinking_events_wait_again(metro, alice):
    assert (await alice.delete(f"/v1/me/links/{metro.id}")).status_code == 204
    assert (await alice.delete(f"/v1/me/links/{metro.id}")).status_code == 404
    assert (await alice.get("/v1/me/links")).json()["items"] == []
    assert (await metro.send_one(metro.event("card-1")))["status"] == "parked"


async def test_two_references_of_one_person(metro, alice):
    await metro.link(alice, "card-2")
    results = await metro.send(metro.event("card-1"), metro.event("card-2"))
    assert {result["status"] for result in results} == {"accepted"}
    assert len((await alice.get("/v1/me/links")).json()["items"]) == 2
    assert (await alice.delete(f"/v1/me/links/{metro.id}")).status_code == 204
    results = await metro.send(metro.event("card-1"), metro.event("card-2"))
    assert {result["status"] for result in results} == {"parked"}


async def test_many_link_the_same_reference_at_once(metro):
    people = [await sign_in(metro.client, uuid.uuid4().hex) for _ in range(6)]
    codes = [await code_of(person, metro.id) for person in people]
    answers = await asyncio.gather(*[link(metro, code, "card-7") for code in codes])
    assert {answer.status_code for answer in answers} <= {201, 503}
    lists = [(await person.get("/v1/me/links")).json()["items"] for person in people]
    assert sum(len(items) for items in lists) == 1
