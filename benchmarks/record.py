"""How close is a durable, rule-evaluated, double-entry action to an empty request?

    python -m benchmarks.record [--seconds 4] [--rounds 5] [--connections 16,64,256]

Starts a real instance (PostgreSQL with fsync, Redis, API, worker) in a temporary folder and, beside
it, the same framework on the same server with a POST that does nothing: `bare` decodes the body as
the API does, `plain` as the framework does by itself. All are loaded in turns by the same client on
the same machine; the figures are ratios.
"""

import itertools
import json
import time
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import httpx
import uvloop

from benchmarks.instance import running, served
from benchmarks.load import Load, Source, post_request, run_load
from benchmarks.options import options
from benchmarks.turns import Goal, Turns, conclude, p50_ms, p99_ms, per_second, table_of

PEOPLE = 1_024
NOOP = "benchmarks.noop:app"
Who = tuple[str, str]


async def tokens(port: int, people: int) -> list[str]:
    """Real tokens of this many people, who are there from now on."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        answers = [
            await client.post(
                "/v1/dev/token", json={"subject": f"bench-{n}", "role": "participant"}
            )
            for n in range(people)
        ]
    return [answer.raise_for_status().json()["access_token"] for answer in answers]


def keys(worker: int) -> Source:
    """Idempotency keys that nobody else uses."""
    stamp, number = f"{time.time_ns():x}"[-10:], itertools.count()
    return lambda: b"%s-%04d-%08d" % (stamp.encode(), worker, next(number))


def keyed(templates: Sequence[bytes], worker: int) -> Source:
    """These requests in turn, each time with a key of its own."""
    turn, new_key = itertools.cycle([each.split(MARKER) for each in templates]), keys(worker)

    def next_request() -> bytes:
        head, tail = next(turn)
        return b"%s%s%s" % (head, new_key(), tail)

    return next_request


_TOKEN = "x" * 400
MARKER = b"KEYKEYKEYKEYKEYKEYKEYKEY"
HEADER = ("Idempotency-Key", MARKER.decode())


def bearer(token: str) -> Who:
    """Who asks, as a header tells it."""
    return ("Authorization", f"Bearer {token}")


def walk(at: datetime) -> bytes:
    """The body of a short walk."""
    return json.dumps(
        {
            "type": "mobility.walk",
            "occurred_at": at.isoformat(),
            "attributes": {"steps": 60, "distance_km": 0.042},
            "reporter": "device",
        }
    ).encode()


def walks(people: Sequence[Who], worker: int, now: datetime | None = None) -> Source:
    """Walks of these people in turn, each with a key of its own, over the last six days."""
    today = now or datetime.now(UTC)
    bodies = [walk(today - timedelta(days=day)) for day in range(6)]
    return keyed(
        [post_request("/v1/me/actions", body, [who, HEADER]) for body in bodies for who in people],
        worker,
    )


def shares(people: Sequence[Who], connections: int) -> list[Sequence[Who]]:
    """Each connection its own people."""
    return [people[n::connections] for n in range(connections)]


def empty_requests(token: str) -> dict[str, bytes]:
    """A request to each route that does nothing, as long as a real one."""
    headers, body = [bearer(token), HEADER], walk(datetime.now(UTC))
    return {name: post_request(f"/{name}", body, headers) for name in ("bare", "plain")}


async def run_noop(port: int, connections: int, seconds: float) -> Load:
    """The floor: the body is decoded as the API does it, and nothing is done."""
    request = empty_requests(_TOKEN)["bare"]
    return await run_load(port, [lambda: request] * connections, seconds)


async def measure(api: int, noop: int, args: Namespace) -> dict[int, Turns]:
    """All in turns, at each number of connections."""
    people = [*map(bearer, await tokens(api, PEOPLE))]
    empty = empty_requests(people[0][1])
    results: dict[int, Turns] = {}
    for connections in args.connections:
        turns = results[connections] = Turns(f"{connections} connections")
        loads = {name: (noop, [lambda e=each: e] * connections) for name, each in empty.items()}
        shared = shares(people, connections)
        loads["record"] = (api, [walks(mine, n) for n, mine in enumerate(shared)])
        await turns.take(loads, args.rounds, args.seconds)
    return results


def goals(results: dict[int, Turns]) -> list[Goal]:
    """What recording should come to, beside the POST that decodes the same body."""
    few, many = results.get(16), results.get(256)
    found = [few.goal("record", "bare", p50_ms, most=4.0)] if few else []
    if many:
        found.append(many.goal("record", "bare", least=0.55))
        found.append(many.goal("record", "bare", p99_ms, most=1.0))
    return found


def main() -> None:
    """Run the comparison and print its table."""
    args = options(__doc__, seconds=4.0, rounds=5, connections=[16, 64, 256])
    with running() as instance, served(NOOP) as noop:
        results = uvloop.run(measure(instance.port, noop, args))
        table = table_of(
            "POST /v1/me/actions beside a POST that does nothing",
            *("connections", "what", "answers/s", "p50 ms", "p99 ms"),
            *("rate of bare", "rate of plain", "p50 of bare", "p99 of bare"),
        )
        for connections, turns in results.items():
            figures = (
                ("bare", per_second),
                ("plain", per_second),
                ("bare", p50_ms),
                ("bare", p99_ms),
            )
            ratios = [turns.ratio("record", base, figure) for base, figure in figures]
            for name in turns.loads:
                told = ratios if name == "record" else []
                table.add_row(str(connections), *turns.row(name), *told)
        conclude(instance, [*results.values()], table, goals=goals(results))


if __name__ == "__main__":
    main()
