"""A morning: everybody opens the app. How many requests are answered, beside an empty one?

    python -m benchmarks.morning [--people 10000] [--rounds 5] [--connections 64,256] [--seconds 2]

People in random order, each of them once: who am I, my bubbles, collect all (three are ripe), my
rank with neighbours, the head of the board, what can I do today. They come over some connections at
once, each of which is one phone after the other; all of them are on the boards already. In turns
with it the same client sends requests that do nothing to the same framework on the same server.
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence

import uvloop

from benchmarks.instance import Instance, running, served
from benchmarks.load import Load, Source, get_request, post_request, run_load
from benchmarks.options import options
from benchmarks.people import live, settle
from benchmarks.record import NOOP, bearer, keys, run_noop
from benchmarks.turns import Turns, compared, conclude

PAST = (2, 3)
"""Two days of walking, which are on the boards, and three walks of yesterday."""
WARM_UP = 256


def until_none(requests: Iterator[bytes]) -> Source:
    """A source that ends with these requests."""
    return lambda: next(requests, b"")


def opened(tokens: Iterator[str], worker: int) -> Iterator[bytes]:
    """What an app asks when it is opened."""
    new_key = keys(worker)
    for token in tokens:
        who = [bearer(token)]
        yield get_request("/v1/me", who)
        yield get_request("/v1/me/bubbles", who)
        key = ("Idempotency-Key", new_key().decode())
        yield post_request("/v1/me/bubbles/collect", b"", [*who, key])
        yield get_request("/v1/leaderboards/energy/me", who)
        yield get_request("/v1/leaderboards/energy", who)
        yield get_request("/v1/me/suggestions", who)


async def open_app(port: int, tokens: Sequence[str], connections: int) -> Load:
    """Let these people open the app: each connection is one phone after the other."""
    people = iter(tokens)
    phones = [until_none(opened(people, number)) for number in range(connections)]
    return await run_load(port, phones, seconds=600)


async def look(instance: Instance, token: str, people: int) -> None:
    """Raises SystemExit unless three bubbles are ripe, and everybody is on the board."""
    async with instance.client() as client:
        client.headers["Authorization"] = f"Bearer {token}"
        bubbles = (await client.get("/v1/me/bubbles")).raise_for_status().json()["items"]
        board = (await client.get("/v1/leaderboards/energy")).raise_for_status().json()
    ripe = [bubble for bubble in bubbles if bubble["state"] == "ripe"]
    if len(ripe) != PAST[1] or board["size"] < people:
        raise SystemExit(f"{len(ripe)} bubbles are ripe, {board['size']} people on the board")


async def measure(instance: Instance, noop: int, args: Namespace) -> list[Turns]:
    """Some people a turn, at each number of connections."""
    [lives] = await live(instance, [PAST])
    count = args.people + WARM_UP
    await settle(instance, {"bench": (lives, count)})
    tokens = instance.tokens([f"bench-{number}" for number in range(count)])
    await look(instance, tokens[0], count)
    await open_app(instance.port, tokens[:WARM_UP], 16)
    slices = args.rounds * len(args.connections)
    parts = iter([tokens[WARM_UP + n :: slices] for n in range(slices)])
    results = []
    for connections in args.connections:
        turns = Turns(f"Everybody opens the app, {connections} connections")
        for _ in range(args.rounds):
            turns.add("no-op", await run_noop(noop, connections, args.seconds))
            load = await open_app(instance.port, next(parts), connections)
            turns.add("morning", load)
        results.append(turns)
    return results


def main() -> None:
    """Measure and print."""
    args = options(__doc__, people=10_000, rounds=5, connections=[64, 256], seconds=2.0)
    with running() as instance, served(NOOP) as noop:
        results = uvloop.run(measure(instance, noop, args))
        tables = [compared(turns, "no-op") for turns in results]
        goals = [turns.goal("morning", "no-op", least=0.30) for turns in results]
        conclude(instance, results, *tables, goals=goals)


if __name__ == "__main__":
    main()
