"""Paid once: made-up codes bind nothing, other spellings are the same, what is verified wins."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.callers import advance, items_of, sign_in
from tests.partners.sender import code_of, link, linked_person, make_sender

BOX, CUTLERY = "recycling.box", "consumption.no_cutlery"
SPELLINGS = json.loads((Path(__file__).parent / "spellings.json").read_text())
MORE = {
    BOX: {},
    "payment.utility_bill": {"kind": "water"},
    "transit.high_speed_rail": {"distance_km": 100},
}


def typed(type_, **attributes):
    began = datetime.now(UTC) - timedelta(hours=1)
    return {"type": type_, "occurred_at": began.isoformat(), "attributes": attributes}


async def tell(person, type_, **attributes):
    """A report of the person's own; gives the answer's body."""
    return (await person.post("/v1/me/actions", typed(type_, **attributes))).json()


async def tell_all(person, type_, name, values):
    actions = [
        typed(type_, **{name: value}) | {"idempotency_key": uuid.uuid4().hex} for value in values
    ]
    answer = await person.post("/v1/me/actions/batch", {"actions": actions})
    return answer.json()["results"]


async def totals(person):
    return (await person.get("/v1/me")).json()["totals"]


async def action(person, action_id):
    return (await person.get(f"/v1/me/actions/{action_id}")).json()


@pytest.fixture
async def station(operator, name):
    return await make_sender(operator, name, [BOX])


@pytest.fixture
async def squatter(client, name):
    return await sign_in(client, f"squatter of {name}")


async def test_made_up_codes_bind_nothing_that_was_not_paid(station, squatter, client):
    prefix = uuid.uuid4().hex[:8]
    codes = [f"{prefix}-{n:04}" for n in range(200)]
    results = await tell_all(squatter, BOX, "box_code", codes[:100])
    results += await tell_all(squatter, BOX, "box_code", codes[100:])
    assert {result["status"] for result in results} == {"accepted"}
    assert [r["energy_g"] for r in results] == [37] * 5 + [0] * 195
    assert (await totals(squatter)) == {"earned_g": 185, "saved_g": 185, "trees": 0}
    customer = await linked_person(station, "c-1")
    unpaid = await station.send_one(station.event("c-1", BOX, data={"box_code": codes[7]}))
    assert (unpaid["status"], unpaid["energy_g"]) == ("accepted", 37)
    assert (await action(squatter, results[7]["action_id"]))["status"] == "accepted"
    assert (await totals(squatter))["earned_g"] == 185
    # What nobody was paid for is free for whoever types it next, too.
    another = await sign_in(client, f"another {prefix}")
    assert (await tell(another, BOX, box_code=codes[8]))["energy_g"] == 37
    assert (await totals(customer))["earned_g"] == 37


async def test_what_a_partner_verifies_is_taken_from_who_typed_it(station, squatter):
    code = uuid.uuid4().hex
    first = await tell(squatter, BOX, box_code=code)
    assert first["energy_g"] == 37
    customer = await linked_person(station, "c-1")
    event = station.event("c-1", BOX, data={"box_code": code})
    told = await station.send_one(event)
    assert (told["status"], told["energy_g"]) == ("accepted", 37)
    assert (await station.send_one(event))["status"] == "duplicate"
    mine = await action(squatter, first["id"])
    assert mine["status"] == "reversed"
    assert "partner" in mine["reversal"]["reason"]
    assert (await totals(squatter)) == {"earned_g": 0, "saved_g": 0, "trees": 0}
    assert (await squatter.balances())["ripening_g"] == 0
    statement = await items_of(squatter, "/v1/me/statement")
    assert [item["cause"] for item in statement] == ["reverse", "action"]
    assert (await totals(customer))["saved_g"] == 37
    for person in (squatter, customer):
        assert (await tell(person, BOX, box_code=code))["reason"] == "already-claimed"
    # The limit of the one whose report was taken back is free again.
    results = await tell_all(squatter, BOX, "box_code", [uuid.uuid4().hex for _ in range(6)])
    assert [result["energy_g"] for result in results] == [37] * 5 + [0]


async def test_what_was_verified_stays_where_it_is(operator, station, name):
    other = await make_sender(operator, f"other-{name}"[:60], [BOX])
    customer, cheat = await linked_person(station, "c-1"), await linked_person(other, "c-9")
    code = uuid.uuid4().hex
    await station.send_one(station.event("c-1", BOX, data={"box_code": code}))
    again = await other.send_one(other.event("c-9", BOX, data={"box_code": code}))
    assert again["problem"]["reason"] == "already-claimed"
    assert (await tell(cheat, BOX, box_code=code))["reason"] == "already-claimed"
    assert (await totals(customer))["earned_g"] == 37


async def test_what_was_collected_already_is_taken_from_what_is_available(
    station, squatter, client
):
    code = uuid.uuid4().hex
    await tell(squatter, BOX, box_code=code)
    await advance(client, days=1, hours=8)
    collected = (await squatter.post("/v1/me/bubbles/collect")).json()
    assert collected["collected_g"] == 37
    await linked_person(station, "c-1")
    await station.send_one(station.event("c-1", BOX, data={"box_code": code}))
    balances = await squatter.balances()
    assert (balances["available_g"], balances["arrears_g"]) == (0, 0)


async def test_who_left_keeps_no_code(station, squatter):
    """Nothing moves in a book that was closed; what it held is the customer's."""
    code = uuid.uuid4().hex
    await tell(squatter, BOX, box_code=code)
    assert (await squatter.delete("/v1/me")).status_code == 204
    await linked_person(station, "c-1")
    told = await station.send_one(station.event("c-1", BOX, data={"box_code": code}))
    assert (told["status"], told["energy_g"]) == ("accepted", 37)


