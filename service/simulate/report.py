"""What a simulation came to, for people and for programs: the same content."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.simulate.passes import Simulation
from service.simulate.tally import Amounts, Change

_BAR_WIDTH = 30
_BARS_MAX = 31
_EIGHTHS = " ▏▎▍▌▋▊▉█"

REFUSED_NOTE = (
    "Actions that were refused then are not stored, so what a more generous draft would have"
    " accepted is not here."
)


def simulation_json(simulation: Simulation) -> dict[str, Any]:
    """The report for programs."""
    trial, tally = simulation.trial, simulation.tally
    return {
        "from": trial.period.starts_at,
        "to": trial.period.ends_at,
        "timezone": trial.draft.program.timezone.key,
        "sha256": trial.draft.sha256,
        "as_recorded": trial.as_recorded,
        "actions": tally.actions,
        "reversals": tally.reversals,
        "changed_actions": tally.differing,
        "versions": [
            {"version": version, "actions": count}
            for version, count in sorted(tally.versions.items())
        ],
        "totals": _sides(tally.total),
        "people": {
            "all": tally.people,
            "gain": tally.gaining,
            "lose": tally.losing,
            "same": tally.people - tally.gaining - tally.losing,
        },
        "days": [{"day": day, **_sides(sums)} for day, sums in sorted(tally.days.items())],
        "rules": [
            {
                "rule": rule,
                "awards_before": sums.before_n,
                "awards_after": sums.after_n,
                **_sides(sums),
            }
            for rule, sums in sorted(tally.rules.items())
        ],
        "limits": [
            {
                "rule": name.partition("\t")[0],
                "limited_by": name.partition("\t")[2],
                "cut_before": sums.before_n,
                "cut_after": sums.after_n,
            }
            for name, sums in sorted(tally.limits.items())
        ],
        "campaigns": _campaigns(simulation),
        "refused": [
            {"reason": reason, "actions": sums.before_n, "energy_before_g": sums.before_g}
            for reason, sums in sorted(tally.refused.items())
        ],
        "failed": {
            "awards_before": tally.failed.before_n,
            "awards_after": tally.failed.after_n,
        },
        "erased": {"actions": tally.erased, "energy_g": tally.erased_g},
        "largest_changes": [_change(change) for change in tally.changes],
        "passes": simulation.passes,
        "settled": simulation.settled,
        "rebudgeted": [*simulation.rebudgeted],
        "notes": _notes(simulation),
    }


def _sides(sums: Amounts) -> dict[str, int]:
    return {
        "energy_before_g": sums.before_g,
        "energy_after_g": sums.after_g,
        "saved_before_g": sums.before_saved_g,
        "saved_after_g": sums.after_saved_g,
    }


def _campaigns(simulation: Simulation) -> list[dict[str, Any]]:
    drawn = simulation.tally.campaigns
    return [
        {
            "campaign": name,
            "budget_g": simulation.budgets.get(name),
            "extra_before_g": drawn[name].before_g if name in drawn else 0,
            "extra_after_g": drawn[name].after_g if name in drawn else 0,
            "budget_ends": name in simulation.ended,
        }
        for name in sorted({*drawn, *simulation.trial.draft.campaigns})
    ]


def _change(change: Change) -> dict[str, Any]:
    action = change.action
    return {
        "participant_id": change.participant_id,
        "energy_before_g": change.before_g,
        "energy_after_g": change.after_g,
        "most_changed_action": action
        and {
            "id": action.id,
            "type": action.type,
            "occurred_at": action.occurred_at,
            "energy_before_g": action.before_g,
            "energy_after_g": action.after_g,
        },
    }


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
    report = simulation_json(simulation)
    first, until = _day(simulation, report["from"]), _day(simulation, report["to"])
    console.print(f"{name}, on what was recorded from {first} until {until}", highlight=False)
    versions = ", ".join(f"{each['version']} ({each['actions']:,})" for each in report["versions"])
    console.print(
        f"{report['actions']:,} actions, {report['reversals']:,} reversals; decided then by version"
        f" {versions or 'none'}\n",
        highlight=False,
    )
    _print_totals(console, report)
    _print_failed(console, report["failed"])
    _print_days(console, report["days"])
    _print_rules(console, report["rules"])
    _print_limits(console, report["limits"])
    _print_campaigns(console, report["campaigns"])
    _print_refused(console, report["refused"])
    _print_changes(console, report["largest_changes"])
    for note in report["notes"]:
        console.print(note, highlight=False, soft_wrap=True)


def _day(simulation: Simulation, instant: datetime) -> str:
    """A day of the programme, or the time when it is not a day's beginning."""
    local = instant.astimezone(simulation.trial.draft.program.timezone)
    if (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0):
        return f"{local:%Y-%m-%d}"
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _print_totals(console: Console, report: dict[str, Any]) -> None:
    table = _table("", "before g", "after g", "change g", "")
    totals, people = report["totals"], report["people"]
    for name, key in (("energy", "energy"), ("saved CO2e", "saved")):
        before, after = totals[f"{key}_before_g"], totals[f"{key}_after_g"]
        table.add_row(
            name, f"{before:,}", f"{after:,}", _signed(after - before), _part(before, after)
        )
    console.print(table)
    console.print(
        f"of {people['all']:,} people {people['gain']:,} gain, {people['lose']:,} lose,"
        f" {people['same']:,} come out the same; {report['changed_actions']:,} actions give another"
        " amount\n",
        highlight=False,
    )


