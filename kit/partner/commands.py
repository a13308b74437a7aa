"""`saxaul partner`: what a partner runs to send events and to test a client of their own."""

import asyncio
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from kit.partner.journal import Journal, JournalFaultError, State
from kit.partner.keys import SigningKey, signing_key
from kit.partner.read import (
    TRIP_FORMS,
    Kinds,
    Trips,
    form_of,
    kinds_of,
    read_records,
)
from kit.partner.send import (
    BATCH_MAX,
    PARALLEL,
    PATIENCE_S,
    Sender,
    SendError,
    batches_of,
)
from kit.partner.signing import read_private_key
from kit.partner.vectors import AT, PRIVATE_KEY, SECRET, Setting, vectors_of
from kit.progress import progress_bar
from kit.replay.table import FileFaultError
from service.instance.address import url_of
from service.partners.signature import read_secret
from service.platform.settings import SettingsError, load_settings

_TIMEOUT_S = 60.0
_PAGE = 200


def _key(_context: click.Context, _option: click.Parameter, text: str) -> SigningKey:
    """A key as text, or `@FILE` that holds it."""
    try:
        return signing_key(_text(text))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _hmac(_context: click.Context, _option: click.Parameter, text: str) -> str:
    return _fitting(_text(text), read_secret)


def _ed25519(_context: click.Context, _option: click.Parameter, text: str) -> str:
    return _fitting(_text(text), read_private_key)


def _fitting(text: str, read: Callable[[str], object]) -> str:
    try:
        read(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return text


def _text(text: str) -> str:
    """What was given, or what the file holds that was named by `@FILE`."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).expanduser().read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"cannot be read: {error}") from error


def _address(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url is not None and not re.fullmatch(r"https?://[^/?#]+/?", url):
        raise click.BadParameter("must be like https://points.example")
    return url


@click.group()
def partner() -> None:
    """Send signed events as a partner, and test a client of one's own."""


@partner.command("test-vectors")
@click.option(
    "--at",
    type=click.IntRange(0, 10**11),
    default=AT,
    show_default=True,
    help="When the deliveries are signed, in seconds since 1970.",
)
@click.option("--partner", default=Setting.partner, show_default=True, help="The partner's id.")
@click.option("--source", default=Setting.source, show_default=True, help="The source prefix.")
@click.option("--type", default=Setting.type, show_default=True, help="A granted action type.")
@click.option("--secret", default=SECRET, callback=_hmac, help="whsec_..., or @FILE that holds it.")
@click.option("--private-key", default=PRIVATE_KEY, callback=_ed25519, help="whsk_..., or @FILE.")
def show_test_vectors(**setting: Any) -> None:
    """Print keys, bodies, signatures and expected answers as JSON, to test a client with.

    As they stand they are fixed, to compare signatures with. With --at $(date +%s) and a partner's
    own id, source, type and keys they can be sent to a running instance.
    """
    vectors = msgspec.json.encode(vectors_of(Setting(**setting)))
    click.echo(msgspec.json.format(vectors, indent=2))


@partner.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--partner", "partner_id", required=True, help="The partner's id.")
@click.option(
    "--key",
    required=True,
    callback=_key,
    help="whsec_... or whsk_..., or @FILE that holds it (others of the machine see arguments).",
)
@click.option(
    "--url", callback=_address, help="Where the API serves; default: SAXAUL_HOST and SAXAUL_PORT."
)
@click.option("--source", default="", help="The source of events that name none.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv", *TRIP_FORMS]),
    help="Default: ndjson or csv, by the file's name.",
)
@click.option(
    "--subject", default="", help="The column or member of a trip that tells who made it."
)
@click.option(
    "--batch",
    type=click.IntRange(1, BATCH_MAX),
    default=BATCH_MAX,
    show_default=True,
    help="Events a request.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 16),
    default=PARALLEL,
    show_default=True,
    help="Requests at once.",
)
@click.option(
    "--rejected",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where rejected items go; default: FILE.rejected.ndjson.",
)
@click.option("--restart", is_flag=True, help="Send all again; what was paid answers as duplicate.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=PATIENCE_S,
    show_default=True,
    help="How many seconds an API that does not answer is asked again.",
)
def send(**options: Any) -> None:
    """Sign and send the events of FILE, in batches.

    NDJSON holds a CloudEvent a line (specversion and source may be missing), CSV the columns id,
    type, subject, time and one for each attribute. Trips are those of bike shares: Citi Bike's CSV,
    also of before 2021, in the programme's time zone (citibike), or the Mobility Data
    Specification's JSON (mds). They tell no rider: name the column in which yours do by --subject;
    without one each trip waits under its own id.

    A run that was interrupted goes on where it
    stood when it is started again; rejected items go to a file, to be
    mended in place and sent as they stand there: of each line the event goes out.

    Exit code 1 when something was rejected or could not be sent.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    order = _Order(**options)
    try:
        url = order.url or url_of(load_settings())
        journal = Journal(order.file, url, order.partner_id, order.rejected)
        sent = asyncio.run(_send(errors, journal, order))
    except (FileFaultError, JournalFaultError, SendError, SettingsError) as error:
        errors.print(str(error), markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print(f"interrupted after {journal.state.records:,} records; run it again to go on")
        sys.exit(1)
    _print_state(Console(highlight=False, soft_wrap=True), journal, sent)
    sys.exit(1 if journal.state.statuses.get("rejected") else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What was asked for on the command line."""

    file: Path
    partner_id: str
    key: SigningKey
    url: str | None
    source: str
    form: str | None
    subject: str
    batch: int
    parallel: int
    rejected: Path | None
    restart: bool
    patience: float