async def test_a_reversed_event_gives_the_code_back(station, squatter):
    code = uuid.uuid4().hex
    await tell(squatter, BOX, box_code=code)
    await linked_person(station, "c-1")
    event = station.event("c-1", BOX, data={"box_code": code})
    await station.send_one(event)
    assert (await station.send_one(station.reversal(event)))["status"] == "accepted"
    assert (await tell(squatter, BOX, box_code=code))["energy_g"] == 37


async def test_an_event_that_was_taken_back_before_it_came_takes_nothing(station, squatter):
    code = uuid.uuid4().hex
    first = await tell(squatter, BOX, box_code=code)
    await linked_person(station, "c-1")
    event = station.event("c-1", BOX, data={"box_code": code})
    assert (await station.send_one(station.reversal(event)))["status"] == "parked"
    assert (await station.send_one(event))["status"] == "accepted"
    assert (await action(squatter, first["id"]))["status"] == "accepted"


@pytest.mark.parametrize("type_", SPELLINGS)
async def test_the_same_thing_otherwise_spelt_is_paid_once(operator, name, type_):
    ((attribute, spellings),) = SPELLINGS[type_].items()
    partner = await make_sender(operator, name, [type_])
    person = await linked_person(partner, "c-1")
    tag = uuid.uuid4().hex[:8]
    # Each value keeps its ends, where the spellings differ; a tag makes it this test's.
    values = [text.replace("1", f"1{tag}").replace("9", f"9{tag}") for text in spellings]
    values = [f"{text}{tag}" if tag not in text else text for text in values]
    if type_ == "payment.utility_bill":
        values = [text.replace("71", f"71{tag}", 1) for text in spellings]
    results = [
        await partner.send_one(partner.event("c-1", type_, data={attribute: value} | MORE[type_]))
        for value in values
    ]
    assert results[0]["status"] == "accepted"
    assert [result["status"] for result in results[1:]] == ["rejected"] * (len(values) - 1)
    reasons = {r["problem"].get("reason") or r["problem"]["code"] for r in results[1:]}
    assert reasons <= {"already-claimed", "invalid-attributes"}
    assert (await totals(person))["earned_g"] == results[0]["energy_g"]


async def test_a_person_spells_it_otherwise(client, name):
    person = await sign_in(client, name)
    tag = uuid.uuid4().hex[:8]
    for number, spelling in enumerate(SPELLINGS[BOX]["box_code"]):
        told = await tell(person, BOX, box_code=spelling.replace("1", f"1{tag}"))
        assert ("energy_g" in told) == (number == 0), spelling


