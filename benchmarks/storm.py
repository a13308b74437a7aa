"""Does a storm of partner events come to the same grams as a calm day?

    python -m benchmarks.storm FILE [--events 50000] [--riders 4000] [--clients 4] [--kills 2]

FILE is a month of Citi Bike's system data. Its trips, repeated until there are enough, become
signed shared-bike events of made-up riders. The storm: shuffled, 10 % sent twice, 2 % bad, for 1 %
a reversal that comes before its event, sent by several `saxaul partner send` at once, while the
whole instance is killed with SIGKILL on the way. The calm run: each event once, in order, reversals
behind, one client. Both end with a full audit, and the books of all riders are compared.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
from rich.console import Console

from benchmarks.instance import ROOT, Instance
from kit.partner.keys import SigningKey, signing_key
from kit.replay.read import read_actions
from service.platform.clock import Clock

SEED = 20261122
PARTNER, SOURCE = "demo-storm", "urn:demo:storm"
_DAYS = 6
_console = Console()
Event = dict[str, Any]


def make_events(file: Path, count: int, riders: int, now: datetime) -> list[Event]:
    """Trips of the last days, in the order of time; no rider is on two bikes at once."""
    trips = [
        trip
        for trip in read_actions(file, "citibike").actions
        if 1 <= trip.attributes.get("duration_min", 0) <= 300
        and 0.1 <= trip.attributes.get("distance_km", 0) <= trip.attributes["duration_min"] * 0.7
    ]
    busy: dict[int, list[tuple[datetime, datetime]]] = defaultdict(list)
    today = datetime(now.year, now.month, now.day, tzinfo=UTC)
    events = []
    for number in range(count):
        trip = trips[number % len(trips)]
        begins = (
            today
            - timedelta(days=number % _DAYS + 1)
            + (trip.at - datetime.combine(trip.at, datetime.min.time()))
        )
        ends = begins + timedelta(minutes=trip.attributes["duration_min"])
        rider = number * 7919 % riders
        while any(begins < other_ends and starts < ends for starts, other_ends in busy[rider]):
            rider = (rider + 1) % riders
        busy[rider].append((begins, ends))
        events.append(_event(f"{trip.key}-{number}", f"rider-{rider}", begins, trip.attributes))
    return sorted(events, key=lambda event: str(event["time"]))


def _event(key: str, subject: str, at: datetime, attributes: Any) -> Event:
    return {
        "specversion": "1.0",
        "id": key,
        "source": SOURCE,
        "type": "mobility.shared_bike",
        "subject": subject,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": {**attributes, "ride_no": key},
    }


def reversal_of(event: Event) -> Event:
    """The event that takes this one's award back."""
    return {
        "specversion": "1.0",
        "id": f"reversal-{event['id']}",
        "source": SOURCE,
        "type": "action.reversed",
        "time": event["time"],
        "data": {"event_id": event["id"], "reason": "the ride was refunded"},
    }


def spoiled(event: Event, way: int) -> Event:
    """A bad event in one of several ways, under an id of its own."""
    bad = {**event, "id": f"bad-{event['id']}"}
    changes: list[Event] = [
        {"data": {**event["data"], "distance_km": -1}},
        {"data": {**event["data"], "colour": "red"}},
        {"source": "urn:somebody-else"},
        {"type": "payment.in_store"},
        {"time": "yesterday"},
        {"subject": ""},
        {"data": {**event["data"], "distance_km": 90, "duration_min": 1}},
    ]
    return {**bad, **changes[way % len(changes)]}