def _print_failed(console: Console, failed: dict[str, int]) -> None:
    before, after = failed["awards_before"], failed["awards_after"]
    if before or after:
        style = "red" if after > before else ""
        text = f"awards whose rule fails and pays nothing: {before:,} before, {after:,} after\n"
        console.print(Text(text, style))


def _print_days(console: Console, days: list[dict[str, Any]]) -> None:
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


def _steps(days: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    first, last = (date.fromisoformat(days[at]["day"]) for at in (0, -1))
    length = ((last - first).days + _BARS_MAX) // _BARS_MAX
    sums: dict[date, tuple[int, int]] = {}
    for entry in days:
        day = date.fromisoformat(entry["day"])
        start = day - timedelta(days=(day - first).days % length)
        before, after = sums.get(start, (0, 0))
        sums[start] = (before + entry["energy_before_g"], after + entry["energy_after_g"])
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


def _print_rules(console: Console, rules: list[dict[str, Any]]) -> None:
    table = _table(
        "rule", "awards", "after", "energy g", "after g", "change g", "", "saved change g"
    )
    for each in rules:
        before, after = each["energy_before_g"], each["energy_after_g"]
        table.add_row(
            each["rule"],
            f"{each['awards_before']:,}",
            f"{each['awards_after']:,}",
            f"{before:,}",
            f"{after:,}",
            _signed(after - before),
            _part(before, after),
            _signed(each["saved_after_g"] - each["saved_before_g"]),
        )
    _print_table(console, table)


def _print_limits(console: Console, limits: list[dict[str, Any]]) -> None:
    table = _table("awards cut by a limit", "limit", "before", "after", "change", left=("limit",))
    for each in limits:
        change = each["cut_after"] - each["cut_before"]
        table.add_row(
            each["rule"],
            each["limited_by"],
            f"{each['cut_before']:,}",
            f"{each['cut_after']:,}",
            _signed(change),
        )
    _print_table(console, table)


def _print_campaigns(console: Console, campaigns: list[dict[str, Any]]) -> None:
    table = _table("campaign", "budget g", "extra g", "after g", "", left=("",))
    for each in campaigns:
        budget_g = each["budget_g"]
        table.add_row(
            each["campaign"],
            "" if budget_g is None else f"{budget_g:,}",
            f"{each['extra_before_g']:,}",
            f"{each['extra_after_g']:,}",
            "its budget is used up" if each["budget_ends"] else "",
        )
    _print_table(console, table)


def _print_refused(console: Console, refused: list[dict[str, Any]]) -> None:
    table = _table("refused under the draft", "actions", "had given g")
    for each in refused:
        table.add_row(each["reason"], f"{each['actions']:,}", f"{each['energy_before_g']:,}")
    _print_table(console, table)


def _print_changes(console: Console, changes: list[dict[str, Any]]) -> None:
    table = _table(
        "largest changes", "before g", "after g", "change g", "most changed action", "id",
        left=("most changed action", "id"),
    )  # fmt: skip
    for each in changes:
        before, after = each["energy_before_g"], each["energy_after_g"]
        action = each["most_changed_action"]
        what = action and (
            f"{action['type']} {action['energy_before_g']:,} -> {action['energy_after_g']:,} g"
        )
        table.add_row(
            str(each["participant_id"]),
            f"{before:,}",
            f"{after:,}",
            _signed(after - before),
            what or "",
            str(action["id"]) if action else "",
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
