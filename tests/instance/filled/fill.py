"""Fills a database as a day of use does, and dumps it: see README.md beside it for the how.

Everything goes through HTTP: what was asked and answered is kept, so that a test can ask again.
"""

import asyncio
import base64
import json
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from service.instance.home import Home
from service.instance.migrate import migrate
from service.instance.servers import started_servers
from service.platform.database import open_database
from service.platform.settings import Settings
from tests.callers import advance, sign_in
from tests.partners.sender import BATCH, PLAIN, SINGLE, make_sender
from tests.people import RULES, client_of, publish_rules, running_app

FOLDER = Path(__file__).parent
SECRET_KEY = "the secret key of a filled database"
MASTER_KEY = base64.b64encode(b"master key of a filled database.").decode()
TYPES = (
    *("transit.metro_trip", "transit.bus_trip", "transit.high_speed_rail"),
    *("mobility.shared_bike", "payment.utility_bill", "recycling.box", "consumption.no_cutlery"),
)
BOX_SPELLINGS = (
    *("BX-1", "bx-1", "BX-1 ", " BX-1", "BX-1\u200b", "BX-1\t", "\uff22\uff38-1", "BX\u20101"),
)
METER_SPELLINGS = ("0071fb", " 0071fb", "71fb", "0071fb ", "0071 fb", "0071FB")
TICKET_SPELLINGS = ("T-9", "t-9", "T-9 ", "T\u20119")
NAMES = ("\u200b", "\u202eevil", "  Ada  Lovelace ", "\u2066x\u2069", "e\u0301", "小明", "x\u2028y")
EQUATOR = {"type": "Point", "coordinates": [36.8, -0.0]}
GREENWICH = {
    "type": "Polygon",
    "coordinates": [[[-0.0, -0.0], [0.01, -0.0], [0.01, 0.01], [-0.0, -0.0]]],
}
CAMPAIGN = """campaigns:
  - id: double-walks
    title: {{en: Double walks, zh: 双倍步行}}
    from: {first}
    until: {last}
    rules: [walk]
    regions: [CN-ZJ]
    earns_times: 2
    budget_g: 150
"""


class Town:
    """Who is there, and what they said: every request that must not be paid a second time."""

    def __init__(self, client, operator):
        self.client, self.operator = client, operator
        self.people, self.senders, self.actions, self.events, self.keyed = {}, {}, [], [], []
        self.ids, self.numbers = {}, iter(range(1, 10_000))

    async def person(self, subject):
        if subject not in self.people:
            self.people[subject] = await sign_in(self.client, subject)
            self.ids[subject] = str(self.people[subject].participant_id)
        return self.people[subject]

    async def now(self):
        told = (await self.client.get("/v1/dev/clock")).json()["now"]
        return datetime.fromisoformat(told).replace(microsecond=0)

    async def report(self, subject, type_, *, at=None, status=201, **attributes):
        """An action under a key of its own."""
        person, key = await self.person(subject), f"key-of-an-action-{next(self.numbers)}"
        body = {"type": type_, "occurred_at": at or _z(await self.now()), "attributes": attributes}
        answer = await person.post("/v1/me/actions", body, key)
        assert answer.status_code == status, (body, answer.text)
        told = answer.json()
        kept = {"subject": subject, "key": key, "body": body, "status": status}
        if status == 201:
            kept["answer"] = {name: told[name] for name in ("id", "saved_g", "energy_g")}
        self.actions.append(kept)
        return told

    async def ask(self, subject, path, body=None, status=201):
        """A request other than an action, under a key."""
        person, key = await self.person(subject), f"key-of-a-request-{next(self.numbers)}"
        answer = await person.post(path, body, key)
        assert answer.status_code == status, (path, body, answer.text)
        self.keyed.append(
            {
                "subject": subject,
                "path": path,
                "key": key,
                "body": body,
                "status": status,
                "answer": answer.json(),
            }
        )
        return answer.json()

    async def operate(self, path, body=None, status=(200, 201)):
        answer = await self.operator.post(f"/v1/operator/{path}", body)
        assert answer.status_code in status, (path, answer.text)
        return answer.json()

    async def sender(self, name, types=TYPES):
        sender = await make_sender(self.operator, name, types)
        self.senders[name] = sender
        return sender

    async def send(self, sender, body, media, expected):
        """Signed events; what came of them is kept and compared."""
        answer = await sender.post(body, media, message_id=_message_id(body, media))
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert [each["status"] for each in results] == expected, results
        self.events.append({"partner": sender.id, "media": media, "body": body, "results": results})
        return results

    async def link(self, sender, subject, card):
        await sender.link(await self.person(subject), card)


