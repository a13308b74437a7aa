"""How close is a signed, verified, exactly-once partner event to the bare rows that it leaves?

    python -m benchmarks.ingest [--events 20000] [--rounds 5] [--clients 4] [--riders 2000]

Starts a real instance (PostgreSQL with fsync, Redis, API, worker) and sends batches of 500 signed
events over some connections. Then the very rows that were written (actions, transfers, bubbles,
events, counters, outbox) are inserted set-based, 500 events a transaction, from one asyncpg
connection into the same tables of a second database of the same server. Both in turns; the figure
is the median of the turns' ratios, for a shared machine is faster in some turns than in others. The
books' rows, which the API updates, are left to it alone.
"""

import asyncio
import contextlib
import json
import statistics
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from operator import truediv
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import uvloop
from sqlalchemy.dialects import postgresql

from benchmarks.instance import Instance, running
from benchmarks.load import post_request
from benchmarks.options import options
from benchmarks.storm import PARTNER, SOURCE, City
from benchmarks.turns import Goal, console, progress, spread, table_of, tell_goals
from kit.partner.keys import SigningKey, signing_key
from service.instance.migrate import migrate
from service.instance.servers import servers
from service.platform.clock import Clock
from service.platform.database import speak_json
from service.tables import metadata

BATCH = 500
# What an event inserts: the column that says which action (or whose) a row is, and when.
TABLES = {
    "partner_events": ("action_id", "received_at"),
    "actions": ("id", "recorded_at"),
    "transfers": ("cause_id", "at"),
    "bubbles": ("id", ""),
    "counters": ("participant_id", ""),
    "outbox": ("participant_id", "at"),
}
_GIVEN = {"outbox": ("id", "position")}
_MEDIA = "application/cloudevents-batch+json"


