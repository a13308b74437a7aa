"""Simulations: exactly what was paid under the rules that paid it, and what others would pay."""

import re
from datetime import timedelta

import pytest

from service.actions.simulate import Trial, simulate
from service.actions.simulate_period import Period
from service.actions.simulate_report import simulation_json
from service.database import open_database
from service.rules.publish import compile_rulebook_or_raise
from tests.actions.histories import DAYS, RULES, START, erase, live, publish_text, town
from tests.actions.reports import SECRET
from tests.conftest import _cloned

END = START + timedelta(days=DAYS + 1)


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


@pytest.fixture
async def other_database(servers, template_database, settings):
    """A town of its own."""
    async with _cloned(servers, template_database) as url:
        opened = await open_database(settings, url)
        yield opened
        await opened.close()


@pytest.fixture
def tried(database, settings):
    """Simulate a text over a part of the history; gives the report for programs."""

    async def run(text, *, start=START, end=END, as_recorded=False, processes=2):
        draft = compile_rulebook_or_raise({"rules.yaml": text})
        trial = Trial(draft, {"rules.yaml": text}, Period(start, end), as_recorded)
        found = await simulate(settings.database_url, trial, secret=SECRET, processes=processes)
        return simulation_json(found)

    return run


def assert_same(report):
    """Under the draft everything comes out as it was paid, to the gram."""
    assert report["changed_actions"] == 0
    assert report["settled"]
    assert report["largest_changes"] == report["refused"] == []
    totals = report["totals"]
    assert totals["energy_before_g"] == totals["energy_after_g"] > 0
    assert totals["saved_before_g"] == totals["saved_after_g"]
    for part in ("days", "rules"):
        for each in report[part]:
            assert each["energy_before_g"] == each["energy_after_g"], each
            assert each["saved_before_g"] == each["saved_after_g"], each
    for each in report["rules"]:
        assert each["awards_before"] == each["awards_after"], each
    for each in report["limits"]:
        assert each["cut_before"] == each["cut_after"], each
    for each in report["campaigns"]:
        assert each["extra_before_g"] == each["extra_after_g"], each
    assert report["people"]["gain"] == report["people"]["lose"] == 0


async def paid(database, start=START, end=END):
    """What the ledger says was given in the period."""
    return await database.pool.fetchval(
        "SELECT sum(energy_g)::bigint FROM actions WHERE recorded_at >= $1 AND recorded_at < $2",
        start,
        end,
    )


async def test_the_active_version_gives_what_was_paid(database, tried):
    rulebook = await publish_text(database, RULES, START)
    people = await town(database)
    await live(database, rulebook, people, days=range(9))
    for person in people[:2]:
        await erase(database, person, START + timedelta(days=9))
    await live(database, rulebook, people[2:], days=range(9, DAYS))
    report = await tried(RULES)
    assert_same(report)
    assert report["totals"]["energy_before_g"] == await paid(database)
    # What the history must hold, or the sameness would say little.
    assert report["actions"] > 500
    assert report["reversals"] > 20
    assert report["erased"]["actions"] > 30
    assert f"{report['erased']['actions']:,} actions of erased people" in report["notes"][1]
    assert {each["rule"] for each in report["limits"] if each["cut_before"]} >= {
        "bottle", "ride", "shoes", "walk", "walk-evening",
    }  # fmt: skip
    (boxes, walks, zhejiang) = report["campaigns"]
    assert (boxes["extra_before_g"], boxes["budget_ends"]) == (900, True)
    assert walks["extra_before_g"] > 1_000
    assert not walks["budget_ends"]
    assert zhejiang["extra_before_g"] > 500
    assert report["versions"] == [{"version": 1, "actions": report["actions"]}]


@pytest.mark.parametrize("first", [1.5, 4, 7.25, 12])
async def test_any_part_of_a_history_begins_as_it_stood_then(database, tried, first):
    """Limits, trips, budgets and reversals reach into the period from before it."""
    rulebook = await publish_text(database, RULES, START)
    await live(database, rulebook, await town(database))
    start, end = START + timedelta(days=first), START + timedelta(days=first + 3)
    report = await tried(RULES, start=start, end=end)
    assert_same(report)
    assert report["totals"]["energy_before_g"] == await paid(database, start, end)


async def test_how_many_processes_share_the_work_changes_nothing(database, tried):
    rulebook = await publish_text(database, RULES, START)
    await live(database, rulebook, await town(database), days=range(6))
    draft = RULES.replace("budget_g: 900", "budget_g: 700").replace("296", "250")
    assert await tried(draft, processes=1) == await tried(draft, processes=3)


DRAFTS = {
    "other limits": (("grams: 296", "grams: 100"), ("count: 2, by: shoe", "count: 1, by: shoe")),
    "other awards": (("steps * 0.02", "steps * 0.05"), ("count * 3", "count * 9")),
    "a larger budget": (("budget_g: 400", "budget_g: 500"),),
    "two budgets end": (("budget_g: 100000", "budget_g: 999"), ("times: 1.5", "times: 2.5")),
    "a campaign of later": (("2026-11-04, until: 2026-11-15", "2026-11-07, until: 2026-11-12"),),
    "another zone": (("Asia/Shanghai", "America/New_York"),),
    "a claim for ever": (("per: day, within", "per: ever, within"),),
}


@pytest.mark.parametrize("name", DRAFTS)
async def test_a_draft_gives_what_it_would_have_paid(database, other_database, tried, name):
    """The same people do the same in two towns, under the rules of then and under the draft."""
    # What rules refused is not there to be replayed, so claims last for ever, or in another zone
    # another day would begin for them. Streaks are as they were.
    claim = "per: day, within" if name == "a claim for ever" else "per: ever, within"
    before = re.sub("    examples:.*(\n      - .*)*\n", "", RULES.replace(": 900", ": 400"))
    before = before.replace("per: month, within", claim).replace("7 + streak_days", "17")
    text = before
    for old, new in DRAFTS[name]:
        assert old in text
        text = text.replace(old, new)
    for here, rules in ((database, before), (other_database, text)):
        rulebook = await publish_text(here, rules, START)
        people = await town(here)
        await live(here, rulebook, people, batches=30, size=1, days=range(2, 8))
    report = await tried(text)
    assert report["settled"]
    assert report["totals"]["energy_before_g"] == await paid(database)
    assert report["totals"]["energy_after_g"] == await paid(other_database)
    assert report["totals"]["energy_before_g"] != report["totals"]["energy_after_g"]
