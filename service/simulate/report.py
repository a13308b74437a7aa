"""What a simulation came to, in numbers: what programs get, and `shown` tells people."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from msgspec import Struct

from service.http.decode import Time
from service.simulate.passes import Simulation
from service.simulate.tally import PersonSides, Sums

REFUSED_NOTE = (
    "Actions that were refused then are not stored, so what a more generous draft would have"
    " accepted is not here."
)


class Sides(Struct, frozen=True):
    """Grams as they were given, and as the draft gives them; reversals taken off."""

    energy_before_g: int
    energy_after_g: int
    saved_before_g: int
    saved_after_g: int


class DaySides(Sides, frozen=True, kw_only=True):
    """A day of the programme, by when it was recorded."""

    day: date


class RuleSides(Sides, frozen=True, kw_only=True):
    """A rule, with its number of awards."""

    rule: str
    awards_before: int
    awards_after: int


class LimitSides(Struct, frozen=True):
    """How many awards a limit or budget cut."""

    rule: str
    limited_by: str
    cut_before: int
    cut_after: int


class CampaignSides(Struct, frozen=True):
    """What a campaign gave beyond the rules; `budget_ends`: the draft's budget is used up."""

    campaign: str
    budget_g: int | None
    extra_before_g: int
    extra_after_g: int
    budget_ends: bool


class RefusedSides(Struct, frozen=True):
    """Actions that were accepted and that the draft refuses, with what they had given."""

    reason: str
    actions: int
    energy_before_g: int


class FailedSides(Struct, frozen=True):
    """Awards whose rule failed."""

    awards_before: int
    awards_after: int


class ErasedSides(Struct, frozen=True):
    """Actions of erased people, which are carried over as they were."""

    actions: int
    energy_g: int


class VersionActions(Struct, frozen=True):
    """How many actions a version had decided."""

    version: int
    actions: int


class PeopleCount(Struct, frozen=True):
    """People with something in the period: how they fare under the draft."""

    all: int
    gain: int
    lose: int
    same: int


class SimulationAnswer(Struct, frozen=True, rename={"from_": "from"}):
    """What a draft would have given beside what was given. Not `settled`: close, not exact."""

    from_: Time
    to: Time
    timezone: str
    sha256: str
    as_recorded: bool
    actions: int
    reversals: int
    changed_actions: int
    versions: list[VersionActions]
    totals: Sides
    people: PeopleCount
    days: list[DaySides]
    rules: list[RuleSides]
    limits: list[LimitSides]
    campaigns: list[CampaignSides]
    refused: list[RefusedSides]
    failed: FailedSides
    erased: ErasedSides
    largest_changes: list[PersonSides]
    passes: int
    settled: bool
    rebudgeted: list[str]
    notes: list[str]


def simulation_report(simulation: Simulation) -> SimulationAnswer:
    """What a simulation came to, in numbers."""
    trial, tally = simulation.trial, simulation.tally
    before, after = tally.before, tally.after
    same = tally.people - tally.gaining - tally.losing
    return SimulationAnswer(
        from_=trial.period.starts_at,
        to=trial.period.ends_at,
        timezone=trial.draft.program.timezone.key,
        sha256=trial.draft.sha256,
        as_recorded=trial.as_recorded,
        actions=tally.actions,
        reversals=tally.reversals,
        changed_actions=tally.differing,
        versions=[VersionActions(*each) for each in sorted(tally.versions.items())],
        totals=Sides(*_sides(before.total, after.total)),
        people=PeopleCount(tally.people, tally.gaining, tally.losing, same),
        days=[DaySides(*_sides(*sums), day=day) for day, sums in _pairs(before.days, after.days)],
        rules=[
            RuleSides(*_sides(*sums), rule=rule, awards_before=sums[0].n, awards_after=sums[1].n)
            for rule, sums in _pairs(before.rules, after.rules)
        ],
        limits=[
            LimitSides(*limit, before.limits[limit], after.limits[limit])
            for limit in sorted({*before.limits, *after.limits})
        ],
        campaigns=_campaigns(simulation),
        refused=[
            RefusedSides(reason, sums.n, sums.g) for reason, sums in sorted(tally.refused.items())
        ],
        failed=FailedSides(before.failed, after.failed),
        erased=ErasedSides(tally.erased, tally.erased_g),
        largest_changes=tally.changes,
        passes=simulation.passes,
        settled=simulation.settled,
        rebudgeted=[*simulation.rebudgeted],
        notes=_notes(simulation),
    )


def _pairs(
    before: Mapping[Any, Sums], after: Mapping[Any, Sums]
) -> Iterator[tuple[Any, tuple[Sums, Sums]]]:
    for name in sorted({*before, *after}):
        yield name, (before.get(name, Sums()), after.get(name, Sums()))


def _sides(before: Sums, after: Sums) -> tuple[int, int, int, int]:
    return before.g, after.g, before.saved_g, after.saved_g


def _campaigns(simulation: Simulation) -> list[CampaignSides]:
    before_g, after_g = simulation.tally.before.extra_g, simulation.tally.after.extra_g
    budgets, ended = simulation.budgets, simulation.ended
    return [
        CampaignSides(name, budgets.get(name), before_g[name], after_g[name], name in ended)
        for name in sorted({*before_g, *after_g, *simulation.trial.draft.campaigns})
    ]


def _notes(simulation: Simulation) -> list[str]:
    tally, notes = simulation.tally, [REFUSED_NOTE]
    if tally.erased:
        notes.append(
            f"{tally.erased:,} actions of erased people are carried over as they were:"
            f" {tally.erased_g:,} g."
        )
    if not simulation.settled:
        notes.append(
            f"Budgets and claims still changed each other after {simulation.passes} passes: what"
            " campaigns with a budget and claims give here is close, not exact."
        )
    if simulation.rebudgeted:
        notes.append(
            f"The budget of {', '.join(simulation.rebudgeted)} was changed in this period, and here"
            " the last one holds from the start: what is given here may differ from what was paid."
        )
    return notes