def storm_parts(events: list[Event], clients: int) -> list[list[Event]]:
    """What each client sends: everything, in disorder."""
    chance = random.Random(SEED)
    several = chance.sample(events, len(events) // 10)
    bad = [
        spoiled(event, way) for way, event in enumerate(chance.sample(events, len(events) // 50))
    ]
    everything = [*events, *several, *bad]
    chance.shuffle(everything)
    reversals = [reversal_of(event) for event in reversed_events(events)]
    # A reversal goes into the first tenth, its event to the very end.
    late = {event["id"] for event in reversed_events(events)}
    rest = [event for event in everything if event["id"] not in late]
    head, tail = rest[: len(rest) // 10] + reversals, rest[len(rest) // 10 :]
    chance.shuffle(head)
    last = [event for event in everything if event["id"] in late]
    ordered = [*head, *tail, *last]
    return [ordered[client::clients] for client in range(clients)]


def reversed_events(events: list[Event]) -> list[Event]:
    """The hundredth part of the events that is taken back."""
    return events[50::100]


class City:
    """The partner, the riders and their links, over HTTP."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        """`found` makes everything."""
        self.client = client
        self.secret = ""
        self.tokens: dict[str, str] = {}

    async def found(self, subjects: list[str]) -> None:
        """Make the partner with a key, and link all riders."""
        operator = await self._token("demo-operator", "operator")
        order = {
            "id": PARTNER,
            "name": "Storm bikes",
            "action_types": ["mobility.shared_bike"],
            "source_prefix": SOURCE,
        }
        await self._post("/v1/operator/partners", operator, order)
        path = f"/v1/operator/partners/{PARTNER}/keys"
        self.secret = (await self._post(path, operator, {"kind": "hmac"}))["secret"]
        key = signing_key(self.secret)
        turns = asyncio.Semaphore(16)
        await asyncio.gather(*(self._link(subject, key, turns) for subject in subjects))

    async def books(self) -> dict[str, Any]:
        """What each rider's book holds."""
        turns = asyncio.Semaphore(16)

        async def book(subject: str) -> tuple[str, Any]:
            async with turns:
                headers = {"Authorization": f"Bearer {self.tokens[subject]}"}
                answer = (await self.client.get("/v1/me", headers=headers)).raise_for_status()
                me = answer.json()
                return subject, (me["balances"], me["totals"])

        return dict(await asyncio.gather(*(book(subject) for subject in sorted(self.tokens))))

    async def _link(self, subject: str, key: SigningKey, turns: asyncio.Semaphore) -> None:
        async with turns:
            self.tokens[subject] = token = await self._token(subject, "participant")
            code = (await self._post("/v1/me/links", token, {"partner_id": PARTNER}))["link_code"]
            body = msgspec.json.encode({"link_code": code, "subject": subject})
            headers = key.headers(f"link-{subject}", body, Clock().real_now())
            answer = await self.client.post(
                f"/v1/partners/{PARTNER}/links",
                content=body,
                headers={"Content-Type": "application/json", **headers},
            )
            answer.raise_for_status()

    async def _token(self, subject: str, role: str) -> str:
        answer = await self.client.post("/v1/dev/token", json={"subject": subject, "role": role})
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    async def _post(self, path: str, token: str, body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await self.client.post(path, json=body, headers=headers)
        members: dict[str, Any] = answer.raise_for_status().json()
        return members


def run_instance(
    home: Path, parts: list[list[Event]], subjects: list[str], kills: int
) -> tuple[dict[str, Any], str]:
    """Send these parts at once to a fresh instance; the books at the end, and what was printed."""
    instance = Instance(home / "state")
    instance.start()
    try:
        return asyncio.run(_run(instance, home, parts, subjects, kills))
    finally:
        instance.stop()


async def _run(
    instance: Instance, home: Path, parts: list[list[Event]], subjects: list[str], kills: int
) -> tuple[dict[str, Any], str]:
    async with httpx.AsyncClient(base_url=instance.url, timeout=60, trust_env=False) as client:
        city = City(client)
        await city.found(subjects)
        _console.log(f"{len(subjects):,} riders are linked")
        began, total = time.monotonic(), sum(map(len, parts))
        senders = [
            _send(instance, home / f"part-{n}.ndjson", part, city.secret)
            for n, part in enumerate(parts)
        ]
        for kill in range(kills):
            await asyncio.to_thread(_wait_sent, home, total * (kill + 1) // (kills + 1))
            await asyncio.to_thread(_kill_and_start, instance)
        outputs = await asyncio.to_thread(lambda: [sender.communicate()[0] for sender in senders])
        seconds = time.monotonic() - began
        _console.log(f"{total:,} events in {seconds:.1f} s = {total / seconds:,.0f}/s")
        audit = await asyncio.to_thread(instance.command, "ledger", "audit")
        said = (
            "\n".join(outputs)
            + "\n".join(audit.stdout.splitlines()[-2:])
            + f" (exit code {audit.returncode})"
        )
        if audit.returncode:
            raise SystemExit(audit.stdout + audit.stderr)
        return await city.books(), said


def _send(
    instance: Instance, path: Path, events: list[Event], secret: str
) -> subprocess.Popen[str]:
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    order = ["partner", "send", str(path), "--url", instance.url, "--partner", PARTNER]
    return subprocess.Popen(
        [sys.executable, "-m", "service", *order, "--key", secret, "--parallel", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait_sent(home: Path, wanted: int) -> None:
    """Wait until so many records were answered."""
    while sum(_records(path) for path in home.glob("*.sent.json")) < wanted:
        time.sleep(0.05)


def _records(path: Path) -> int:
    count: int = json.loads(path.read_text())["records"]
    return count


def _kill_and_start(instance: Instance) -> None:
    instance.kill()
    instance.start()
    _console.log("killed everything with SIGKILL and started it again")


def main() -> None:
    """Run both and compare; exit code 1 when a book differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("file", type=Path)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--riders", type=int, default=4_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--kills", type=int, default=2)
    args = parser.parse_args()
    events = make_events(args.file, args.events, args.riders, Clock().real_now())
    subjects = sorted({event["subject"] for event in events})
    calm = [*events, *(reversal_of(event) for event in reversed_events(events))]
    with tempfile.TemporaryDirectory(prefix="saxaul-storm-") as folder:
        Path(folder).chmod(0o755)
        results = []
        for name, parts, kills in (
            ("storm", storm_parts(events, args.clients), args.kills),
            ("calm", [calm], 0),
        ):
            home = Path(folder) / name
            home.mkdir()
            books, said = run_instance(home, parts, subjects, kills)
            _console.rule(name)
            _console.print(said)
            results.append(books)
    storm, quiet = results
    different = [subject for subject in subjects if storm[subject] != quiet[subject]]
    _console.rule("books")
    grams = sum(balances["ripening_g"] for balances, _ in quiet.values())
    _console.print(f"{len(subjects):,} books, {grams:,} g; different: {len(different)}")
    for subject in different[:5]:
        _console.print(subject, storm[subject], quiet[subject])
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
