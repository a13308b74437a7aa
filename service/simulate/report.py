"""What a simulation came to, for people and for programs: the same content."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.http.decode import Time
from service.simulate.passes import Simulation
from service.simulate.tally import Amounts, Drawn, PersonSides

_BAR_WIDTH = 30
_BARS_MAX = 31
_EIGHTHS = " ▏▎▍▌▋▊▉█"

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
        totals=Sides(*_sides(tally.total)),
        people=PeopleCount(tally.people, tally.gaining, tally.losing, same),
        days=[
            DaySides(*_sides(sums), day=date.fromisoformat(day))
            for day, sums in sorted(tally.days.items())
        ],
        rules=[
            RuleSides(
                *_sides(sums),
                rule=rule,
                awards_before=sums.before_n,
                awards_after=sums.after_n,
            )
            for rule, sums in sorted(tally.rules.items())
        ],
        limits=[
            LimitSides(rule, limited_by, sums.before_n, sums.after_n)
            for name, sums in sorted(tally.limits.items())
            for rule, _, limited_by in [name.partition("\t")]
        ],
        campaigns=_campaigns(simulation),
        refused=[
            RefusedSides(reason, sums.before_n, sums.before_g)
            for reason, sums in sorted(tally.refused.items())
        ],
        failed=FailedSides(tally.failed.before_n, tally.failed.after_n),
        erased=ErasedSides(tally.erased, tally.erased_g),
        largest_changes=tally.changes,
        passes=simulation.passes,
        settled=simulation.settled,
        rebudgeted=[*simulation.rebudgeted],
        notes=_notes(simulation),
    )


def _sides(sums: Amounts) -> tuple[int, int, int, int]:
    return sums.before_g, sums.after_g, sums.before_saved_g, sums.after_saved_g


def _campaigns(simulation: Simulation) -> list[CampaignSides]:
    drawn = simulation.tally.campaigns
    names = sorted({*drawn, *simulation.trial.draft.campaigns})
    extras = [(name, drawn.get(name, Drawn())) for name in names]
    return [
        CampaignSides(
            name,
            simulation.budgets.get(name),
            extra.before_g,
            extra.after_g,
            name in simulation.ended,
        )
        for name, extra in extras
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


def print_simulation(console: Console, simulation: Simulation, name: str) -> None:
    """The report for people. Nothing of it is markup but what stands here."""
    report = simulation_report(simulation)
    first, until = _day(simulation, report.from_), _day(simulation, report.to)
    console.print(f"{name}, on what was recorded from {first} until {until}", highlight=False)
    versions = ", ".join(f"{each.version} ({each.actions:,})" for each in report.versions)
    console.print(
        f"{report.actions:,} actions, {report.reversals:,} reversals; decided then by version"
        f" {versions or 'none'}\n",
        highlight=False,
    )
    _print_totals(console, report)
    _print_failed(console, report.failed)
    _print_days(console, report.days)
    _print_rules(console, report.rules)
    _print_limits(console, report.limits)
    _print_campaigns(console, report.campaigns)
    _print_refused(console, report.refused)
    _print_changes(console, report.largest_changes)
    for note in report.notes:
        console.print(note, highlight=False, soft_wrap=True)


def _day(simulation: Simulation, instant: datetime) -> str:
    """A day of the programme, or the time when it is not a day's beginning."""
    local = instant.astimezone(simulation.trial.draft.program.timezone)
    if (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0):
        return f"{local:%Y-%m-%d}"
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _print_totals(console: Console, report: SimulationAnswer) -> None:
    table = _table("", "before g", "after g", "change g", "")
    totals, people = report.totals, report.people
    for name, before, after in (
        ("energy", totals.energy_before_g, totals.energy_after_g),
        ("saved CO2e", totals.saved_before_g, totals.saved_after_g),
    ):
        table.add_row(
            name, f"{before:,}", f"{after:,}", _signed(after - before), _part(before, after)
        )
    console.print(table)
    console.print(
        f"of {people.all:,} people {people.gain:,} gain, {people.lose:,} lose,"
        f" {people.same:,} come out the same; {report.changed_actions:,} actions give another"
        " amount\n",
        highlight=False,
    )


def _print_failed(console: Console, failed: FailedSides) -> None:
    before, after = failed.awards_before, failed.awards_after
    if before or after:
        style = "red" if after > before else ""
        text = f"awards whose rule fails and pays nothing: {before:,} before, {after:,} after\n"
        console.print(Text(text, style))


