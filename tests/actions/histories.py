"""Recorded histories to simulate: random, but the same each time, with all that decides."""

import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from service.actions.order import participant_report
from service.actions.reverse import AlreadyReversedError
from service.rulebooks.publish import Rulebooks
from tests import orders
from tests.ledger.histories import make_person
from tests.orders import settle
from tests.people import publish

# Of the settings of tests: simulations must find the claims and hidden values.
SECRET = b"a key of the tests, 32 characters"

START = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
DAYS = 16

RULES = """
program:
  name: Test city
  timezone: Asia/Shanghai
  energy: {ripens: {next_day_at: "07:00"}, expires_after: 72h}
factors:
  car_pkm: {value: 100.95, unit: g/pkm, source: "a test", url: "https://example.org", year: 2026}
action_types:
  mobility.walk:
    category: mobility
    reported_by: [participant, device]
    attributes:
      steps: {type: integer, minimum: 1, maximum: 100000}
      shoe: {type: string, max_length: 20, required: false}
  mobility.bike:
    category: mobility
    reported_by: [participant, device]
    attributes:
      distance_km: {type: number, minimum: 0.01, maximum: 300, unit: km}
      duration_min: {type: number, minimum: 1, maximum: 1440, unit: min}
    plausible: distance_km / (duration_min / 60) <= 45
    lasts: duration_min
    overlap: exclusive
  recycling.box:
    category: recycling
    reported_by: [participant]
    attributes:
      box_code: {type: string, max_length: 64}
    claim: {by: box_code, per: month, within: all}
  recycling.bottle:
    category: recycling
    reported_by: [participant]
    attributes:
      count: {type: integer, minimum: 1, maximum: 100}
rules:
  - id: walk
    action: mobility.walk
    earns: steps * 0.02
    limits: [{per: day, grams: 296}, {per: month, grams: 2000}]
    examples: [{given: {steps: 8000}, expect: {earns: 160}}]
  - id: walk-evening
    action: mobility.walk
    when: hour >= 18 && reporter == "device"
    earns: 7 + streak_days
    limits: [{per: week, count: 5, group: treats}]
    examples:
      - {given: {steps: 8000}, context: {occurred_at: "2026-11-02T08:00"}, expect: {skipped: true}}
  - id: shoes
    action: mobility.walk
    when: has(shoe)
    earns: 11
    limits: [{per: month, count: 2, by: shoe}]
    examples: [{given: {steps: 8000, shoe: left}, expect: {earns: 11}}]
  - id: ride
    action: mobility.bike
    saves: distance_km * factors.car_pkm
    earns: 'region == "CN-ZJ" ? 30 : 20'
    limits: [{per: day, count: 2}, {per: ever, count: 25}]
    examples: [{given: {distance_km: 1, duration_min: 10}, expect: {earns: 20}}]
  - id: box
    action: recycling.box
    earns: 37
    examples: [{given: {box_code: A}, expect: {earns: 37}}]
  - id: bottle
    action: recycling.bottle
    earns: count * 3
    limits: [{per: week, count: 5, group: treats}, {per: year, grams: 400}]
    examples: [{given: {count: 4}, expect: {earns: 12}}]
campaigns:
  - {id: boxes, title: Boxes, from: 2026-11-04, until: 2026-11-15, categories: [recycling],
     earns_times: 3, budget_g: 900}
  - {id: zhejiang, title: Zhejiang, from: 2026-11-03, until: 2026-11-30, rules: [ride, walk],
     regions: [CN-ZJ], earns_times: 1.5}
  - {id: walks, title: Walks, from: 2026-11-06, until: 2026-11-16, rules: [walk],
     earns_times: 2, budget_g: 100000}
"""


async def publish_text(database, text, now):
    """Publish rules; gives the version as a process compiles it."""
    async with database.transaction() as connection:
        version = await publish(
            connection, {"rules.yaml": text}, author="anna", note="a test", now=now
        )
    return await Rulebooks(database).get(version)


def report_of(chance, person, now):
    """Something that a person may have done in the last week."""
    late = timedelta(minutes=chance.choice((1, 5, 40, 300, 2_000, 8_000)))
    kind = chance.choices(("walk", "bike", "box", "bottle"), (6, 3, 2, 3))[0]
    attributes = {
        "walk": lambda: (
            {"steps": chance.randrange(500, 9_000)}
            | ({"shoe": chance.choice("LR")} if chance.random() < 0.4 else {})
        ),
        "bike": lambda: {"distance_km": chance.randrange(5, 90) / 10, "duration_min": 30},
        "box": lambda: {"box_code": f"B{chance.randrange(60)}"},
        "bottle": lambda: {"count": chance.randrange(1, 12)},
    }[kind]()
    category = "recycling" if kind in {"box", "bottle"} else "mobility"
    device = category == "mobility" and chance.random() < 0.5
    return participant_report(
        person,
        type_=f"{category}.{kind}",
        occurred_at=now - late,
        attributes=attributes,
        reporter="device" if device else "participant",
        key=None,
        now=now,
    )


async def live(database, rulebook, people, *, days=range(DAYS), seed=7, batches=6, size=9):
    """Let these people act and be reversed.

    People are chosen by their place in the list, so another town with the same seed does the same.
    """
    actions = []
    for day in days:
        chance = random.Random(f"{seed} {day}")
        for batch in range(batches):
            hours, seconds = batch * 12 / batches, chance.randrange(99)
            now = START + timedelta(days=day, hours=hours, seconds=seconds)
            reports = [report_of(chance, chance.choice(people), now) for _ in range(size)]
            outcomes = await settle(database, reports, rulebook=rulebook, now=now, secret=SECRET)
            done = [outcomes[report] for report in reports]
            actions += [getattr(outcome, "action", None) for outcome in done]
            if chance.random() < 0.4 and (action := chance.choice(actions[-60:])):
                await reverse(database, rulebook, action, now)


async def reverse(database, rulebook, action, now):
    with suppress(AlreadyReversedError):
        await orders.reverse(database, *action.key, now=now, rulebook=rulebook)


async def town(database, size=12):
    """People, a third of them in Zhejiang."""
    return [
        await make_person(database, START, "CN-ZJ" if n % 3 == 0 else None) for n in range(size)
    ]


async def erase(database, person, now):
    assert await orders.erase(database, person, now)
