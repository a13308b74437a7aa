"""Does it stay as quick as it is when everybody has a long past?

    python -m benchmarks.growth [--people 1000000] [--actions 0,1000000,10000000] [--rounds 5]
        [--guests 400] [--seconds 2] [--connections 64]

An instance for each number of actions, all at the same time, so that they are measured in turns.
Each holds the crowd's people with their pasts, which SQL copies from a few who lived them through
the API, and among them guests, who record, collect, pledge and open the app. Told is the time that
it takes, beside the instance with the fewest actions; how long the copying took; and what an action
takes of the disk, with its transfers, its bubble, its counter and the indexes of all of them.
"""

import contextlib
import time
from argparse import Namespace

import uvloop
from rich.table import Table

from benchmarks.instance import Instance, clock_of, running
from benchmarks.load import Load, post_request, run_load
from benchmarks.morning import open_app, until_none
from benchmarks.options import options
from benchmarks.people import live, settle
from benchmarks.record import bearer, shares, walks
from benchmarks.redeem import make_projects, pledges
from benchmarks.turns import Goal, Turns, conclude, console, progress, table_of

GUEST = (2, 3)
"""What a guest has to spend, and three bubbles that are ripe."""


class Place:
    """An instance with its crowd, and the guests who have not been measured yet."""

    def __init__(self, instance: Instance, actions: int, args: Namespace) -> None:
        """`fill` makes it ready."""
        self.instance, self.actions, self.args = instance, actions, args
        self.bytes, self.seeded_s = 0, 0.0

    async def fill(self) -> None:
        """Settle everybody."""
        args, per_turn = self.args, 2 * self.args.guests
        days = self.actions // args.people
        crowd, guests = await live(self.instance, [(days, 0), GUEST])
        count = per_turn * (args.rounds + 1)
        groups = {"crowd": (crowd, args.people), "guest": (guests, count)}
        began = time.perf_counter()
        await settle(self.instance, groups)
        self.seeded_s = time.perf_counter() - began
        tokens = self.instance.tokens([f"guest-{number}" for number in range(count)])
        self.fresh = iter(tokens)
        who = [*map(bearer, tokens)]
        projects = await make_projects(self.instance)
        async with self.instance.client() as client:
            now = await clock_of(client)
        shared = shares(who, args.connections)
        self.walks = [walks(mine, n, now) for n, mine in enumerate(shared)]
        self.pledges = pledges(who, projects, args.connections, 1_000)
        async with self.instance.database() as connection:
            self.bytes = await connection.fetchval(_BYTES)

    async def record(self) -> Load:
        """Guests record walks."""
        return await run_load(self.instance.port, self.walks, self.args.seconds)

    async def pledge(self) -> Load:
        """Guests pledge trees."""
        return await run_load(self.instance.port, self.pledges, self.args.seconds)

    async def collect(self) -> Load:
        """Guests who have not come yet collect all."""
        requests = (
            post_request("/v1/me/bubbles/collect", b"", [bearer(token)]) for token in self._next()
        )
        sources = [until_none(requests)] * self.args.connections
        return await run_load(self.instance.port, sources, 600)

    async def morning(self) -> Load:
        """Guests who have not come yet open the app."""
        return await open_app(self.instance.port, self._next(), self.args.connections)

    def _next(self) -> list[str]:
        return [next(self.fresh) for _ in range(self.args.guests)]


WORK = {
    "record": Place.record,
    "collect": Place.collect,
    "pledge": Place.pledge,
    "morning": Place.morning,
}
_BYTES = """
SELECT sum(pg_total_relation_size(name::regclass))::bigint
FROM unnest(ARRAY['actions', 'transfers', 'bubbles', 'counters']) AS t (name)"""


async def measure(places: list[Place], args: Namespace) -> Turns:
    """All places in turns, for each kind of work."""
    for place in places:
        progress.log(f"{args.people:,} people with {place.actions:,} actions")
        await place.fill()
    turns = Turns(f"Growth, {args.people:,} people, {args.connections} connections")
    for turn in range(args.rounds + 1):
        for name, work in WORK.items():
            for place in places:
                load = await work(place)
                if turn:  # The first is for warming up.
                    turns.add(f"{name}, {place.actions:,}", load)
    return turns


def tell(turns: Turns, places: list[Place]) -> Table:
    """Each work at each size, beside the smallest."""
    least = places[0]
    headings = ("actions", "what", "answers/s", "p50 ms", "p99 ms", "time of the least")
    table = table_of(turns.title, *headings)
    for name in WORK:
        for place in places:
            of_place = f"{name}, {place.actions:,}"
            ratio = turns.ratio(f"{name}, {least.actions:,}", of_place)
            table.add_row(f"{place.actions:,}", name, *turns.row(of_place)[1:], ratio)
    return table


def goals(turns: Turns, places: list[Place]) -> list[Goal]:
    """With the most actions all takes little longer than with the fewest."""
    least, most = (f"{place.actions:,}" for place in (places[0], places[-1]))
    return [
        Goal(
            f"{name}: time with {most} actions, of that with {least}",
            turns.ratios(f"{name}, {least}", f"{name}, {most}"),
            most=1.2,
        )
        for name in WORK
    ]


def main() -> None:
    """Measure and print."""
    sizes = {"people": 1_000_000, "actions": [0, 1_000_000, 10_000_000], "guests": 400}
    args = options(__doc__, **sizes, rounds=5, seconds=2.0, connections=64)
    if any(actions % args.people for actions in args.actions):
        raise SystemExit(
            "everybody has as many actions: each of --actions is a multiple of --people"
        )
    with contextlib.ExitStack() as stack:
        places = [Place(stack.enter_context(running()), actions, args) for actions in args.actions]
        turns = uvloop.run(measure(places, args))
        for place in places[1:]:
            place.instance.audit()
        conclude(places[0].instance, [turns], tell(turns, places), goals=goals(turns, places))
        for place in places:
            console.print(f"{place.actions:,} actions were there after {place.seeded_s:,.0f} s")
        for place in places[1:]:
            more = place.bytes - places[0].bytes
            more_actions = place.actions - places[0].actions
            console.print(f"{place.actions:,} actions: {more / more_actions:,.0f} bytes an action")


if __name__ == "__main__":
    main()
