"""How close does each answer that people open all day come to an empty request?

    python -m benchmarks.reads [--seconds 1] [--rounds 5] [--connections 64] [--only me,bubbles]

Starts a real instance and the framework that does nothing (`benchmarks.record`), gives people a
history (50 actions, ripe bubbles, pledges, a link), and loads one route after the other, a turn
each. A figure is the median of the turns' ratios to the bare route in the same turn. It ends with
an audit of the whole ledger, or prints nothing.
"""

import argparse
import asyncio
import itertools
import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import uvloop
from rich.table import Table

from benchmarks.load import Load, get_request, run_load
from benchmarks.record import both_servers, empty_requests, tokens
from benchmarks.turns import console, progress
from kit.partner.keys import signing_key

PEOPLE, ACTIONS, PARTNER = 256, 50, "bench-bikes"
READS = {
    "me": "/v1/me",
    "bubbles": "/v1/me/bubbles",
    "actions": f"/v1/me/actions?limit={ACTIONS}",
    "statement": "/v1/me/statement",
    "pledges": "/v1/me/pledges",
    "suggestions": "/v1/me/suggestions",
    "links": "/v1/me/links",
    "projects": "/v1/projects",
    "board": "/v1/leaderboards/energy",
    "rank": "/v1/leaderboards/energy/me",
    "program": "/v1/program",
}


class Story:
    """What these people have done, told over HTTP: who reads finds pages that are full."""

    def __init__(self, client: httpx.AsyncClient, people: list[str]) -> None:
        """`happen` makes it."""
        self.client, self.people = client, people
        self.operator, self.project, self.secret = "", "", ""

    async def happen(self) -> None:
        """Three days: walks are collected and pledged, then three more wait."""
        sent = {"subject": "bench-operator", "role": "operator"}
        self.operator = (await self._post("/v1/dev/token", "", sent))["access_token"]
        order = {"name": "Alxa", "species": "Haloxylon ammodendron", "place": "Alxa",
                 "country": "CN", "partner": "Green Desert", "price_g": 1,
                 "capacity": 1_000_000}  # fmt: skip
        project = await self._post("/v1/operator/projects", self.operator, order)
        self.project = project["id"]
        partner = {"id": PARTNER, "name": "Bikes", "source_prefix": "urn:bikes",
                   "action_types": ["mobility.shared_bike"]}  # fmt: skip
        await self._post("/v1/operator/partners", self.operator, partner)
        keys = f"/v1/operator/partners/{PARTNER}/keys"
        self.secret = (await self._post(keys, self.operator, {"kind": "hmac"}))["secret"]
        await self._everybody(lambda n: self._walk(n, ACTIONS - 3, days_ago=1))
        # All is ripe by then, and nothing has expired. Tokens are of real time: they hold on.
        await self._post("/v1/dev/clock", "", {"advance_s": 2 * 86_400})
        await self._everybody(self._spend)
        await self._everybody(lambda n: self._walk(n, 3, days_ago=0))

    async def audited(self) -> None:
        """Raises SystemExit unless every gram is where it belongs."""
        found = await self._post("/v1/operator/ledger/audit", self.operator, {"mode": "full"})
        if not found["clean"]:
            raise SystemExit(f"the audit found {found}")

    async def _everybody(self, act: Callable[[int], Any]) -> None:
        turns = asyncio.Semaphore(8)

        async def one(number: int) -> None:
            async with turns:
                await act(number)

        await asyncio.gather(*map(one, range(len(self.people))))

    async def _walk(self, number: int, actions: int, *, days_ago: int) -> None:
        clock = (await self.client.get("/v1/program")).json()["now"]
        last = datetime.fromisoformat(clock).astimezone(UTC) - timedelta(days=days_ago)
        items = [
            {
                "type": "mobility.walk",
                "occurred_at": (last - timedelta(minutes=10 * n)).isoformat(),
                "attributes": {"steps": 600 + number, "distance_km": 0.42},
                "reporter": "device",
                "idempotency_key": f"walk-of-{days_ago}-{number:06d}-{n:04d}",
            }
            for n in range(actions)
        ]
        told = await self._post("/v1/me/actions/batch", self.people[number], {"actions": items})
        if told["accepted"] != actions:
            raise SystemExit(f"not accepted: {told}")

    async def _spend(self, number: int) -> None:
        token = self.people[number]
        await self._post("/v1/me/bubbles/collect", token, {})
        for n in range(2):
            pledge = {"project_id": self.project, "trees": n + 1}
            await self._post("/v1/me/pledges", token, pledge, {"Idempotency-Key": f"{n:020d}"})
        code = await self._post("/v1/me/links", token, {"partner_id": PARTNER})
        order = httpx.Request(
            "POST",
            self.client.base_url,
            json={"link_code": code["link_code"], "subject": f"n-{number}"},
        )
        headers = signing_key(self.secret).headers(
            f"link-{number:08d}", order.content, datetime.now(UTC)
        )
        answer = await self.client.post(
            f"/v1/partners/{PARTNER}/links",
            content=order.content,
            headers={**headers, "Content-Type": "application/json"},
        )
        answer.raise_for_status()

    async def _post(
        self, path: str, token: str, body: Any, headers: dict[str, str] | None = None
    ) -> Any:
        headers = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        answer = await self.client.post(path, json=body, headers=headers)
        if not answer.is_success:
            raise SystemExit(f"{path} answered {answer.status_code}: {answer.text}")
        return answer.json()


