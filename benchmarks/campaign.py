"""Does a campaign's budget hold to the gram, and each person's limits, whoever records at once?

    python -m benchmarks.campaign [--processes 8] [--actions 20000] [--people 500]
        [--budget 1000000]

Starts PostgreSQL with fsync in a temporary folder and several processes, each with the group-commit
writer of an API process. All of them record walks of the same people at the same time, while a
campaign doubles energy up to its budget. Then every figure is added up anew from what was stored.
"""

import asyncio
import logging
import multiprocessing
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import structlog
from rich.table import Table

from benchmarks.options import options
from benchmarks.turns import console, progress
from service.actions.order import participant_report
from service.actions.report import Report
from service.audit.audit import audit
from service.audit.checks import COMPARES, WHOLE
from service.instance.home import Home
from service.instance.migrate import migrate
from service.instance.servers import started_servers
from service.ledger.books import make_book
from service.ledger.lanes import Lanes
from service.platform.clock import Clock
from service.platform.database import Database, open_database
from service.platform.errors import UnavailableError
from service.platform.settings import Settings
from service.rulebooks.publish import Rulebooks
from tests.people import publish

GRAMS_A_DAY, AWARDS_A_DAY = 6_000, 36
UNDER_WAY = 100
SENT_AGAIN_MAX = 20
_SECRET = "a key of the benchmark, 32 characters"
_RULES = """
program:
  name: Benchmark
  timezone: Asia/Shanghai
  energy: {{ripens: {{next_day_at: "07:00"}}, expires_after: 72h}}
action_types:
  mobility.walk:
    category: mobility
    reported_by: [participant]
    attributes: {{steps: {{type: integer, minimum: 1, maximum: 100000}}}}
rules:
  - id: walk
    action: mobility.walk
    saves: steps * 0.05
    earns: steps * 0.02
    limits: [{{per: day, grams: {grams}}}, {{per: day, count: {count}}}]
    examples: [{{given: {{steps: 1000}}, expect: {{earns: 20}}}}]
campaigns:
  - id: double
    title: A day that counts double
    from: {first}
    until: {last}
    categories: [mobility]
    regions: [CN-ZJ]
    earns_times: 2
    budget_g: {budget}
"""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is recorded, by how many, against which budget."""

    processes: int
    actions: int
    people: int
    budget_g: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the books say afterwards; each line of `wrong` is a gram too many or too few."""

    seconds: float
    figures: Mapping[str, Any]
    wrong: tuple[str, ...]


async def storm(url: str, load: Load) -> Outcome:
    """Publish the rules, make the people, let all processes record at once, and add up."""
    database = await open_database(_settings(url), url)
    try:
        now = datetime.now(UTC)
        people = await _prepare(database, load, now)
        progress.log(f"{load.processes} processes record {load.actions:,} actions")
        seconds = await asyncio.to_thread(_record_all, url, load, people, now)
        progress.log("adding up")
        return await _add_up(database, load, seconds)
    finally:
        await database.close()


def _settings(url: str) -> Settings:
    return Settings(database_url=url, redis_url="redis://127.0.0.1:1", secret_key=_SECRET)


async def _prepare(database: Database, load: Load, now: datetime) -> list[UUID]:
    rules = _RULES.format(
        grams=GRAMS_A_DAY,
        count=AWARDS_A_DAY,
        first=now.date() - timedelta(days=1),
        last=now.date() + timedelta(days=3),
        budget=load.budget_g,
    )
    people = [uuid4() for _ in range(load.people)]
    async with database.transaction() as connection:
        await publish(connection, {"rules.yaml": rules}, author="bench", note="a storm", now=now)
        for person in people:
            await connection.execute(_PERSON, person, secrets.token_bytes(32), now)
            await make_book(connection, person, secrets.token_bytes(16), now)
    return people


