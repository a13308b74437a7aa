"""`saxaul replay`: real trips and steps through the real API."""

import asyncio
import re
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table

from kit.progress import progress_bar
from kit.replay.api import PATIENCE_S, ApiError, open_api
from kit.replay.as_partner import PartnerReplay
from kit.replay.plan import PEOPLE, Order, plan_days, plan_partner_days
from kit.replay.read import FORMS, SPAN_MAX_DAYS, Found, read_actions, span_days
from kit.replay.run import Replay, Tally
from kit.replay.table import FileFaultError
from service.instance.address import url_of
from service.platform.settings import load_settings

_HEAD = 10
# Times of the API lie in these years, those of the mornings after the last day included.
_FIRST, _LAST = date(2000, 1, 2).toordinal(), date(2199, 11, 1).toordinal()
_BALANCES = ("ripening_g", "available_g", "pledged_g", "planted_g", "expired_g", "arrears_g")


def _address(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url is not None and not re.fullmatch(r"https?://[^/?#]+/?", url):
        raise click.BadParameter("must be like http://127.0.0.1:8000")
    return url


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", "form", required=True, type=click.Choice(sorted(FORMS)))
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Day of the programme that the file's first day becomes; default: its tomorrow.",
)
@click.option(
    "--url",
    callback=_address,
    help="Where the API serves; default: as SAXAUL_HOST and SAXAUL_PORT say.",
)
@click.option(
    "--people",
    type=click.IntRange(1, 10_000),
    help="How many made-up people share the actions; default: 300 for trips, for steps the people"
    " of the file.",
)
@click.option(
    "--any-span",
    is_flag=True,
    help=f"Also a file of more than {SPAN_MAX_DAYS} days: the clock moves through all of them.",
)
@click.option(
    "--as-partner",
    is_flag=True,
    help="Trips as signed events of a partner's shared bikes, instead of the riders' phones.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=PATIENCE_S,
    show_default=True,
    help="How many seconds an API that does not answer is asked again.",
)
def replay(
    *,
    file: Path,
    form: str,
    start: datetime | None,
    url: str | None,
    people: int | None,
    any_span: bool,
    as_partner: bool,
    patience: float,
) -> None:
    """Send the trips or daily steps of FILE through the API, as if made-up people had made them.

    FILE is a month of Citi Bike's system data, also of before 2021 (citibike), trips as the
    Mobility Data Specification has them (mds), or Fitabase's daily activity (steps). The instance
    must be in development mode: its clock moves along, day by day.

    The same file and start give the same requests: a replay that was broken off is completed by
    running it again with the start that it printed. Do so before the clock, which goes on by
    itself, is so far that bubbles expire.
    """
    console = Console(highlight=False, soft_wrap=True)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if as_partner and form == "steps":
        raise click.UsageError("--as-partner is for trips: no partner reports steps")
    try:
        found = read_actions(file, form, any_span=any_span)
        asyncio.run(
            _replay(
                console,
                found,
                title=file.name,
                form=form,
                start=start.date() if start else None,
                url=url or url_of(load_settings()),
                people=people or PEOPLE[form],
                as_partner=as_partner,
                patience_s=patience,
            )
        )
    except (FileFaultError, ApiError) as error:
        errors.print(str(error), markup=False)
        sys.exit(1)


async def _replay(
    console: Console,
    found: Found,
    *,
    title: str,
    form: str,
    start: date | None,
    url: str,
    people: int | None,
    as_partner: bool,
    patience_s: float,
) -> None:
    async with open_api(url, patience_s) as api:
        program = await api.get("/v1/program")
        zone = ZoneInfo(program["timezone"])
        if start is None:
            today = datetime.fromisoformat(program["now"]).astimezone(zone).date()
            start = today + timedelta(days=1)
        plan = plan_partner_days if as_partner else plan_days
        ends = start.toordinal() + span_days(found.actions)
        if not _FIRST <= start.toordinal() <= ends <= _LAST:
            raise FileFaultError(f"{title}: begun on {start} it leaves the years 2000 to 2199.")
        days = plan(found.actions, Order(form, start, zone, people))
        console.print(
            f"{title}: {len(found.actions):,} actions of {len(days)} days, {start} to"
            f" {days[-1].date} in {zone}\nsent to {url}; run it again with --start {start} to"
            " complete it, or to see that nothing is paid twice"
        )
        if found.unreadable:
            console.print(
                f"{found.unreadable:,} rows cannot be read and are left out, the first is"
                f" {found.first_unreadable}",
                markup=False,
            )
        try:
            with progress_bar(console) as progress:
                bar = progress.add_task("", total=len(found.actions))
                playing = (PartnerReplay if as_partner else Replay)(
                    api,
                    zone,
                    lambda day, done: progress.update(bar, advance=done, description=str(day)),
                )
                await playing.run(days)
                books = await playing.books()
        except ApiError as error:
            raise ApiError(f"{error} Run it again with --start {start} to complete it.") from error
        _print_tally(console, playing.tally)
        _print_books(console, books)
        await _print_board(console, playing)


def _print_tally(console: Console, tally: Tally) -> None:
    table = _table("actions", "number", "energy g", "saved g")
    for name, part in (("accepted", tally.accepted), ("duplicate", tally.duplicate)):
        table.add_row(name, *(f"{n:,}" for n in (part.actions, part.energy_g, part.saved_g)))
    for reason, number in tally.refused.most_common():
        table.add_row(f"refused: {reason}", f"{number:,}", "", "")
    console.print(table)
    console.print(f"collected in this run: {tally.collected_g:,} g\n")


def _print_books(console: Console, books: list[dict[str, Any]]) -> None:
    table = _table(f"books of {len(books):,} people", "g")
    for name in _BALANCES:
        total_g = sum(book["balances"][name] for book in books)
        table.add_row(name.removesuffix("_g"), f"{total_g:,}")
    console.print(table)


async def _print_board(console: Console, playing: Replay) -> None:
    """The head of the board, which may be away while all else works."""
    try:
        board = await playing.board("energy", _HEAD)
    except ApiError as error:
        console.print(f"The board is not there now: {error}", markup=False)
        return
    table = _table("rank", "g collected", "name", title="Board energy, of all time")
    for item in board["items"]:
        table.add_row(str(item["rank"]), f"{item['score']:,}", item["display_name"])
    console.print(table)


def _table(first: str, *columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="left" if column == "name" else "right")
    return table