def _print_days(console: Console, days: list[DaySides]) -> None:
    """Grams by day of recording, before above after; long periods in steps of several days."""
    if not days:
        return
    steps = _steps(days)
    most = max(max(abs(before), abs(after)) for _, before, after in steps) or 1
    console.print("energy by day, before and after", highlight=False)
    for label, before, after in steps:
        console.print(
            f"{label:22} ", _bar(before, most, "dim"), f" {before:,}", sep="", highlight=False
        )
        style = "green" if after > before else "red" if after < before else "dim"
        console.print(f"{'':22} ", _bar(after, most, style), f" {after:,}", sep="", highlight=False)
    console.print()


def _steps(days: list[DaySides]) -> list[tuple[str, int, int]]:
    first, last = days[0].day, days[-1].day
    length = ((last - first).days + _BARS_MAX) // _BARS_MAX
    sums: dict[date, tuple[int, int]] = {}
    for entry in days:
        start = entry.day - timedelta(days=(entry.day - first).days % length)
        before, after = sums.get(start, (0, 0))
        sums[start] = (before + entry.energy_before_g, after + entry.energy_after_g)
    return [
        (
            str(start) if length == 1 else f"{start}..{start + timedelta(days=length - 1)}",
            before,
            after,
        )
        for start, (before, after) in sums.items()
    ]


def _bar(grams: int, most: int, style: str) -> Text:
    eighths = round(max(grams, 0) / most * _BAR_WIDTH * 8)
    filled = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
    return Text(filled.ljust(_BAR_WIDTH), style)


def _print_rules(console: Console, rules: list[RuleSides]) -> None:
    table = _table(
        "rule", "awards", "after", "energy g", "after g", "change g", "", "saved change g"
    )
    for each in rules:
        before, after = each.energy_before_g, each.energy_after_g
        table.add_row(
            each.rule,
            f"{each.awards_before:,}",
            f"{each.awards_after:,}",
            f"{before:,}",
            f"{after:,}",
            _signed(after - before),
            _part(before, after),
            _signed(each.saved_after_g - each.saved_before_g),
        )
    _print_table(console, table)


def _print_limits(console: Console, limits: list[LimitSides]) -> None:
    table = _table("awards cut by a limit", "limit", "before", "after", "change", left=("limit",))
    for each in limits:
        change = each.cut_after - each.cut_before
        table.add_row(
            each.rule,
            each.limited_by,
            f"{each.cut_before:,}",
            f"{each.cut_after:,}",
            _signed(change),
        )
    _print_table(console, table)


def _print_campaigns(console: Console, campaigns: list[CampaignSides]) -> None:
    table = _table("campaign", "budget g", "extra g", "after g", "", left=("",))
    for each in campaigns:
        budget_g = each.budget_g
        table.add_row(
            each.campaign,
            "" if budget_g is None else f"{budget_g:,}",
            f"{each.extra_before_g:,}",
            f"{each.extra_after_g:,}",
            "its budget is used up" if each.budget_ends else "",
        )
    _print_table(console, table)


def _print_refused(console: Console, refused: list[RefusedSides]) -> None:
    table = _table("refused under the draft", "actions", "had given g")
    for each in refused:
        table.add_row(each.reason, f"{each.actions:,}", f"{each.energy_before_g:,}")
    _print_table(console, table)


def _print_changes(console: Console, changes: list[PersonSides]) -> None:
    table = _table(
        "largest changes", "before g", "after g", "change g", "most changed action", "id",
        left=("most changed action", "id"),
    )  # fmt: skip
    for each in changes:
        before, after = each.energy_before_g, each.energy_after_g
        action = each.most_changed_action
        what = action and (
            f"{action.type} {action.energy_before_g:,} -> {action.energy_after_g:,} g"
        )
        table.add_row(
            str(each.participant_id),
            f"{before:,}",
            f"{after:,}",
            _signed(after - before),
            what or "",
            str(action.id) if action else "",
        )
    _print_table(console, table)


def _print_table(console: Console, table: Table) -> None:
    if table.row_count:
        console.print(table)
        console.print()


def _table(first: str, *columns: str, left: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    return table


def _signed(grams: int) -> Text:
    style = "green" if grams > 0 else "red" if grams < 0 else "dim"
    return Text(f"{grams:+,}" if grams else "0", style)


def _part(before: int, after: int) -> str:
    """The change in percent, where there was something before."""
    return f"{(after - before) / before:+.1%}" if before > 0 and after != before else ""