def _message_id(body, media):
    return f"msg_{body['data']['ticket_no']}" if media == PLAIN else None


def _z(at):
    return at.isoformat().replace("+00:00", "Z")


def _trip(sender, number, subject, time, type_="transit.metro_trip", **data):
    return {
        "specversion": "1.0",
        "id": number,
        "source": sender.source,
        "type": type_,
        "subject": subject,
        "time": time,
        "data": data,
    }


def _local(at, hours=8, minutes=0):
    """This time as it is written elsewhere."""
    sign, total = ("+", 1) if hours >= 0 else ("-", -1)
    moved = at + total * timedelta(hours=abs(hours), minutes=minutes)
    return f"{moved:%Y-%m-%dT%H:%M:%S}{sign}{abs(hours):02}:{minutes:02}"


async def walks(town):
    """Walks in parts, rides, papers, and what is refused."""
    for steps in (25,) * 12:
        await town.report("walker", "mobility.walk", steps=steps)
    for steps in (26,) * 10:
        await town.report("hopper", "mobility.walk", steps=steps, distance_km=0.02)
    await town.report("walker", "mobility.walk", steps=9_300, distance_km=6.5)
    await town.report("walker", "mobility.walk", steps=30_000, distance_km=21.0975)
    at = await town.now() - timedelta(hours=3)
    await town.report("rider", "mobility.bike", at=_z(at), distance_km=7.25, duration_min=31)
    late = await town.now() - timedelta(days=2, hours=1)
    await town.report("rider", "mobility.bike", at=_local(late), distance_km=3, duration_min=12.5)
    overlap = _z(at + timedelta(minutes=10))
    await town.report(
        "rider", "mobility.bike", at=overlap, status=422, distance_km=2, duration_min=9
    )
    await town.report("rider", "mobility.carpool", distance_km=18.4, riders=3)
    await town.report("clerk", "office.paperless", pages=40)
    await town.report("clerk", "payment.e_invoice", invoice_no="00042")
    person = await town.person("offline")
    items = [
        {
            "idempotency_key": f"key-of-an-item-{n:02}",
            "type": "mobility.walk",
            "occurred_at": _local(late + timedelta(hours=n)),
            "attributes": {"steps": 1_000 * n, "distance_km": 0.7 * n},
        }
        for n in (1, 2, 3)
    ]
    answer = await person.post("/v1/me/actions/batch", {"actions": items})
    assert answer.json()["accepted"] == 3, answer.text
    town.batch = {"subject": "offline", "items": items}


async def claims(town, station):
    """The same thing otherwise spelt, typed by one and another, and told by a partner."""
    for code in BOX_SPELLINGS:
        await town.report("speller", "recycling.box", box_code=code)
    await town.report("neighbour", "recycling.box", status=422, box_code="BX-1")
    await town.report("neighbour", "recycling.box", box_code="Bx-1")
    for number in range(12):
        await town.report("squatter", "recycling.box", box_code=f"ST-{number:04}")
    await town.report("diner", "consumption.no_cutlery", order_no="42")
    await town.report("guest", "consumption.no_cutlery", status=422, order_no="42")
    now = _z(await town.now())
    await town.link(station, "customer", "card-customer")
    await town.link(station, "diner", "card-diner")
    boxes = [
        _trip(station, f"box-{code}", "card-customer", now, "recycling.box", box_code=code)
        for code in ("ST-0003", "ST-0010", "ST-0099", "st-0099")
    ]
    await town.send(station, boxes, BATCH, ["rejected", "rejected", "accepted", "accepted"])
    order = _trip(station, "order-42", "card-diner", now, "consumption.no_cutlery", order_no="42")
    await town.send(station, order, SINGLE, ["accepted"])
    bills = [
        _trip(
            station,
            f"bill-{n}",
            "card-customer",
            now,
            "payment.utility_bill",
            meter_no=meter,
            kind="power",
        )
        for n, meter in enumerate(METER_SPELLINGS)
    ]
    await town.send(station, bills, BATCH, ["accepted"] * len(bills))
    tickets = [
        _trip(
            station,
            f"ticket-{n}",
            "card-customer",
            now,
            "transit.high_speed_rail",
            ticket_no=ticket,
            distance_km=128,
        )
        for n, ticket in enumerate(TICKET_SPELLINGS)
    ]
    await town.send(station, tickets, BATCH, ["accepted"] * len(tickets))


