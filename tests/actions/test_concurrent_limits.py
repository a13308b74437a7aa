"""Many processes, one budget, everybody's limits: to the gram. The full size is a benchmark's."""

import asyncio

import pytest

from benchmarks.campaign import Load, storm
from service.actions.budgets import EndedCampaigns
from service.actions.record import Recorded
from service.audit.audit import audit
from service.platform.database import open_database
from service.rulebooks.publish import Rulebooks
from tests.actions.conftest import RULES
from tests.actions.reports import NOW, SECRET, blocked_backends, walk
from tests.ledger.histories import make_person
from tests.orders import settle
from tests.people import publish

CAMPAIGN = """campaigns:
  - {id: double, title: The day, from: 2026-11-21, until: 2026-11-22, rules: [walk],
     earns_times: 2, budget_g: 150}
"""


@pytest.mark.real_processes
async def test_processes_draw_a_budget_to_the_gram_and_keep_everybodys_limits(fresh_database_url):
    outcome = await storm(fresh_database_url, Load(2, 800, 20, 37_000))
    assert outcome.wrong == ()
    assert outcome.figures["extra grams drawn"] == 37_000
    assert outcome.figures["people with all their awards a day"] > 0
    assert outcome.figures["people with all their grams a day"] > 0


async def test_a_batch_that_waited_for_a_budget_sees_what_the_other_left(
    settings, fresh_database_url
):
    """The second batch has read and evaluated everything before the first one commits."""
    database = await open_database(settings, fresh_database_url)
    one, two = [await make_person(database) for _ in range(2)]
    async with database.transaction() as connection:
        await publish(
            connection, {"a.yaml": RULES + CAMPAIGN}, author="anna", note="a test", now=NOW
        )
    rulebook = await Rulebooks(database).get(1)
    ended = EndedCampaigns()

    def record(report):
        return settle(database, [report], rulebook=rulebook, now=NOW, secret=SECRET, ended=ended)

    reports = walk(one, 5_000), walk(two, 5_000)
    async with database.transaction() as other:
        await other.execute(
            "SELECT FROM campaign_budgets WHERE campaign = 'double' FOR NO KEY UPDATE"
        )
        waiting = [asyncio.create_task(record(report)) for report in reports]
        await blocked_backends(fresh_database_url, at_least=2)
        assert not any(task.done() for task in waiting)
    outcomes = [outcome for task in waiting for outcome in (await task).values()]
    assert all(isinstance(outcome, Recorded) for outcome in outcomes)
    assert sorted(outcome.action.energy_g for outcome in outcomes) == [150, 200]
    seqs = [outcome.action.awards[0]["budget_seq"] for outcome in outcomes]
    assert sorted(seqs) == [1, 2]
    assert (await audit(database, mode="full", now=NOW)).differences == []
    await database.close()
