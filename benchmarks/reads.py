"""How close does each answer that people open all day come to an empty request?

    python -m benchmarks.reads [--seconds 1] [--rounds 5] [--connections 1,64,256]
        [--only me,bubbles]

Starts a real instance and the framework that does nothing (`benchmarks.record`), gives people a
history (50 actions, ripe bubbles, pledges, a link), and loads one route after the other, a turn
each. A figure is the median of the turns' ratios to the empty request in the same turn. It ends
with an audit of the whole ledger, or prints nothing.
"""

import asyncio
import itertools
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import uvloop

from benchmarks.instance import running, served
from benchmarks.load import get_request
from benchmarks.options import options
from benchmarks.record import NOOP, empty_requests, tokens
from benchmarks.turns import Turns, compared, conclude, progress
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
TARGETS = {"me": 0.40, "bubbles": 0.40, "board": 0.50, "rank": 0.25, "actions": 0.10}
"""Of the rate of an empty request, with this many connections."""
CONNECTIONS = 64


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
    api: int, noop: int, people: list[str], args: Namespace
) -> list[tuple[int, Turns]]:
    """All routes in turns, at each number of connections."""
    bare = empty_requests(people[0])["bare"]
    results = []
    for connections in args.connections:
        turns = Turns(f"Reads, {connections} at once")
        loads = {"no-op": (noop, [lambda: bare] * connections)}
        for name in args.only:
            loads[name] = (api, requests_of(READS[name], people, connections))
        await turns.take(loads, args.rounds, args.seconds)
        results.append((connections, turns))
    return results


async def told(api: int, noop: int, people: list[str], args: Namespace) -> list[tuple[int, Turns]]:
    """Measure after the story."""
    url = f"http://127.0.0.1:{api}"
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
        await Story(client, people).happen()
    progress.log("people have their history")
    return await measure(api, noop, people, args)


def main() -> None:
    """Run the comparison and print its tables."""
    args = options(__doc__, seconds=1.0, rounds=5, connections=[1, 64, 256], only=[*READS])
    with running() as instance, served(NOOP) as noop:
        people = asyncio.run(tokens(instance.port, PEOPLE))
        results = uvloop.run(told(instance.port, noop, people, args))
        goals = [
            turns.goal(name, "no-op", least=least)
            for connections, turns in results
            for name, least in TARGETS.items()
            if connections == CONNECTIONS and name in turns.loads
        ]
        turns = [turns for _, turns in results]
        conclude(instance, turns, *[compared(each, "no-op") for each in turns], goals=goals)


if __name__ == "__main__":
    main()
