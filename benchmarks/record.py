"""How close is a durable, rule-evaluated, double-entry action to an empty request?

    python -m benchmarks.record [--seconds 4] [--rounds 3] [--connections 16,64,256]

Starts a real instance (PostgreSQL with fsync, Redis, API, worker) in a temporary folder and, beside
it, the same framework on the same server with a POST that does nothing. Both are loaded in turns by
the same client on the same machine; the figure is the ratio of their medians.
"""

import argparse
import asyncio
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.load import Load, post_request, run_load
from service.instance.address import free_port

PEOPLE = 1_024
ROOT = Path(__file__).parent.parent
_console = Console()


def start(arguments: list[str], **environment: str) -> subprocess.Popen[bytes]:
    """A process group of ours, quiet, from the project's root."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the address answers at all. Raises SystemExit when its process ended."""
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        try:
            if httpx.get(url, timeout=1).status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{url} did not answer")


@contextmanager
def both_servers() -> Iterator[tuple[int, int]]:
    """The ports of a real instance in a folder of its own, and of the framework without it."""
    api, noop = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="saxaul-bench-") as home:
        Path(home).chmod(0o755)  # PostgreSQL's own user must reach its data
        instance = start(["service", "run"], SAXAUL_HOME=f"{home}/state", SAXAUL_PORT=str(api))
        empty = start(
            [
                "granian", "--interface", "asgi", "--http", "1", "--no-ws", "--loop", "uvloop",
                "--workers", "1", "--log-level", "warning", "--host", "127.0.0.1",
                "--port", str(noop), "benchmarks.noop:app",
            ],
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{api}/health/live", instance)
            wait_for(f"http://127.0.0.1:{noop}/bare", empty)
            _console.log("servers are up")
            yield api, noop
        finally:
            for process in (instance, empty):
                process.send_signal(signal.SIGTERM)
                process.wait(30)


async def tokens(port: int, people: int) -> list[str]:
    """Real tokens of this many people."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        answers = [
            await client.post(
                "/v1/dev/token", json={"subject": f"bench-{n}", "role": "participant"}
            )
            for n in range(people)
        ]
    return [answer.raise_for_status().json()["access_token"] for answer in answers]


def walks(people: list[str], worker: int) -> Callable[[], bytes]:
    """Walks of these people in turn, each with a key of its own, over the last six days."""
    today = datetime.now(UTC)
    times = [(today - timedelta(days=day)).isoformat() for day in range(6)]
    bodies = [
        json.dumps(
            {
                "type": "mobility.walk",
                "occurred_at": at,
                "attributes": {"steps": 60, "distance_km": 0.042},
                "reporter": "device",
            }
        ).encode()
        for at in times
    ]
    marker = "KEYKEYKEYKEYKEYKEYKEYKEY"
    templates = [
        post_request(
            "/v1/me/actions",
            body,
            [("Authorization", f"Bearer {token}"), ("Idempotency-Key", marker)],
        ).split(marker.encode())
        for body in bodies
        for token in people
    ]
    turn, number = itertools.cycle(templates), itertools.count()
    stamp = f"{time.time_ns():x}"[-10:]

    def next_request() -> bytes:
        head, tail = next(turn)
        return b"%s%s-%04d-%08d%s" % (head, stamp.encode(), worker, next(number), tail)

    return next_request


def empty_requests(token: str) -> dict[str, bytes]:
    """A request to each route that does nothing, as long as a real one."""
    body = b'{"type":"mobility.walk","occurred_at":"2026-11-21T08:00:00.123456+00:00",'
    body += b'"attributes":{"steps":60,"distance_km":0.042},"reporter":"device"}'
    header = [("Authorization", f"Bearer {token}"), ("Idempotency-Key", "x" * 24)]
    return {name: post_request(f"/{name}", body, header) for name in ("bare", "plain")}


async def measure(
    api: int, noop: int, people: list[str], args: argparse.Namespace
) -> dict[int, dict[str, list[Load]]]:
    """Both in turns, at each number of connections."""
    results: dict[int, dict[str, list[Load]]] = {}
    for connections in args.connections:
        share = len(people) // connections
        sources = [walks(people[n * share : (n + 1) * share], n) for n in range(connections)]
        runs: dict[str, list[Load]] = {"bare": [], "plain": [], "record": []}
        await run_load(api, sources, 1.0)
        for _ in range(args.rounds):
            for name, empty in empty_requests(people[0]).items():
                runs[name].append(
                    await run_load(noop, [lambda e=empty: e] * connections, args.seconds)
                )
            runs["record"].append(await run_load(api, sources, args.seconds))
        results[connections] = runs
        _console.log(f"{connections} connections done")
    return results


def show(results: dict[int, dict[str, list[Load]]]) -> None:
    """The table of medians, with the ratio to each no-op."""
    table = Table(title="POST /v1/me/actions beside a no-op POST (medians)")
    for heading in (
        "connections", "route", "answers/s", "p50 ms", "p99 ms", "ratio to bare", "ratio to plain",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for connections, runs in results.items():
        rates = {
            name: statistics.median(load.per_second for load in loads)
            for name, loads in runs.items()
        }
        for name, loads in runs.items():
            wrong = {s: n for load in loads for s, n in load.statuses.items() if s != 201}
            if wrong:
                raise SystemExit(f"{name} answered {wrong}")
            table.add_row(
                str(connections),
                name,
                f"{rates[name]:,.0f}",
                f"{statistics.median(load.percentile_ms(50) for load in loads):.2f}",
                f"{statistics.median(load.percentile_ms(99) for load in loads):.2f}",
                f"{rates[name] / rates['bare']:.2f}",
                f"{rates[name] / rates['plain']:.2f}",
            )
    _console.print(table)


def main() -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--connections",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[16, 64, 256],
    )
    args = parser.parse_args()
    with both_servers() as (api, noop):
        people = asyncio.run(tokens(api, PEOPLE))
        show(uvloop.run(measure(api, noop, people, args)))


if __name__ == "__main__":
    main()
