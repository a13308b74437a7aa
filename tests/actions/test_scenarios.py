"""Scenarios decide as the main job does: the shipped ones come to the same in a real database."""

import pytest
from msgspec.structs import replace

from service.actions.order import participant_report
from service.actions.record import Recorded
from service.rules.decide.judge import Refusal
from service.rules.trial.coverage import Seen
from service.rules.trial.scenarios import FOLDER, compile_scenarios, read_scenarios
from service.rules.trial.world import World, candidate
from tests.actions.reports import SECRET
from tests.orders import settle
from tests.rules.sets import ROOT, shipped_rulebook

RULEBOOK = shipped_rulebook()
SCENARIOS = {
    scenario.name.rpartition("/")[2]: scenario
    for scenario in compile_scenarios(read_scenarios(ROOT / "rules")[0], RULEBOOK)[0]
}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_and_the_main_job_agree(name, database, person):
    world = World(RULEBOOK, Seen())
    people = {}
    for index, step, at in SCENARIOS[name].steps:
        if step.participant not in people:
            people[step.participant] = await person()
        for time in range(1, step.times + 1):
            asked = candidate(step, at, time, RULEBOOK)
            report = participant_report(
                people[step.participant],
                type_=asked.type,
                occurred_at=asked.occurred_at,
                attributes=asked.attributes,
                reporter=asked.reporter,
                key=None,
                now=at,
            )
            report = replace(
                report, candidate=replace(asked, attributes=report.candidate.attributes)
            )
            outcomes = {}
            while report not in outcomes:  # the first time it may learn whose book it needs, too
                outcomes = await settle(
                    database, [report], rulebook=RULEBOOK, now=at, secret=SECRET
                )
            outcome = outcomes[report]
            assert _recorded(outcome) == _decided(world.report(step, at, time)), (index, time)


def _recorded(outcome):
    if not isinstance(outcome, Recorded):
        return outcome.facts.get("reason") or outcome.code
    return [
        (award["rule"], award["saved_g"], award["energy_g"], award["limited_by"])
        for award in outcome.action.awards
    ]


def _decided(outcome):
    if isinstance(outcome, Refusal):
        return outcome.reason or outcome.code
    return [
        (award.rule, award.saved_g, award.energy_g, award.limited_by) for award in outcome.awards
    ]


def test_there_are_scenarios():
    assert len(SCENARIOS) >= 6, FOLDER