def requests_of(path: str, people: list[str], connections: int) -> list[Callable[[], bytes]]:
    """On each connection some of these people in turn, each asking for this path."""
    shares = [people[n % len(people) :: connections] for n in range(connections)]
    asked = [[get_request(path, [("Authorization", f"Bearer {t}")]) for t in s] for s in shares]
    return [itertools.cycle(each).__next__ for each in asked]


async def measure(
    api: int, noop: int, people: list[str], args: argparse.Namespace
) -> dict[str, list[Load]]:
    """All routes in turns. Raises SystemExit for any answer that is not a good one."""
    connections, names = args.connections, args.only or list(READS)
    bare = empty_requests(people[0])["bare"]
    asked = {"bare": (noop, [lambda: bare] * connections)}
    asked |= {name: (api, requests_of(READS[name], people, connections)) for name in names}
    runs: dict[str, list[Load]] = {name: [] for name in asked}
    for turn in range(args.rounds + 1):
        for name, (port, sources) in asked.items():
            load = await run_load(port, sources, args.seconds)
            if wrong := {s: n for s, n in load.statuses.items() if not 200 <= s < 300}:
                raise SystemExit(f"{name} answered {wrong}: {load.sample!r}")
            if turn:  # The first is for warming up.
                runs[name] += [load]
    return runs


def show(runs: dict[str, list[Load]], connections: int) -> None:
    """The table of medians, with the spread of the ratios to the bare route."""
    table = Table(title=f"Reads beside a no-op POST, {connections} connections (medians)")
    for heading in ("route", "answers/s", "p50 ms", "p99 ms", "bytes", "ratio", "least", "most"):
        table.add_column(heading, justify="left" if heading == "route" else "right")
    for name, loads in runs.items():
        pairs = zip(loads, runs["bare"], strict=True)
        ratios = [load.per_second / bare.per_second for load, bare in pairs]
        table.add_row(
            "no-op" if name == "bare" else name,
            f"{statistics.median(load.per_second for load in loads):,.0f}",
            f"{statistics.median(load.percentile_ms(50) for load in loads):.2f}",
            f"{statistics.median(load.percentile_ms(99) for load in loads):.2f}",
            f"{len(loads[0].sample):,}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f}",
            f"{max(ratios):.2f}",
        )
    console.print(table)


async def told(api: int, noop: int, people: list[str], args: argparse.Namespace) -> None:
    """Measure after the story, and show what was seen once the ledger is found clean."""
    url = f"http://127.0.0.1:{api}"
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
        story = Story(client, people)
        await story.happen()
        progress.log("people have their history")
        runs = await measure(api, noop, people, args)
        await story.audited()
    show(runs, args.connections)


def main() -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", type=lambda text: text.split(","), default=None)
    args = parser.parse_args()
    with both_servers() as (api, noop):
        people = asyncio.run(tokens(api, PEOPLE))
        uvloop.run(told(api, noop, people, args))


if __name__ == "__main__":
    main()