async def trips(town, metro):
    """Partner's events with every offset: single, batch, plain, parked, released, reversed."""
    at = await town.now() - timedelta(hours=30)
    await town.link(metro, "commuter", "card-1")
    times = [
        _local(at),
        _local(at + timedelta(hours=1), 5, 30),
        _local(at + timedelta(hours=2), -3, 30),
        _local(at + timedelta(hours=3), 14),
        _local(at + timedelta(hours=4), 0),
        _z(at + timedelta(hours=5)),
        _z(at + timedelta(hours=6, microseconds=120_000)),
    ]
    single = _trip(metro, "trip-0", "card-1", times[0], distance_km=5, ticket_no="TN-0")
    await town.send(metro, single, SINGLE, ["accepted"])
    batch = [
        _trip(metro, f"trip-{n}", "card-1", time, distance_km=4.5 + n, duration_min=20)
        for n, time in enumerate(times[1:], 1)
    ]
    await town.send(metro, batch, BATCH, ["accepted"] * len(batch))
    plain = {
        "type": "transit.bus_trip",
        "timestamp": _local(at + timedelta(hours=8)),
        "data": {"subject": "card-1", "ticket_no": "plain-1", "distance_km": 6.0},
    }
    await town.send(metro, plain, PLAIN, ["accepted"])
    early = [
        _trip(metro, f"early-{n}", "card-2", _local(at, hours), distance_km=3 + n)
        for n, hours in enumerate((8, -5, 0))
    ]
    await town.send(metro, early, BATCH, ["parked"] * 3)
    waiting = {
        "type": "transit.bus_trip",
        "timestamp": _local(at, 9, 45),
        "data": {"subject": "card-2", "ticket_no": "plain-2"},
    }
    await town.send(metro, waiting, PLAIN, ["parked"])
    lost = [_trip(metro, f"lost-{n}", "card-9", _local(at, 8), distance_km=2) for n in (1, 2)]
    await town.send(metro, lost, BATCH, ["parked"] * 2)
    await town.link(metro, "released", "card-2")
    parked = (await town.operator.get("/v1/operator/parked-events")).json()["items"]
    await town.operate(f"parked-events/{parked[0]['id']}/discard")
    undo = metro.reversal(batch[1], id="undo-2", data={"event_id": "trip-2", "reason": "refund"})
    await town.send(metro, undo, SINGLE, ["accepted"])
    crossed = _trip(metro, "crossed", "card-1", _local(at - timedelta(hours=3)), distance_km=2)
    before = metro.reversal(crossed, id="undo-crossed")
    await town.send(metro, before, SINGLE, ["parked"])
    await town.send(metro, crossed, SINGLE, ["accepted"])
    rides = [
        _trip(
            metro,
            f"ride-{n}",
            "card-1",
            _local(at - timedelta(hours=6 + n)),
            "mobility.shared_bike",
            distance_km=2.5,
            duration_min=11,
            ride_no=number,
        )
        for n, number in enumerate(("R-7", "r-7", "R-7 "))
    ]
    await town.send(metro, rides, BATCH, ["accepted"] * 3)


async def forest(town):
    """Projects with and without a season, plots at odd places, trees in every state."""
    facts = {
        "species": "Acacia",
        "place": "Nanyuki",
        "country": "KE",
        "partner": "Green Belt",
        "capacity": 40,
    }
    season = {"from": "2026-01-01", "until": "2027-12-31"}
    cheap = await town.operate("projects", facts | {"name": "Equator", "price_g": 50})
    dear = await town.operate(
        "projects", facts | {"name": "Debts", "price_g": 250, "season": season}
    )
    odd = await town.operate("projects", facts | {"name": "Odd", "price_g": 201, "funded": 9})
    plots = [
        await town.operate(
            f"projects/{cheap['id']}/plots", {"name": name, "position": place, "area_m2": area}
        )
        for name, place, area in (("equator", EQUATOR, 900), ("greenwich", GREENWICH, 1_234.5))
    ]
    return cheap["id"], dear["id"], odd["id"], [plot["id"] for plot in plots]


