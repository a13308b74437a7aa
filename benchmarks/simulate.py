"""How fast is a simulation, and does its memory grow with the history?

    python -m benchmarks.simulate [--actions 200000] [--people 5000] [--processes 1,2] [--profile]

Records a history by the main job itself (several types, limits, claims, overlaps, reversals, a
campaign whose budget runs out) in a temporary PostgreSQL, then simulates the active version over a
quarter of it and over all of it. The result must be what was paid, to the gram. The figure is
actions a second and core: by the clock, and by the processor time of the simulation's processes.
"""

import argparse
import asyncio
import cProfile
import os
import pstats
import random
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from rich.table import Table

from benchmarks.turns import console, progress
from service.actions.order import participant_report
from service.instance.account import data_folder
from service.instance.home import Home
from service.instance.migrate import migrate
from service.instance.servers import started_servers
from service.ledger.chain import first_head
from service.platform.database import Database, open_database
from service.platform.ids import uuid4
from service.platform.settings import Settings
from service.rulebooks.publish import Rulebooks
from service.rules.decide.rulebook import Rulebook
from service.rules.language.load import read_folder
from service.simulate.passes import Progress, Trial, simulate
from service.simulate.period import Period
from service.simulate.worker import Setup, Worker, connect_to_read
from tests.orders import reverse, settle
from tests.people import publish

ROOT = Path(__file__).parent.parent
SECRET = b"a key of the benchmark"
START = datetime(2026, 10, 20, 1, 0, tzinfo=UTC)
DAYS = 30
BATCH = 500
CAMPAIGN = """
campaigns:
  - {id: benchmark, title: Benchmark, from: 2026-10-25, until: 2026-11-05,
     categories: [mobility, recycling], earns_times: 2, budget_g: %d}
"""


def rule_files(actions: int) -> dict[str, str]:
    """The shipped rules, and a campaign whose budget runs out about in its middle."""
    files, unreadable = read_folder(ROOT / "rules")
    assert not unreadable
    return {**files, "benchmark.yaml": CAMPAIGN % (actions * 6)}


async def settle_people(database: Database, count: int) -> list[UUID]:
    """So many people with books, in two statements."""
    people = [uuid4() for _ in range(count)]
    async with database.transaction() as connection:
        await connection.copy_records_to_table(
            "participants",
            records=[(each, "somebody", "CN-ZJ", START) for each in people],
            columns=["participant_id", "display_name", "region", "created_at"],
        )
        await connection.execute(
            "INSERT INTO books (participant_id, head, salt, last_at)"
            " SELECT p, h, $3, $4 FROM unnest($1::uuid[], $2::bytea[]) AS b (p, h)",
            people,
            [first_head(each) for each in people],
            b"salt of 16 bytes",
            START,
        )
    return people


def attributes_of(chance: random.Random, number: int) -> tuple[str, dict[str, object]]:
    """Something that people do: mostly walks and rides."""
    kind = chance.choices(("walk", "bike", "meeting", "invoice", "box"), (6, 2, 2, 1, 1))[0]
    if kind == "walk":
        return "mobility.walk", {"steps": chance.randrange(200, 9_000), "distance_km": 1.5}
    if kind == "bike":
        return "mobility.bike", {"distance_km": chance.randrange(5, 90) / 10, "duration_min": 30}
    if kind == "meeting":
        return "office.remote_meeting", {"minutes": chance.randrange(10, 90), "people": 3}
    if kind == "invoice":
        return "payment.e_invoice", {"invoice_no": f"I-{number}"}
    return "recycling.box", {"box_code": f"B-{number}"}


async def record_history(
    database: Database, rulebook: Rulebook, people: list[UUID], count: int
) -> None:
    """Batch after batch by the main job, late ones among them; one in a hundred goes back."""
    chance = random.Random(5)
    step = timedelta(days=DAYS) * BATCH / count
    now = START
    for first in range(0, count, BATCH):
        now += step
        reports = []
        for number in range(first, first + BATCH):
            type_, attributes = attributes_of(chance, number)
            late = timedelta(minutes=chance.choice((1, 3, 10, 60, 900, 5_000)))
            reports.append(
                participant_report(
                    chance.choice(people),
                    type_=type_,
                    occurred_at=now - late,
                    attributes=attributes,
                    reporter="participant",
                    key=None,
                    now=now,
                )
            )
        outcomes = await settle(database, reports, rulebook=rulebook, now=now, secret=SECRET)
        done = [outcome.action for outcome in outcomes.values() if hasattr(outcome, "action")]
        for action in chance.sample(done, min(len(done), 5)):
            await reverse(database, *action.key, now=now, rulebook=rulebook)
    await database.pool.execute("ANALYZE")