async def test_an_order_number_is_the_persons_own_where_no_partner_told(client, operator, name):
    """Two people at two restaurants have an order 42; the seller's word of one pays it once."""
    seller = await make_sender(operator, name, [CUTLERY])
    ann = await linked_person(seller, "c-1")
    bo = await sign_in(client, f"bo {name}")
    mine = await tell(ann, CUTLERY, order_no="42")
    assert mine["energy_g"] == 16
    assert (await tell(bo, CUTLERY, order_no="42"))["energy_g"] == 16
    assert (await tell(ann, CUTLERY, order_no=" 42"))["reason"] == "already-claimed"
    told = await seller.send_one(seller.event("c-1", CUTLERY, data={"order_no": "42"}))
    assert (told["status"], told["energy_g"]) == ("accepted", 16)
    assert (await action(ann, mine["id"]))["status"] == "reversed"
    assert (await totals(ann))["earned_g"] == 16
    assert (await tell(ann, CUTLERY, order_no="42"))["reason"] == "already-claimed"
    assert (await totals(bo))["earned_g"] == 16


async def test_what_the_partner_told_first_is_not_paid_to_the_person_again(operator, name):
    seller = await make_sender(operator, name, [CUTLERY])
    ann = await linked_person(seller, "c-1")
    await seller.send_one(seller.event("c-1", CUTLERY, data={"order_no": "43"}))
    assert (await tell(ann, CUTLERY, order_no="43"))["reason"] == "already-claimed"
    assert (await totals(ann))["earned_g"] == 16


async def test_two_sellers_may_both_have_an_order_of_this_number(operator, name):
    one = await make_sender(operator, f"a-{name}"[:60], [CUTLERY])
    two = await make_sender(operator, f"b-{name}"[:60], [CUTLERY])
    ann = await linked_person(one, "c-1")
    await two.link(ann, "c-2")
    for seller, subject in ((one, "c-1"), (two, "c-2")):
        told = await seller.send_one(seller.event(subject, CUTLERY, data={"order_no": "44"}))
        assert told["energy_g"] == 16
    assert (await totals(ann))["earned_g"] == 32


async def test_many_type_what_stations_tell_at_the_same_time(
    operator, other_client, client, station
):
    """Typed and verified, in any order at two processes: each box ends paid once, verified."""
    codes = [uuid.uuid4().hex for _ in range(12)]
    typists = [await sign_in(client, uuid.uuid4().hex) for _ in range(4)]
    for typist in typists[::2]:
        typist.client = other_client
    customer = await linked_person(station, "c-1")
    await station.link(typists[0], "c-2")
    events = [
        station.event("c-1" if n % 2 else "c-2", BOX, data={"box_code": code})
        for n, code in enumerate(codes)
    ]
    typing = [tell_all(t, BOX, "box_code", codes[n:] + codes[:n]) for n, t in enumerate(typists)]
    await asyncio.gather(*typing, station.send(*events[:6]), station.send(*events[6:]))
    again = await station.send(*events)
    assert {result["status"] for result in again} == {"duplicate"}
    earned = [(await totals(person))["earned_g"] for person in (customer, *typists)]
    assert (earned[0], sum(earned)) == (37 * 6, 37 * 12)


async def test_one_box_wanted_by_everybody_in_one_batch(station, client):
    code = uuid.uuid4().hex
    people = [await linked_person(station, f"c-{n}") for n in range(5)]
    events = [station.event(f"c-{n}", BOX, data={"box_code": code}) for n in range(5)]
    results = await station.send(*events)
    assert sorted(r["status"] for r in results) == ["accepted", *["rejected"] * 4]
    assert sum([(await totals(person))["earned_g"] for person in people]) == 37


ENDS = "must not begin or end with white space or with what nobody sees"


@pytest.mark.parametrize(
    ("subject", "broken"),
    [
        (" u-1", ENDS),
        ("u-1\u200b", ENDS),
        ("\u2800u-1", ENDS),
        ("\uff55-1", "must be in Unicode's form NFKC"),
        ("u\n1", "must not hold the character U+000A"),
        ("u-1\x7f", "must not hold the character U+007F"),
    ],
)
async def test_a_reference_that_looks_like_another_is_not_linked(
    station, squatter, subject, broken
):
    """And its partner is told what to mend."""
    code = await code_of(squatter, station.id)
    refused = await link(station, code, subject)
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"pointer": "#/subject", "detail": broken}]
    assert refused.json()["detail"] == f"/subject {broken}."
    assert (await link(station, code, "u-1")).status_code == 201
