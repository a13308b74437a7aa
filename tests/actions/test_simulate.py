"""Simulations: exactly what was paid under the rules that paid it, and what others would pay."""

from datetime import timedelta

import pytest

from service.actions.simulate import Trial, simulate
from service.actions.simulate_period import Period
from service.actions.simulate_report import simulation_json
from service.rules.publish import compile_rulebook_or_raise
from tests.actions.histories import DAYS, RULES, START, live, publish_text, town
from tests.actions.reports import SECRET

END = START + timedelta(days=DAYS + 1)


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


async def test_the_active_version_gives_what_was_paid(database, tried):
    rulebook = await publish_text(database, RULES, START)
    await live(database, rulebook, await town(database))
    report = await tried(RULES)
    assert_same(report)