def signed_batches(
    subjects: Sequence[str], key: SigningKey, count: int, now: datetime, stamp: str
) -> list[bytes]:
    """Requests with this many new events in all, signed now."""
    events = [
        {
            "specversion": "1.0",
            "id": f"ride-{stamp}-{number}",
            "source": SOURCE,
            "type": "mobility.shared_bike",
            "subject": subjects[number % len(subjects)],
            "time": (now - timedelta(seconds=5 * number // len(subjects) * 60 + 3_600)).isoformat(),
            "data": {"distance_km": 1.2},
        }
        for number in range(count)
    ]
    requests = []
    for begin in range(0, count, BATCH):
        body = msgspec.json.encode(events[begin : begin + BATCH])
        headers = key.headers(f"bench-{stamp}-{begin}", body, now)
        path = f"/v1/partners/{PARTNER}/events"
        requests.append(post_request(path, body, list(headers.items()), _MEDIA))
    return requests


async def send_all(port: int, requests: Sequence[bytes], clients: int) -> float:
    """Send them over some connections; events a second. Raises SystemExit unless all are paid."""
    shares = [requests[client::clients] for client in range(clients)]
    began = time.perf_counter()
    accepted = sum(await asyncio.gather(*(_send(port, share) for share in shares)))
    seconds = time.perf_counter() - began
    if accepted != len(requests) * BATCH:
        raise SystemExit(f"{accepted} of {len(requests) * BATCH} events were accepted")
    return accepted / seconds


async def _send(port: int, requests: Sequence[bytes]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    accepted = 0
    for request in requests:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        accepted += json.loads(await reader.readexactly(length))["accepted"]
    writer.close()
    return accepted


class Floor:
    """The same rows, inserted without anything else."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        """`connection` is to an empty database with our tables."""
        self.connection = connection

    async def clear(self) -> None:
        """Empty the tables, which are history anywhere else."""
        await self.connection.execute("SET session_replication_role = replica")
        await self.connection.execute("TRUNCATE " + ", ".join(TABLES))
        await self.connection.execute("RESET session_replication_role")

    async def insert(self, batches: Sequence[dict[str, list[asyncpg.Record]]]) -> float:
        """One transaction a batch; events a second."""
        prepared = [
            [(insert_text(name, rows[0]), columns_of(rows)) for name, rows in batch.items() if rows]
            for batch in batches
        ]
        began = time.perf_counter()
        for batch in prepared:
            async with self.connection.transaction():
                for text, columns in batch:
                    await self.connection.execute(text, *columns)
        seconds = time.perf_counter() - began
        return sum(len(batch["actions"]) for batch in batches) / seconds


def insert_text(table: str, row: asyncpg.Record) -> str:
    """One statement for any number of rows."""
    names = list(row.keys())
    dialect = postgresql.dialect()
    columns = metadata.tables[table].columns
    kinds = {column.name: column.type.compile(dialect) for column in columns}
    arrays = ", ".join(f"${number}::{kinds[name]}[]" for number, name in enumerate(names, 1))
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT * FROM unnest({arrays})"


def columns_of(rows: Sequence[asyncpg.Record]) -> list[list[Any]]:
    """Rows turned into columns."""
    return [list(column) for column in zip(*rows, strict=True)]


async def rows_written(
    connection: asyncpg.Connection, since: datetime
) -> list[dict[str, list[asyncpg.Record]]]:
    """What the API wrote since then, 500 events a batch, in the order in which it came."""
    by_key: dict[str, dict[Any, list[asyncpg.Record]]] = {}
    found: dict[str, list[asyncpg.Record]] = {}
    for table, (key, when) in TABLES.items():
        left_out = _GIVEN.get(table, ())
        names = [c.name for c in metadata.tables[table].columns if c.name not in left_out]
        text = f"SELECT {', '.join(names)} FROM {table}"
        found[table] = await (
            connection.fetch(f"{text} WHERE {when} >= $1", since)
            if when
            else connection.fetch(text)
        )
        by_key[table] = defaultdict(list)
        for row in found[table]:
            by_key[table][row[key]].append(row)
    outbox = iter(found["outbox"])
    actions = sorted(found["actions"], key=lambda row: (row["recorded_at"], row["id"]))
    batches = []
    for begin in range(0, len(actions), BATCH):
        chunk = actions[begin : begin + BATCH]
        batch = {
            table: [row for action in chunk for row in rows.pop(action[_own(table)], ())]
            for table, rows in by_key.items()
            if table != "outbox"
        }
        batch["outbox"] = [row for row in [next(outbox, None)] if row is not None]
        batches.append(batch)
    return batches


def _own(table: str) -> str:
    return "participant_id" if table == "counters" else "id"


@contextlib.asynccontextmanager
async def databases(instance: Instance) -> AsyncIterator[tuple[asyncpg.Connection, Floor]]:
    """The instance's database, and an empty second one of the same server."""
    async with servers(instance.settings, "benchmark") as found:
        url = found.database_url
        real = await asyncpg.connect(url)
        await real.execute("CREATE DATABASE floor")
        second_url = urlunsplit(urlsplit(url)._replace(path="/floor"))
        await migrate(second_url)
        second = await asyncpg.connect(second_url)
        for connection in (real, second):
            await speak_json(connection)
        yield real, Floor(second)
        await second.close()
        await real.close()


async def measure(instance: Instance, args: Namespace) -> dict[str, list[float]]:
    """Both in turns."""
    subjects = [f"rider-{number}" for number in range(args.riders)]
    runs: dict[str, list[float]] = {"floor": [], "events": []}
    async with instance.client() as client:
        city = City(client)
        await city.found(subjects)
    key = signing_key(city.secret)
    async with databases(instance) as (real, floor):
        for turn in range(args.rounds + 1):
            now = Clock().real_now()
            requests = signed_batches(subjects, key, args.events, now, f"{turn}")
            speed = await send_all(instance.port, requests, args.clients)
            batches = await rows_written(real, now)
            await floor.clear()
            bare = await floor.insert(batches)
            if turn:  # The first is for warming up.
                runs["events"].append(speed)
                runs["floor"].append(bare)
            progress.log(f"round {turn}: {speed:,.0f} events/s, floor {bare:,.0f}/s")
    return runs


def main() -> None:
    """Measure and print."""
    args = options(__doc__, events=20_000, rounds=5, clients=4, riders=2_000)
    with running() as instance:
        runs = uvloop.run(measure(instance, args))
        instance.audit()
    table = table_of(
        "Signed partner events beside the bare rows", "what", "events/s", "of the rows"
    )
    ratios = {name: [*map(truediv, speeds, runs["floor"])] for name, speeds in runs.items()}
    for name, speeds in runs.items():
        table.add_row(name, f"{statistics.median(speeds):,.0f}", spread(ratios[name]))
    console.print(table)
    console.print(f"medians (least-greatest) of {args.rounds} turns; all paid, the audit clean")
    tell_goals([Goal("rate of events, of that of the bare rows", ratios["events"], least=0.55)])


if __name__ == "__main__":
    main()