async def _send(errors: Console, journal: Journal, order: _Order) -> int:
    """How many records were sent, of those that had not been. Raises FileFaultError, SendError."""
    async with httpx.AsyncClient(
        base_url=journal.state.url, timeout=_TIMEOUT_S, trust_env=False
    ) as client:
        form = order.form or form_of(order.file)
        kinds = await _kinds(client) if form == "csv" else {}
        trips = Trips(await _zone(client) if form == "citibike" else UTC, order.subject)
        read = partial(read_records, order.file, form, order.source, kinds, trips)
        total = sum(1 for _ in read())
        if order.restart:
            journal.restart()
        done = journal.resume()
        records = read()
        if journal.is_outdated_by(record.body for record in records):
            journal.restart()
            done = 0
        if done > total:
            raise JournalFaultError(
                f"{order.file} has {total:,} records, {done:,} were sent: --restart sends all."
            )
        sender = Sender(client, order.partner_id, order.key, patience_s=order.patience)
        with progress_bar(errors) as progress:
            bar = progress.add_task(
                "sending", total=total, completed=done, before=done, visible=done < total
            )
            await sender.send_file(
                batches_of(read(), journal, order.batch),
                journal,
                parallel=order.parallel,
                progress=lambda answered: progress.advance(bar, answered),
            )
    return total - done


async def _zone(client: httpx.AsyncClient) -> ZoneInfo:
    """The programme's time zone. Raises SendError."""
    try:
        answer = (await client.get("/v1/program")).raise_for_status().json()
        return ZoneInfo(answer["timezone"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise SendError(f"{client.base_url} does not show its programme: {error}") from error


async def _kinds(client: httpx.AsyncClient) -> Kinds:
    """The catalogue's types. Raises SendError."""
    items, cursor = [], ""
    try:
        while True:
            query = {"limit": str(_PAGE), **({"cursor": cursor} if cursor else {})}
            answer = (await client.get("/v1/action-types", params=query)).raise_for_status().json()
            items += answer["items"]
            cursor = answer.get("next_cursor") or ""
            if not cursor:
                return kinds_of(items)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise SendError(f"{client.base_url} does not show its action types: {error}") from error


def _print_state(console: Console, journal: Journal, sent: int) -> None:
    """What became of all records, over all runs."""
    state: State = journal.state
    table = Table()
    table.add_column("records")
    table.add_column("number", justify="right")
    for status in ("accepted", "duplicate", "parked", "rejected"):
        table.add_row(status, f"{state.statuses.get(status, 0):,}")
    for reason, number in sorted(state.reasons.items(), key=lambda item: -item[1]):
        table.add_row(f"  {reason}", f"{number:,}")
    console.print(table)
    console.print(f"{state.records:,} records answered, {state.energy_g:,} g")
    if state.records and not sent:
        console.print("All were sent before; nothing was sent now (--restart sends them again).")
    for reason, first in state.firsts.items():
        console.print(f"{reason}, first in {first}", markup=False)
    if state.statuses.get("rejected"):
        console.print(f"rejected items with their problems: {journal.rejected_path}", markup=False)
