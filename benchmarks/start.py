"""How long does a start take, and does memory grow with the actions that were recorded?

    python -m benchmarks.start [--rounds 5] [--actions 1000000] [--parts 10]

An instance that was started before is started again and again, until it says that it is ready; in
turns with an interpreter that only imports the API, which tells how busy the machine is. Then
actions are recorded over 64 connections, and after each part of them the memory of the API's and
the worker's processes is read (PSS: their own, and their share of what they have in common).
"""

import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import uvloop

from benchmarks.instance import ROOT, Instance, running
from benchmarks.load import Source, run_load
from benchmarks.options import options
from benchmarks.record import PEOPLE, bearer, shares, tokens, walks
from benchmarks.turns import Goal, Turns, conclude, console, progress, spread, table_of

CONNECTIONS = 64


def starts_s(instance: Instance, rounds: int) -> tuple[list[float], list[float]]:
    """How long so many starts took, and so many imports."""
    taken, imported = [], []
    for _ in range(rounds):
        instance.stop()
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import service.app"], cwd=ROOT, check=True)
        imported.append(time.perf_counter() - began)
        instance.start()
        taken.append(time.perf_counter() - began - imported[-1])
        progress.log(f"started in {taken[-1]:.2f} s")
    return taken, imported


def memory_mib(instance: Instance, command: str) -> float:
    """What the processes of a `saxaul` command take."""
    assert instance.process is not None
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
            if os.getpgid(int(folder.name)) == instance.process.pid and command.encode() in line:
                rows = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended while we looked.
    return total / 1_024


def limited(source: Source, count: int) -> Source:
    """No more requests than these."""
    left = iter(range(count))
    return lambda: source() if next(left, None) is not None else b""


async def grow(instance: Instance, args: Namespace) -> tuple[Turns, list[list[float]]]:
    """Record part after part; the memory before, and after each."""
    shared = shares([*map(bearer, await tokens(instance.port, PEOPLE))], CONNECTIONS)
    sources = [walks(mine, n) for n, mine in enumerate(shared)]
    turns = Turns("Recording")
    memory = []
    for part in range(args.parts + 1):
        if part:
            each = -(-args.actions // args.parts // CONNECTIONS)
            few = [limited(source, each) for source in sources]
            turns.add("record", await run_load(instance.port, few, 3_600))
        memory.append([memory_mib(instance, command) for command in ("api", "worker")])
        progress.log(f"API {memory[-1][0]:.0f} MiB, worker {memory[-1][1]:.0f} MiB")
    return turns, memory


def main() -> None:
    """Measure and print."""
    args = options(__doc__, rounds=5, actions=1_000_000, parts=10)
    with running() as instance:
        taken, imported = starts_s(instance, args.rounds)
        turns, memory = uvloop.run(grow(instance, args))
        table = table_of("Memory while actions are recorded", "actions", "API MiB", "worker MiB")
        for part, figures in enumerate(memory):
            actions = part * args.actions // args.parts
            table.add_row(f"{actions:,}", *(f"{figure:.0f}" for figure in figures))
        goals = [Goal("seconds of a second start", taken, most=3.0)]
        for name, of_process in zip(("API", "worker"), zip(*memory, strict=True), strict=True):
            grown = of_process[-1] / of_process[1]
            goals.append(
                Goal(f"memory of the {name}, of that after the first part", [grown], most=1.1)
            )
        conclude(instance, [turns], table, goals=goals)
        console.print(f"a second start: {spread(taken)} s; an import: {spread(imported)} s")


if __name__ == "__main__":
    main()
