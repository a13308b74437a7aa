"""`saxaul rules simulate`: what a draft would have paid, beside what was paid."""

import asyncio

import click
from rich.console import Console
from rich.progress import TimeRemainingColumn

from service.instance.open import open_instance
from service.platform.settings import load_settings, with_secret_key
from service.platform.terminal import share_bar
from service.rulebooks.checked import compile_rulebook_or_raise
from service.rulebooks.commands_report import (
    FORMAT,
    Format,
    folder_files,
    is_version,
    print_json,
    problems_told,
    version_files,
)
from service.simulate.passes import Progress, Simulation, Trial, simulate
from service.simulate.period import PeriodError, read_period
from service.simulate.report import simulation_report
from service.simulate.shown import print_simulation

_WIDTH_MIN = 150


@click.command("simulate")
@click.argument("draft", default="rules")
@click.option("--from", "start", help="First day, or a time; default: 30 days before the end.")
@click.option("--to", "end", help="The day after the last one, or a time; default: now.")
@click.option(
    "--as-recorded",
    is_flag=True,
    help="Let each action be decided by its own version: a self-check, which changes nothing.",
)
@click.option(
    "--processes", type=click.IntRange(1, 256), help="How many processes; default: all cores."
)
@FORMAT
def simulate_draft(
    *,
    draft: str,
    start: str | None,
    end: str | None,
    as_recorded: bool,
    processes: int | None,
    form: Format,
) -> None:
    """Replay what was recorded in a period under DRAFT, beside what was paid. Writes nothing.

    DRAFT is a folder, a version or `active`. Limits, campaigns, late arrivals, overlaps and
    reversals count as they came then.
    """
    with problems_told(form):
        simulation, name = asyncio.run(
            _simulate(draft, start, end, as_recorded=as_recorded, processes=processes)
        )
    if form == "json":
        print_json(simulation_report(simulation))
    else:
        # A narrow screen or a pipe breaks long lines, which is better than columns left out.
        wide = Console(width=max(Console().width, _WIDTH_MIN))
        print_simulation(wide, simulation, name)


async def _simulate(
    draft: str, start: str | None, end: str | None, *, as_recorded: bool, processes: int | None
) -> tuple[Simulation, str]:
    settings = load_settings()
    files = None if is_version(draft) else folder_files(draft)
    # What is wrong with a folder is told before anything is started.
    rulebook = None if files is None else compile_rulebook_or_raise(files)
    name = f"The draft in {draft}"
    async with open_instance(settings, "saxaul rules simulate") as instance:
        if files is None or rulebook is None:
            async with instance.database.pool.acquire() as connection:
                version, files = await version_files(connection, draft)
            rulebook, name = compile_rulebook_or_raise(files), f"Version {version}"
        try:
            period = read_period(rulebook.program, start, end, instance.clock.now())
        except PeriodError as error:
            raise click.UsageError(f"--{error.which} {error.detail}") from error
        with share_bar("replaying", TimeRemainingColumn()) as show:

            def show_progress(done: Progress) -> None:
                what = "replaying" if done.pass_number == 1 else f"pass {done.pass_number}"
                told = f"{done.actions:,} actions, {{rate:,}}/s"
                show(done.part_done, told, done.actions, what)

            simulation = await simulate(
                instance.servers.database_url,
                Trial(rulebook, files, period, as_recorded=as_recorded),
                secret=with_secret_key(settings).secret_key.encode(),
                processes=processes,
                on_progress=show_progress,
            )
    return simulation, "Each action by its own version" if as_recorded else name
