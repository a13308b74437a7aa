"""What a partner verifies takes the claim over: limits, minutes and locks of both people."""

import asyncio
from datetime import timedelta

import pytest

from service.actions.order import participant_report, partner_report
from service.actions.record import Recorded
from service.actions.refusals import AlreadyClaimedError, OverlapError
from service.actions.report import EventRef
from service.audit.audit import audit
from service.audit.checks import COMPARES
from service.ledger.lanes import Lanes
from service.platform.ids import derived_uuid
from service.rules.compile.draft import compile_rulebook
from tests.actions.reports import MINUTE, NOW, SECRET, blocked_backends, book_of, writer_of
from tests.ledger.histories import make_person
from tests.orders import settle

RULES = """
program:
  name: Test city
  timezone: Asia/Shanghai
  energy: {ripens: {next_day_at: "07:00"}, expires_after: 72h}
action_types:
  box:
    category: recycling
    reported_by: [participant, partner]
    attributes: {code: {type: string}}
    claim: {by: code}
  ride:
    category: mobility
    reported_by: [participant, partner]
    attributes:
      ride_no: {type: string}
      minutes: {type: number, minimum: 1, maximum: 600, unit: min}
    lasts: minutes
    overlap: exclusive
    claim: {by: ride_no, within: partner}
  visit:
    category: health
    reported_by: [participant, partner]
    attributes: {visit_no: {type: string}}
    claim: {by: visit_no}
  drop:
    category: recycling
    reported_by: [participant]
    attributes: {code: {type: string}}
    claim: {by: code}
  scan:
    category: recycling
    reported_by: [participant, partner]
    attributes: {code: {type: string}}
    claim: {by: code}
rules:
  - {id: scanned, action: scan, when: verified, earns: 10, limits: [{per: day, count: 1}],
     examples: [{given: {code: A}, context: {verified: true}, expect: {earns: 10}}]}
  - {id: typed, action: scan, when: "!verified", earns: 10, limits: [{per: day, count: 3}],
     examples: [{given: {code: A}, expect: {earns: 10}}]}
  - {id: drop, action: drop, saves: 37, earns: 0.1, limits: [{per: day, grams: 1}],
     examples: [{given: {code: A}, expect: {saves: 37}}]}
  - {id: box, action: box, saves: 5, earns: 37, limits: [{per: day, count: 2}],
     examples: [{given: {code: A}, expect: {earns: 37}}]}
  - {id: ride, action: ride, earns: 20,
     examples: [{given: {ride_no: A, minutes: 5}, expect: {earns: 20}}]}
  - {id: visit, action: visit, when: "!verified", earns: 9,
     examples: [{given: {visit_no: A}, expect: {earns: 9}}]}
"""


@pytest.fixture(scope="session")
def rulebook():
    draft = compile_rulebook({"test.yaml": RULES}, 1)
    assert not draft.errors, draft.errors
    return draft.rulebook


@pytest.fixture
async def people(database, rulebook):
    """Two people, whom the station knows; whatever was done, the ledger adds up."""
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO rulebooks (version, sha256, files, author, note, created_at)"
            " VALUES (1, $1, $2, 'olga', '', $3) ON CONFLICT DO NOTHING",
            bytes.fromhex(rulebook.sha256),
            {"test.yaml": RULES},
            NOW,
        )
        await connection.execute(
            "INSERT INTO partners (id, name, source_prefix, action_types, disabled, created_at)"
            " VALUES ('station', 'Station', 'urn:station', '{}', false, $1) ON CONFLICT DO NOTHING",
            NOW,
        )
    made = [await make_person(database, NOW) for _ in range(2)]
    for person in made:
        await database.pool.execute(
            "INSERT INTO links (partner_id, subject_key, participant_id, linked_at)"
            " VALUES ('station', $1, $2, $3)",
            person.bytes * 2,
            person,
            NOW,
        )
    yield made
    report = await audit(database, mode="full", now=NOW + timedelta(hours=1), more=COMPARES)
    assert report.is_clean, report.differences


def typed(person, type_, at=NOW, **attributes):
    return participant_report(
        person,
        type_=type_,
        occurred_at=at,
        attributes=attributes,
        reporter="participant",
        key=None,
        now=NOW,
    )


def told(person, type_, at=NOW, **attributes):
    name = f"{person} {type_} {attributes}"
    key = derived_uuid(name.encode()).bytes
    ref = EventRef(key, "station", "urn:station", name, person.bytes * 2)
    return partner_report(
        person, ref, type_=type_, occurred_at=at, attributes=attributes, fingerprint=key
    )


async def energy(record, report):
    return (await record([report]))[report].action.energy_g


@pytest.mark.parametrize("is_together", [False, True])
async def test_what_a_partner_tells_beyond_the_limit_takes_nothing_away(
    record, database, people, is_together
):
    """Two codes were typed and paid; of what the partner tells, the limit pays one a day."""
    ann, _ = people
    codes = [f"{n} of {is_together}" for n in (1, 2)]
    for code in codes:
        assert await energy(record, typed(ann, "scan", code=code)) == 10
    events = [told(ann, "scan", code=code) for code in codes]
    if is_together:
        paid = await record(events)
        left = [event for event in events if event not in paid]
        assert left == events[1:]
        assert await energy(record, left[0]) == 0
    else:
        assert [await energy(record, event) for event in events] == [10, 0]
    assert (await book_of(database, ann))["ripening"] == 20
    again = typed(ann, "scan", code=codes[1])
    assert isinstance((await record([again]))[again], AlreadyClaimedError)