def _record_all(url: str, load: Load, people: list[UUID], now: datetime) -> float:
    """Run the processes; how long it took from the moment at which all of them were ready."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(load.processes + 1)
    processes = []
    for number in range(load.processes):
        share = load.actions // load.processes + (number < load.actions % load.processes)
        arguments = (url, people, share, now, ready)
        processes.append(context.Process(target=_work, args=arguments, daemon=True))
    for process in processes:
        process.start()
    while ready.n_waiting < load.processes:
        if any(process.exitcode is not None for process in processes):
            raise RuntimeError("a process ended before it began to record")
        time.sleep(0.02)
    ready.wait(120)
    began = time.perf_counter()
    for process in processes:
        process.join(600)
    if any(codes := [process.exitcode for process in processes]):
        raise RuntimeError(f"processes ended with {codes}")
    return time.perf_counter() - began


def _work(url: str, people: list[UUID], actions: int, now: datetime, ready: Barrier) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(_record(url, people, actions, now, ready))


async def _record(
    url: str, people: list[UUID], actions: int, now: datetime, ready: Barrier
) -> None:
    """One process: a writer of its own, so many reports under way at any time."""
    settings = _settings(url)
    database = await open_database(settings, url)
    rulebooks = Rulebooks(database)
    async with database.pool.acquire() as connection:
        await rulebooks.refresh(connection)
    writer = Lanes(database, Clock(), lambda: rulebooks.active, settings)
    writer.start()
    left = iter(range(actions))

    async def keep_recording() -> None:
        for _ in left:
            report = participant_report(
                random.choice(people),
                type_="mobility.walk",
                occurred_at=now,
                attributes={"steps": random.randrange(1_000, 10_000)},
                reporter="participant",
                key=secrets.token_hex(16),
                now=now,
            )
            await _send(writer, report)

    await asyncio.to_thread(ready.wait, 120)
    await asyncio.gather(*(keep_recording() for _ in range(min(actions, UNDER_WAY))))
    await writer.stop()
    await database.close()


async def _send(writer: Lanes, report: Report) -> None:
    """Send as an app does: what was answered 503 is sent again, unchanged."""
    for _ in range(SENT_AGAIN_MAX):
        try:
            await writer.submit(report)
        except UnavailableError:
            continue
        return
    raise RuntimeError(f"action {report.id} was never recorded")


async def _add_up(database: Database, load: Load, seconds: float) -> Outcome:
    """Compare budget, awards, counters and books, each with its own sum."""
    async with database.pool.acquire() as connection:
        (budget,) = await connection.fetch("SELECT * FROM campaign_budgets")
        (told,) = await connection.fetch(_TOLD)
        people = await connection.fetch(_PEOPLE)
        (books,) = await connection.fetch(_BOOKS)
    report = await audit(database, mode="full", now=datetime.now(UTC), more=COMPARES, whole=WHOLE)
    full = [one["grams"] == GRAMS_A_DAY or one["n"] == AWARDS_A_DAY for one in people]
    checks = {
        "actions recorded": (load.actions, told["actions"]),
        "budget left": (0, budget["left_g"]),
        "drawn by awards in all": (load.budget_g, told["extra_g"]),
        "draws are numbered without a gap": (budget["seq"], told["draws"]),
        "number of the last draw": (budget["seq"], told["last_draw"]),
        "people above their grams": (0, sum(one["grams"] > GRAMS_A_DAY for one in people)),
        "people above their count": (0, sum(one["n"] > AWARDS_A_DAY for one in people)),
        "people cut by a limit that is not used up": (
            0,
            sum(one["cut"] and not is_full for one, is_full in zip(people, full, strict=True)),
        ),
        "counters as the awards say": (0, sum(one["differs"] for one in people)),
        "grams in the books": (told["energy_g"], books["ripening"]),
        "savings in the books": (told["saved_g"], books["saved_g"]),
        "differences in the ledger's audit": (0, len(report.differences)),
    }
    figures = {
        **asdict(load),
        "actions a second": round(load.actions / seconds),
        "extra grams drawn": told["extra_g"],
        "draws": budget["seq"],
        "awards cut by the budget": told["cut"],
        "people with all their grams a day": sum(one["grams"] == GRAMS_A_DAY for one in people),
        "people with all their awards a day": sum(one["n"] == AWARDS_A_DAY for one in people),
        "transfers audited": report.transfers,
    }
    wrong = [
        f"{name}: {expected} expected, {found} found"
        for name, (expected, found) in checks.items()
        if expected != found
    ]
    return Outcome(seconds, figures, tuple(wrong))


_PERSON = """
WITH named AS (
    INSERT INTO participants (participant_id, display_name, region, created_at)
    VALUES ($1, 'somebody', 'CN-ZJ', $3)
)
INSERT INTO identities (subject_key, participant_id, created_at) VALUES ($2, $1, $3)"""

_TOLD = """
SELECT count(*) AS actions, sum(a.energy_g)::bigint AS energy_g, sum(a.saved_g)::bigint AS saved_g,
    coalesce(sum((w ->> 'extra_g')::bigint), 0)::bigint AS extra_g,
    count(DISTINCT w ->> 'budget_seq') AS draws,
    coalesce(max((w ->> 'budget_seq')::bigint), 0) AS last_draw,
    count(*) FILTER (WHERE w ->> 'limited_by' LIKE '%per campaign') AS cut
FROM actions a CROSS JOIN LATERAL jsonb_array_elements(a.awards) AS w"""

_PEOPLE = """
SELECT a.participant_id, sum(a.energy_g)::bigint AS grams,
    count(*) FILTER (WHERE a.energy_g > 0) AS n,
    -- The last draw may be cut by the budget as well, after a limit.
    coalesce(bool_or(w ->> 'limited_by' LIKE '%per day' AND w ->> 'budget_seq' IS DISTINCT FROM
        (SELECT seq::text FROM campaign_budgets)), false) AS cut,
    (sum(a.energy_g), count(*) FILTER (WHERE a.energy_g > 0)) IS DISTINCT FROM
        (max(c.grams), max(c.n)) AS differs
FROM actions a CROSS JOIN LATERAL jsonb_array_elements(a.awards) AS w
LEFT JOIN counters c ON c.participant_id = a.participant_id
GROUP BY a.participant_id"""

_BOOKS = "SELECT sum(ripening)::bigint AS ripening, sum(saved_g)::bigint AS saved_g FROM books"


async def _run(home: Home, load: Load) -> Outcome:
    async with started_servers(Settings(), home, what="a benchmark") as found:
        await migrate(found.database_url)
        return await storm(found.database_url, load)


def main() -> None:
    """Run it once, print what the books say; exit code 1 when a gram is off."""
    args = options(__doc__, processes=8, actions=20_000, people=500, budget=1_000_000)
    load = Load(args.processes, args.actions, args.people, args.budget)
    with tempfile.TemporaryDirectory(prefix="saxaul-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's own user must reach its data
        home = Home(Path(folder) / "home")
        outcome = asyncio.run(_run(home, load))
    table = Table(title="a campaign's budget under many writers")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in outcome.figures.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    console.print(table)
    for line in outcome.wrong:
        console.print(line)
    console.print("not a gram over, not one short" if not outcome.wrong else "WRONG")
    sys.exit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