def processor_s() -> float:
    """Processor time of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def server_s(home: Path) -> float:
    """Processor time of PostgreSQL's backends that have ended."""
    pid = (data_folder(home) / "postmaster.pid").read_text().split()[0]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


async def measure(table: Table, url: str, trial: Trial, processes: int, home: Path) -> None:
    """One simulation: a row of the table. Every pass over an action counts."""
    done = 0
    first = last = time.perf_counter()

    def on_progress(progress: Progress) -> None:
        nonlocal done, last
        done, last = progress.actions, time.perf_counter()

    before_s, server_before_s = processor_s(), server_s(home)
    first = time.perf_counter()
    found = await simulate(url, trial, secret=SECRET, processes=processes, on_progress=on_progress)
    used_s, server_used_s = processor_s() - before_s, server_s(home) - server_before_s
    tally = found.tally
    if tally.differing or tally.before.total.g != tally.after.total.g or not found.settled:
        sides = f"{tally.before.total}, {tally.after.total}"
        raise SystemExit(f"not what was paid: {sides}, settled: {found.settled}")
    table.add_row(
        f"{tally.actions:,}",
        str(processes),
        str(found.passes),
        f"{last - first:.1f}",
        f"{done / (last - first):,.0f}",
        f"{done / (last - first) / processes:,.0f}",
        f"{done / used_s:,.0f}",
        f"{done / (used_s + server_used_s):,.0f}",
        f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f}",
    )


async def profile(url: str, trial: Trial) -> None:
    """Where the time of a process goes."""
    with tempfile.TemporaryDirectory() as folder:
        connection = await connect_to_read(url)
        setup = Setup(
            database_url=url,
            secret=SECRET,
            folder=folder,
            period=trial.period,
            files=trial.files,
            as_recorded=False,
            versions=[],
            contested=frozenset(),
        )
        worker = Worker(setup, connection)
        await worker.begin(1, {}, "")
        profiler = cProfile.Profile()
        profiler.enable()
        await worker.replay(UUID(int=0), UUID(int=2**126))
        profiler.disable()
        await connection.close()
    pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(30)


async def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="saxaul-bench-") as folder:
        Path(folder).chmod(0o755)  # noqa: ASYNC240 - PostgreSQL's own user must reach its data
        home = Home(Path(folder) / "home")
        assert home.take_lock()
        settings = Settings(home=home.path, secret_key=SECRET.decode() * 2)
        async with started_servers(settings, home, what="a benchmark", durable=False) as found:
            await migrate(found.database_url)
            database = await open_database(settings, found.database_url)
            try:
                files = rule_files(args.actions)
                async with database.transaction() as connection:
                    version = await publish(
                        connection, files, author="benchmark", note="benchmark", now=START
                    )
                rulebook = await Rulebooks(database).get(version)
                people = await settle_people(database, args.people)
                progress.log("recording")
                await record_history(database, rulebook, people, args.actions)
                await report(args, found.database_url, rulebook, files, home.path)
            finally:
                await database.close()


async def report(
    args: argparse.Namespace, url: str, rulebook: Rulebook, files: dict[str, str], home: Path
) -> None:
    progress.log("simulating")
    quarter = Period(START, START + timedelta(days=DAYS / 4, minutes=1))
    whole = Period(START, START + timedelta(days=DAYS + 1))
    if args.profile:
        await profile(url, Trial(rulebook, files, whole))
        return
    table = Table(title="saxaul rules simulate, the active version over its own history")
    for heading in (
        "actions", "proc.", "passes", "s", "/s", "/s a proc.", "/CPU s", "/CPU s with server",
        "RSS MiB",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for period in (quarter, whole):
        for processes in args.processes:
            await measure(table, url, Trial(rulebook, files, period), processes, home)
    console.print(table)
    console.print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; each pass counts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--actions", type=int, default=200_000)
    parser.add_argument("--people", type=int, default=5_000)
    parser.add_argument(
        "--processes",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[1, os.cpu_count() or 1],
    )
    parser.add_argument("--profile", action="store_true")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