async def plant(town, project, plots):
    """Pledges, one cancelled; trees that are allocated, planted, verified, lost."""
    for subject, trees in (("walker", 2), ("rider", 1), ("commuter", 1)):
        await town.ask(subject, "/v1/me/pledges", {"project_id": project, "trees": trees})
    regret = await town.ask("commuter", "/v1/me/pledges", {"project_id": project, "trees": 1})
    await town.ask("commuter", f"/v1/me/pledges/{regret['id']}/cancel", status=200)
    await town.ask("squatter", "/v1/me/pledges", {"project_id": project, "trees": 9}, status=409)
    photo = {
        "url": "https://photos.example/1.jpg",
        "sha256": "ab" * 32,
        "taken_at": _local(await town.now()),
        "position": EQUATOR,
    }
    await town.operate(f"plots/{plots[0]}/allocate", {"trees": 2})
    await town.operate(f"plots/{plots[1]}/allocate", {"trees": 1})
    await town.operate(f"plots/{plots[0]}/planted", {"evidence": [photo]})
    numbers = (await town.operate(f"plots/{plots[0]}/verified", {"evidence": [photo]}))["trees"]
    await town.operate(f"plots/{plots[0]}/lost", {"evidence": [], "trees": numbers[:1]})


async def debts(town, dear, odd):
    """What is owed in every way, and what stands beside it."""
    debtors = ("cancelled", "adjusted", "spent", "owing")
    walked = {}
    for subject in debtors:
        walked[subject] = await town.report(subject, "mobility.walk", steps=14_000)
    await advance(town.client, days=1)
    pledges = {}
    for subject in debtors:
        await town.ask(subject, "/v1/me/bubbles/collect", status=200)
        order = {"project_id": dear, "trees": 1}
        pledges[subject] = (await town.ask(subject, "/v1/me/pledges", order))["id"]
        await town.operate(f"actions/{walked[subject]['id']}/reverse", {"reason": "never walked"})
    for subject in ("cancelled", "spent"):
        await town.ask(subject, f"/v1/me/pledges/{pledges[subject]}/cancel", status=200)
    gift = {"amount_g": 100, "reason": "a gift in debt"}
    await town.operate(f"participants/{town.ids['adjusted']}/adjustments", gift)
    await town.ask("spent", "/v1/me/pledges", {"project_id": odd, "trees": 1})


async def rulebooks(town):
    """A campaign with a budget that is used up, another version, and back to one before."""
    files = {path.name: path.read_text() for path in RULES.glob("*.yaml")}
    today = (await town.now() + timedelta(hours=8)).date()
    days = {"first": today.isoformat(), "last": (today + timedelta(days=3)).isoformat()}
    with_campaign = files | {"campaign.yaml": CAMPAIGN.format(**days)}
    await town.operate("rulebooks", {"files": with_campaign, "note": "double walks"})
    for subject, steps in (("walker", 4_000), ("hopper", 5_000), ("hopper", 2_000)):
        person = await town.person(subject)
        assert (await person.patch("/v1/me", {"region": "CN-ZJ"})).status_code == 200
        await town.report(subject, "mobility.walk", steps=steps, distance_km=steps / 1_500)
    small = {name: files[name] for name in ("program.yaml", "mobility.yaml", "factors.yaml")}
    small["mobility.yaml"] = small["mobility.yaml"].replace("steps * 0.02", "steps * 0.02 + 0")
    checked = await town.operate("rulebooks", {"files": small, "note": "only ways"})
    await town.report("hopper", "mobility.walk", steps=333)
    await town.operate(f"rulebooks/{checked['version'] - 1}/activate")
    await town.report("hopper", "mobility.walk", steps=334)


