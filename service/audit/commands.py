"""`saxaul ledger audit`: recomputes the ledger and says what is off."""

import sys
from functools import partial
from uuid import UUID

import click
import msgspec
from rich.console import Console
from rich.progress import TimeElapsedColumn
from rich.table import Column, Table

from service.audit.across import STRANGERS
from service.audit.audit import AuditAnswer, Mode, audit
from service.audit.checks import CHECKS, COMPARES, WHOLE
from service.instance.open import Instance, on_instance
from service.platform.checks import Check, Compare
from service.platform.terminal import share_bar

_SHOWN_MAX = 20
_LOG_ASKS = ("log", "the log of the operators' acts is whole")
_NOTES = (
    ("facts", "digests of actions cover the time with the offset that its partner sent"),
    ("log", "entries of the operators' log were hashed with a zero as -0.0"),
)


@click.group()
def ledger() -> None:
    """The ledger and its audit."""


@ledger.command("audit")
@click.option("--full", "full", is_flag=True, help="Recompute everything.")
@click.option(
    "--incremental",
    "incremental",
    is_flag=True,
    help="Only books that moved since they were last found clean, their chains from there on.",
)
@click.option("--participant", type=click.UUID, help="Only this participant's book.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def audit_ledger(*, full: bool, incremental: bool, participant: UUID | None, form: str) -> None:
    """Recompute books, bubbles, limits and chains from what was written down.

    Without an option everything is recomputed; in ledgers of more than 2 million transfers only
    what moved since the last audit. The answer says which it was. Exit code 1 when anything is off.
    """
    if full and incremental:
        raise click.UsageError("--full and --incremental are two ways: choose one.")
    mode: Mode | None = "full" if full else "incremental" if incremental else None
    work = partial(_audit, mode, participant, is_quiet=form == "json")
    name, report = on_instance("saxaul ledger audit", work)
    if form == "json":
        told = {"audited": name} | msgspec.to_builtins(report)
        del told["complete"], told["next_after"]  # it always ends
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2))
    else:
        _print(report, participant)
        click.echo(f"audited: {name}")
    sys.exit(0 if report.is_clean else 1)


async def _audit(
    mode: Mode | None, participant: UUID | None, instance: Instance, *, is_quiet: bool
) -> tuple[str, AuditAnswer]:
    """What was audited, and what was found."""
    database = instance.database
    if participant is not None and not await database.pool.fetchval(_IS_THERE, participant):
        raise click.ClickException(f"There is no participant {participant}.")
    with share_bar("auditing", TimeElapsedColumn(), is_quiet=is_quiet) as show:

        def show_page(report: AuditAnswer) -> None:
            told = f"{report.books:,} books, {{rate:,}} transfers/s"
            show(report.part_done, told, report.transfers)

        report = await audit(
            database,
            mode=mode,
            now=instance.clock.now(),
            participant_id=participant,
            on_page=show_page,
            more=COMPARES,
            whole=WHOLE,
        )
    return instance.name, report


def _print(report: AuditAnswer, participant: UUID | None) -> None:
    columns = "check", "what must be true", Column("differences", justify="right")
    table = Table(*columns, title="saxaul ledger audit", title_justify="left")
    asked = [
        (check.name, check.asks)
        for check in CHECKS
        if (report.mode == "full" and participant is None)
        or (isinstance(check, Check | Compare) and check is not STRANGERS)
    ]
    if participant is None:
        asked.append(_LOG_ASKS)
    for name, asks in asked:
        found = report.found.get(name, 0)
        table.add_row(name, asks, f"[red]{found}[/red]" if found else "0")
    console = Console()
    console.print(table)
    for difference in report.differences[:_SHOWN_MAX]:
        owner = difference.participant_id or "the ledger"
        click.echo(f"{owner}: {difference.what}")
        click.echo(f"    expected {difference.expected}")
        click.echo(f"    found    {difference.found}")
    if len(report.differences) > _SHOWN_MAX:
        click.echo(f"and more; --format json shows the first {len(report.differences)}.")
    for name, note in _NOTES:
        if report.notes[name]:
            click.echo(
                f"{report.notes[name]:,} {note}, as an earlier version did: not a difference"
            )
    verdict = "clean" if report.is_clean else "NOT CLEAN"
    counts = f"{report.books:,} books, {report.transfers:,} transfers, {report.actions:,} actions"
    click.echo(
        f"{verdict}: {report.mode} audit of {counts}, {report.log_entries:,} operators' acts"
    )
    if report.mode == "incremental":
        click.echo("Books that did not move since their last audit were passed over; see --full.")


_IS_THERE = "SELECT true FROM books WHERE participant_id = $1"
