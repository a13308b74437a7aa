"""How long does anybody wait, while everything else that an instance does is done beside it?

    python -m benchmarks.tail [--people 20000] [--days 10] [--rounds 3] [--seconds 20]
        [--connections 256]

A closed loop tells how many requests a second are answered at most, of a mixture: actions are
recorded, bubbles collected, `me` and a board read. Then half as many become due by a timetable,
whatever is answered; latencies count from when a request was due, so whoever has to wait for a
connection has waited. In turns: with nothing beside it but the worker; and while what nobody
collected expires, boards are built anew, the ledger is audited and what was recorded is simulated,
each again and again. A pause is a time without any answer to requests of a kind, though some were
due. Client, jobs and servers share the machine.
"""

import asyncio
import contextlib
import itertools
import random
from argparse import Namespace
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import httpx
import uvloop
from rich.table import Table

from benchmarks.instance import Instance, clock_of, running
from benchmarks.load import Load, Source, get_request, post_request, run_schedule
from benchmarks.options import options
from benchmarks.people import live, settle
from benchmarks.record import HEADER, Who, bearer, keyed, walks
from benchmarks.turns import (
    Figure,
    Goal,
    Turns,
    conclude,
    console,
    p50_ms,
    p99_ms,
    progress,
    table_of,
)

ACTORS = 2_048
"""As many of the people do something meanwhile."""
MIX = {"record": 4, "collect": 2, "me": 3, "board": 1}
"""How often in ten requests."""
JOBS = {
    "rebuilds of the boards": ("leaderboards", "rebuild"),
    "audits": ("ledger", "audit"),
    "simulations": ("rules", "simulate", "active"),
}
BESIDE = "beside jobs"
DAYS_PASS = {"alone": 1, BESIDE: 3}
"""Before each turn: what the turn before recorded is ripe then; after both what is left expires."""
PAUSE_MS_MAX = 250.0
_CLOSED = 64
_EXPIRED = "SELECT count(*) FROM bubbles WHERE expired_g > 0"


async def mixture(client: httpx.AsyncClient, people: Sequence[Who]) -> list[tuple[str, Source]]:
    """Ten requests of the mixture in an order that stays, each kind about people in turn."""
    chance, now = random.Random(9), await clock_of(client)
    rows = [chance.sample(people, len(people)) for _ in MIX]
    collect = [post_request("/v1/me/bubbles/collect", b"", [who, HEADER]) for who in rows[1]]
    me = itertools.cycle([get_request("/v1/me", [who]) for who in rows[2]])
    board = itertools.cycle([get_request("/v1/leaderboards/energy", [who]) for who in rows[3]])
    sources = (walks(rows[0], 0, now), keyed(collect, 1), me.__next__, board.__next__)
    kinds = zip(MIX.items(), sources, strict=True)
    mix = [(name, source) for (name, times), source in kinds for _ in range(times)]
    return chance.sample(mix, len(mix))


class Jobs:
    """What is done beside, again and again until it is enough; how often it was done."""

    def __init__(self, instance: Instance) -> None:
        """Begin with none done."""
        self.instance, self.done = instance, Counter[str]()

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Until the end of the block. Raises SystemExit when one fails, as an audit may."""
        enough = asyncio.Event()
        jobs = asyncio.gather(*(self._repeat(name, enough) for name in JOBS))
        try:
            yield
        finally:
            enough.set()
            await jobs

    async def _repeat(self, name: str, enough: asyncio.Event) -> None:
        while not enough.is_set():
            await asyncio.to_thread(self.instance.require, *JOBS[name])
            self.done[name] += 1
            progress.log(f"{name}: {self.done[name]}")


async def measure(instance: Instance, args: Namespace) -> tuple[Turns, Turns, Counter[str]]:
    """The turns at most, those at half of it, and how often what was done beside."""
    [lives] = await live(instance, [(args.days, 3)])
    await settle(instance, {"bench": (lives, args.people)})
    people = [*map(bearer, instance.tokens([f"bench-{n}" for n in range(ACTORS)]))]
    jobs, turns, possible = Jobs(instance), Turns("Half of that"), Turns("As many as possible")
    async with instance.client() as client:
        mix = itertools.cycle(await mixture(client, people))
        closed = [(source() for _, source in mix).__next__] * _CLOSED
        sources = {"mixture": (instance.port, closed)}
        await possible.take(sources, args.rounds, args.seconds / 4)
        for _ in range(args.rounds):
            for beside, days in DAYS_PASS.items():
                order = {"advance_s": days * 86_400}
                (await client.post("/v1/dev/clock", json=order)).raise_for_status()
                ten = await mixture(client, people)
                async with jobs.beside() if beside == BESIDE else contextlib.nullcontext():
                    loads = await run_schedule(
                        instance.port, ten, half_of(possible), args.seconds, args.connections
                    )
                for name in MIX:
                    turns.add(f"{name}, {beside}", loads[name])
    async with instance.database() as connection:
        jobs.done["expired bubbles"] = await connection.fetchval(_EXPIRED)
    return possible, turns, jobs.done


def half_of(possible: Turns) -> float:
    """How many requests a second become due."""
    return possible.median("mixture") / 2


def longest_ms(load: Load) -> float:
    """What somebody waited."""
    return max(load.latencies_s) * 1000


def pause_ms(load: Load) -> float:
    """The longest time without any answer."""
    return load.longest_pause_s * 1000


FIGURES: dict[str, Figure] = {
    "p50 ms": p50_ms,
    "p99 ms": p99_ms,
    "p99.9 ms": lambda load: load.percentile_ms(99.9),
    "longest ms": longest_ms,
    "pause ms": pause_ms,
}


def tell(turns: Turns, possible: Turns) -> Table:
    """Latencies of each kind alone, and beside the jobs: medians, but the longest of all turns."""
    title = f"{half_of(possible):,.0f} requests a second become due, half of what is possible"
    table = table_of(title, "what", *FIGURES)
    for name, loads in turns.loads.items():
        told = [turns.median(name, FIGURES[each]) for each in list(FIGURES)[:3]]
        told += [max(map(figure, loads)) for figure in (longest_ms, pause_ms)]
        table.add_row(name, *(f"{each:.1f}" for each in told))
    return table


def goals(turns: Turns) -> list[Goal]:
    """No kind of request is without an answer for long in any turn."""
    longest = {
        beside: max(pause_ms(load) for name in MIX for load in turns.loads[f"{name}, {beside}"])
        for beside in DAYS_PASS
    }
    return [
        Goal(f"longest pause of all turns, {beside}, ms", [pause], most=PAUSE_MS_MAX)
        for beside, pause in longest.items()
    ]


def main() -> None:
    """Measure and print."""
    args = options(__doc__, people=20_000, days=10, rounds=3, seconds=20.0, connections=256)
    with running() as instance:
        possible, turns, done = uvloop.run(measure(instance, args))
        conclude(instance, [turns, possible], tell(turns, possible), goals=goals(turns))
        jobs = ", ".join(f"{times:,} {name}" for name, times in done.items())
        console.print(f"{args.rounds} turns of {args.seconds:g} s each; beside: {jobs}")


if __name__ == "__main__":
    main()