async def profiles(town, metro):
    """Names that nobody sees, somebody erased who comes again, a link that ends, a suspension."""
    for number, name in enumerate(NAMES):
        person = await town.person(f"named-{number}")
        answer = await person.patch("/v1/me", {"display_name": name})
        assert answer.status_code == 200, (name, answer.text)
        await town.report(f"named-{number}", "mobility.walk", steps=500)
    for subject, card in (("erased", "card-3"), ("unlinked", "card-4")):
        await town.link(metro, subject, card)
        at = _local(await town.now() - timedelta(hours=2))
        event = _trip(metro, f"trip-of-{subject}", card, at, distance_km=9)
        await town.send(metro, event, SINGLE, ["accepted"])
        await town.report(subject, "mobility.walk", steps=3_000, distance_km=2)
        await town.report(subject, "recycling.box", box_code=f"box of {subject}")
    erased = town.people.pop("erased")
    town.actions = [each for each in town.actions if each["subject"] != "erased"]
    assert (await erased.delete("/v1/me")).status_code == 204
    town.ids.pop("erased")
    await town.report("erased", "mobility.walk", steps=100)
    gone = await town.people["unlinked"].delete(f"/v1/me/links/{metro.id}")
    assert gone.status_code == 204, gone.text
    await town.person("suspended")
    await town.operate(f"participants/{town.ids['suspended']}/suspend", {"reason": "a test"})
    reversed_one = await town.report("undone", "mobility.walk", steps=4_321, distance_km=3)
    await town.operate(f"actions/{reversed_one['id']}/reverse", {"reason": "typed twice"})


async def fill(client, database):
    """All of it; gives what a test needs to ask again."""
    town = Town(client, await sign_in(client, "olga", "operator"))
    metro, station = await town.sender("metro"), await town.sender("station")
    await walks(town)
    await trips(town, metro)
    await claims(town, station)
    cheap, dear, odd, plots = await forest(town)
    await debts(town, dear, odd)
    for subject in ("walker", "rider", "commuter", "squatter", "offline", "clerk", "customer"):
        await town.ask(subject, "/v1/me/bubbles/collect", status=200)
    less = {"amount_g": -40, "reason": "a mistake of ours"}
    await town.operate(f"participants/{town.ids['walker']}/adjustments", less)
    await plant(town, cheap, plots)
    await rulebooks(town)
    await profiles(town, metro)
    accounts = "issuance ripening available pledged planted expired gifts arrears saved_g trees"
    rows = await database.pool.fetch("SELECT * FROM books")
    return {
        "secret_key": SECRET_KEY,
        "master_key": MASTER_KEY,
        "partners": {
            name: {
                "secret": "whsec_" + base64.b64encode(sender.secret).decode(),
                "source": sender.source,
            }
            for name, sender in town.senders.items()
        },
        "people": town.ids,
        "books": {
            str(row["participant_id"]): {name: row[name] for name in accounts.split()}
            for row in rows
        },
        "actions": town.actions,
        "batch": town.batch,
        "events": town.events,
        "keyed": town.keyed,
    }


def dump(url):
    """The database as SQL that every PostgreSQL from 16 on reads in one go."""
    (program,) = Path(sys.prefix).glob("lib/*/site-packages/*/pginstall*18/bin/pg_dump")
    options = ("--no-owner", "--no-privileges", "--inserts", "--rows-per-insert=200")
    text = subprocess.run([program, *options, url], check=True, capture_output=True, text=True)
    # What only psql or newer servers understand.
    unknown = re.compile(r"^(\\(un)?restrict .*|SET transaction_timeout.*|--.*|)\n", re.MULTILINE)
    return unknown.sub("", text.stdout)


async def main():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        home = Home(Path(folder) / "home")
        assert home.take_lock()
        settings = Settings(
            home=home.path, secret_key=SECRET_KEY, master_key=MASTER_KEY, rules_dir=RULES
        )
        async with started_servers(settings, home, what="filling") as found:
            settings = msgspec.structs.replace(
                settings, database_url=found.database_url, redis_url=found.redis_url
            )
            await migrate(found.database_url)
            database = await open_database(settings, found.database_url)
            await publish_rules(database)
            async with running_app(settings) as app, client_of(app) as client:
                told = await fill(client, database)
            await database.close()
            (FOLDER / "filled_0_1.sql").write_text(dump(found.database_url))
    text = json.dumps(told, indent=1, ensure_ascii=True)
    (FOLDER / "filled_0_1.json").write_text(text + "\n")


if __name__ == "__main__":
    asyncio.run(main())