async def test_savings_of_typed_numbers_end_with_the_limit_also_where_grams_are_carried(
    record, people
):
    """A tenth of a gram a number: most awards are 0 g, long after the limit of 1 g is used up."""
    ann, bo = people
    made_up = [typed(ann, "drop", NOW - timedelta(minutes=n), code=f"n{n}") for n in range(40)]
    actions = [(await record([report]))[report].action for report in made_up]
    assert sum(action.energy_g for action in actions) == 1
    paid = [action.saved_g for action in actions]
    until = paid.index(0)
    assert 0 < until <= 10
    assert paid == [37] * until + [0] * (40 - until)
    assert actions[-1].awards[0]["limited_by"] == "1 g per day"
    late = typed(bo, "drop", code="n39")
    assert (await record([late]))[late].action.saved_g == 37


async def test_limits_of_the_same_person_are_free_before_the_award(record, people):
    """Told by the person twice, the day's limit is used up; the partner tells of one of them."""
    ann, bo = people
    assert [await energy(record, typed(ann, "box", code=c)) for c in "ABC"] == [37, 37, 0]
    outcomes = await record([told(ann, "box", code="A"), told(bo, "box", code="C")])
    assert len(outcomes) == 2
    assert [outcome.action.energy_g for outcome in outcomes.values()] == [37, 37]
    assert await energy(record, typed(ann, "box", code="D")) == 0
    refused = typed(bo, "box", code="A")
    assert isinstance((await record([refused]))[refused], AlreadyClaimedError)


async def test_a_typed_number_beyond_the_limit_saves_nothing_but_a_verified_one_does(
    record, people
):
    ann, bo = people
    got = [(await record([r]))[r].action for r in (typed(ann, "box", code=c) for c in "EFG")]
    assert [(a.energy_g, a.saved_g) for a in got] == [(37, 5), (37, 5), (0, 0)]
    assert [a.claim_key is None for a in got] == [False, False, True]
    got = [(await record([r]))[r].action for r in (told(bo, "box", code=c) for c in "GHI")]
    assert [(a.energy_g, a.saved_g) for a in got] == [(37, 5), (37, 5), (0, 5)]
    refused = typed(ann, "box", code="I")
    assert isinstance((await record([refused]))[refused], AlreadyClaimedError)


async def test_the_same_ride_told_by_both_fills_its_minutes_once(record, people):
    ann, _ = people
    at = NOW - 60 * MINUTE
    assert await energy(record, typed(ann, "ride", at, ride_no="1", minutes=30)) == 20
    ride = told(ann, "ride", at + 5 * MINUTE, ride_no="1", minutes=10)
    beside = typed(ann, "ride", at, ride_no="2", minutes=4)
    across = typed(ann, "ride", at + 8 * MINUTE, ride_no="3", minutes=4)
    outcomes = await record([ride, beside, across])
    assert isinstance(outcomes[ride], Recorded)
    assert isinstance(outcomes[beside], Recorded)
    assert isinstance(outcomes[across], OverlapError)


async def test_whose_rules_give_nothing_takes_nothing(record, people):
    ann, bo = people
    assert await energy(record, typed(ann, "visit", visit_no="1")) == 9
    event = told(bo, "visit", visit_no="1")
    assert not await record([event])
    assert await energy(record, event) == 0
    refused = typed(bo, "visit", visit_no="1")
    assert isinstance((await record([refused]))[refused], AlreadyClaimedError)


async def test_the_rivals_book_is_locked_with_ones_own(database, settings, record, people):
    """In a lane's batch nothing is decided; a transaction of both people waits for the book."""
    ann, bo = people
    await record([typed(ann, "box", code="R")])
    event, other = told(bo, "box", code="R"), told(bo, "box", code="S")
    outcomes = await record([event, other])
    assert event not in outcomes
    assert event.rivals == (ann,)
    assert isinstance(outcomes[other], Recorded)
    async with database.transaction() as connection:
        await connection.execute(
            "SELECT FROM books WHERE participant_id = $1 FOR NO KEY UPDATE", ann
        )
        assert event not in await record([event])
        waiting = asyncio.create_task(record([event], wait=True))
        await blocked_backends(settings.database_url)
    assert isinstance((await waiting)[event], Recorded)
    assert (await book_of(database, ann))["ripening"] == 0


async def test_the_writer_waits_for_both_and_a_second_partner_comes_too_late(
    database, rulebook, settings, people
):
    ann, bo = people
    writer: Lanes = writer_of(database, rulebook, settings)
    writer.start()
    await writer.submit(typed(ann, "box", code="W"))
    events = [writer.submit(told(person, "box", code="W")) for person in (bo, ann)]
    ended = await asyncio.gather(*events, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in ended) == [
        "AlreadyClaimedError",
        "Recorded",
    ]
    await writer.stop()
    assert (await book_of(database, ann))["ripening"] + (await book_of(database, bo))[
        "ripening"
    ] == 37


async def test_two_events_that_beat_each_others_people_do_not_deadlock(database, rulebook, people):
    """Ann's event wants what Bo typed, and Bo's what Ann typed: books in one order, both ways."""
    ann, bo = people

    def run(report):
        return settle(database, [report], rulebook=rulebook, now=NOW, secret=SECRET, wait=True)

    for number in range(6):
        codes = f"X{number}", f"Y{number}"
        for person, code in zip(people, codes, strict=True):
            await run(typed(person, "visit", visit_no=code))
            await run(typed(person, "ride", NOW - number * 20 * MINUTE, ride_no=code, minutes=5))
        events = [told(bo, "box", code=codes[0]), told(ann, "box", code=codes[1])]
        for event, rival in zip(events, people, strict=True):
            event.rivals = (rival,)
        outcomes = await asyncio.gather(*map(run, events))
        assert all(isinstance(o, Recorded) for each in outcomes for o in each.values())
