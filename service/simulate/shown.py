"""What a simulation came to, told to people: the same content as its report."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from msgspec.structs import astuple
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from service.simulate.passes import Simulation
from service.simulate.report import DaySides, FailedSides, SimulationAnswer, simulation_report
from service.simulate.tally import ChangedActionAnswer

_BAR_WIDTH = 30
_BARS_MAX = 31
_EIGHTHS = " ▏▎▍▌▋▊▉█"


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
    _print_tables(console, report)
    for note in report.notes:
        console.print(note, highlight=False, soft_wrap=True)


def _day(simulation: Simulation, instant: datetime) -> str:
    """A day of the programme, or the time when it is not a day's beginning."""
    local = instant.astimezone(simulation.trial.draft.program.timezone)
    if (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0):
        return f"{local:%Y-%m-%d}"
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _print_totals(console: Console, report: SimulationAnswer) -> None:
    totals, people = report.totals, report.people
    sides = (
        ("energy", totals.energy_before_g, totals.energy_after_g),
        ("saved CO2e", totals.saved_before_g, totals.saved_after_g),
    )
    columns = ("", "before g", "after g", "change g", "")
    console.print(_table(columns, [(name, *side, *_change(*side)) for name, *side in sides]))
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


def _print_tables(console: Console, report: SimulationAnswer) -> None:
    """Rules, limits, campaigns, refusals and the largest changes, each where there are any."""
    rules = [
        (
            *(each.rule, each.awards_before, each.awards_after),
            *(each.energy_before_g, each.energy_after_g),
            *_change(each.energy_before_g, each.energy_after_g),
            _signed(each.saved_after_g - each.saved_before_g),
        )
        for each in report.rules
    ]
    limits = [(*astuple(each), _signed(each.cut_after - each.cut_before)) for each in report.limits]
    campaigns = [
        (*astuple(each)[:-1], "its budget is used up" if each.budget_ends else "")
        for each in report.campaigns
    ]
    changes = [
        (
            *(each.participant_id, each.energy_before_g, each.energy_after_g),
            _signed(each.energy_after_g - each.energy_before_g),
            *_action(each.most_changed_action),
        )
        for each in report.largest_changes
    ]
    for columns, rows in (
        (_RULES, rules),
        (_LIMITS, limits),
        (_CAMPAIGNS, campaigns),
        (("refused under the draft", "actions", "had given g"), map(astuple, report.refused)),
        (_CHANGES, changes),
    ):
        table = _table(columns, rows)
        if table.row_count:
            console.print(table)
            console.print()


def _action(action: ChangedActionAnswer | None) -> tuple[object, object]:
    if action is None:
        return "", ""
    before, after = action.energy_before_g, action.energy_after_g
    return f"{action.type} {before:,} -> {after:,} g", action.id


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """Numbers stand at the right; a column of texts has its name with a < before it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        is_text = not number or column.startswith("<")
        justify: JustifyMethod = "left" if is_text else "right"
        table.add_column(column.removeprefix("<"), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(value: object) -> Text | str:
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, Text) else "" if value is None else str(value)


def _change(before: int, after: int) -> tuple[Text, str]:
    """The change, and in percent where there was something before."""
    part = f"{(after - before) / before:+.1%}" if before > 0 and after != before else ""
    return _signed(after - before), part


def _signed(grams: int) -> Text:
    style = "green" if grams > 0 else "red" if grams < 0 else "dim"
    return Text(f"{grams:+,}" if grams else "0", style)


_RULES = ("rule", "awards", "after", "energy g", "after g", "change g", "", "saved change g")
_LIMITS = ("awards cut by a limit", "<limit", "before", "after", "change")
_CAMPAIGNS = ("campaign", "budget g", "extra g", "after g", "<")
_CHANGES = (
    *("largest changes", "before g", "after g", "change g"),
    *("<most changed action", "<id"),
)
