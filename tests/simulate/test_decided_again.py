"""A row keeps all that decided an action: decided again from the rows, no gram differs."""

import random
from collections import defaultdict
from datetime import timedelta

from service.actions.hidden import hide_values
from service.actions.order import participant_report
from service.audit.audit import audit
from service.rulebooks.publish import Rulebooks
from service.rules.decide.evaluate import evaluate, untouched_budgets
from service.rules.decide.judge import Candidate, judge
from service.rules.decide.standing import Standing, award_entry, uses_of
from tests.actions.reports import NOW, SECRET
from tests.ledger.histories import make_person
from tests.orders import settle
from tests.people import publish

RULES = """
program:
  name: Test city
  timezone: Asia/Shanghai
  energy: {ripens: {next_day_at: "07:00"}, expires_after: 72h}
action_types:
  mobility.walk:
    category: mobility
    reported_by: [participant, device]
    accepted_for: 7d
    attributes:
      steps: {type: integer, minimum: 0, maximum: 100000}
      shoe: {type: string, max_length: 100, required: false}
rules:
  - {id: walk, action: mobility.walk, saves: steps * 0.1, earns: steps * 0.02,
     limits: [{per: day, grams: 400}, {per: week, count: 9}]}
  - {id: streak, action: mobility.walk, when: streak_days >= 1, earns: streak_days * 7,
     limits: [{per: day, count: 2, group: more}]}
  - {id: local, action: mobility.walk, when: region == 'CN-ZJ' && reporter == 'device', earns: 5,
     limits: [{per: ever, count: 2, by: shoe}, {per: day, count: 2, group: more}]}
campaigns:
  - {id: double, title: t, from: 2026-11-19, until: 2026-11-22, rules: [walk], earns_times: 2,
     budget_g: 500}
  - {id: more, title: t, from: 2026-11-20, until: 2026-11-23, categories: [mobility],
     earns_times: 1.3, regions: [CN], budget_g: 60}
"""


async def test_rows_decide_again_as_they_were_decided(database):
    async with database.transaction() as connection:
        await publish(connection, {"a.yaml": RULES}, author="anna", note="", now=NOW)
    rulebook = await Rulebooks(database).get(1)
    dice = random.Random(5)
    people = [await make_person(database, region=region) for region in ("CN-ZJ", "CN-SH", "DE-BY")]
    order = []
    for hours in range(12):
        now = NOW + timedelta(hours=hours)
        reports = [_walk(dice, dice.choice(people), now) for _ in range(5)]
        await settle(database, reports, rulebook=rulebook, now=now, secret=SECRET)
        order += [report.id for report in reports]
        moved = dice.choice(("CN-ZJ", "CN-SH", None))
        await database.pool.execute(
            "UPDATE participants SET region = $2 WHERE participant_id = $1",
            dice.choice(people),
            moved,
        )
    rows = {row["id"]: row for row in await database.pool.fetch("SELECT * FROM actions")}
    standings, budgets = defaultdict(Standing), untouched_budgets(rulebook)
    seqs = defaultdict(int)
    paid = defaultdict(int)
    for action_id in order:
        row = rows[action_id]
        again = _decided(rulebook, row, standings[row["participant_id"]], budgets, seqs)
        assert again == row["awards"]
        for award in row["awards"]:
            paid[award["rule"], bool(award.get("extra_g")), bool(award["limited_by"])] += 1
    assert budgets == {"double": 0, "more": 0}
    assert len(paid) >= 7, paid
    assert (await audit(database, mode="full", now=NOW)).differences == []


def _walk(dice, person, now):
    return participant_report(
        person,
        type_="mobility.walk",
        occurred_at=now - timedelta(hours=dice.randrange(100)),
        attributes={"steps": dice.randrange(8_000), "shoe": dice.choice(("boot", "clog"))},
        reporter=dice.choice(("participant", "device")),
        key=None,
        now=now,
    )


def _decided(rulebook, row, standing, budgets, seqs):
    """Decide from a row alone; what it used and drew is carried on."""
    candidate = Candidate(
        row["type"], row["attributes"], row["occurred_at"], row["reporter"], row["verified"], None
    )
    judged = judge(rulebook, candidate, row["recorded_at"])
    hide_values(judged, row["participant_id"], SECRET)
    decision = evaluate(
        rulebook,
        judged,
        region=row["region"],
        streak_days=row["streak_days"],
        usage=standing.usage,
        budgets=budgets,
    )
    told = []
    for award in decision.awards:
        if award.drawn_g:
            budgets[award.campaign] -= award.drawn_g
            seqs[award.campaign] += 1
            award.budget_seq = seqs[award.campaign]
        told.append(award_entry(award))
    standing.use(uses_of(decision.awards))
    return told
