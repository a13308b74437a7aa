"""Faults of the driver that pass by themselves: nobody is told that the service is broken."""

import json
from functools import partial

import pytest

from service.platform.database import open_database
from tests.callers import saxaul, sign_in
from tests.databases import cloned
from tests.partners.sender import SINGLE, make_sender
from tests.people import client_of, eventually, publish_rules, running_app, settings_for, walk
from tests.run.test_worker import working

PROJECT = {
    "name": "Alxa north",
    "species": "Haloxylon ammodendron",
    "place": "Alxa",
    "country": "CN",
    "partner": "Green Desert",
    "price_g": 100,
    "capacity": 1_000,
}
PLOT = {
    "name": "North 4",
    "position": {"type": "Point", "coordinates": [105.7, 38.8]},
    "area_m2": 1_500,
}

MINE = ("actions", "bubbles", "export", "links", "pledges", "statement", "suggestions")
OPERATORS = (
    "audit-log",
    "parked-events",
    "participants?subject=alice",
    "partners",
    "partners/metro",
    "rulebooks",
    "rulebooks/1",
)


@pytest.fixture
async def settings(servers, template_database, tmp_path):
    # What is altered here is nobody's database afterwards.
    async with cloned(servers, template_database) as url:
        yield settings_for(servers, url, tmp_path / "home")


@pytest.fixture
async def database(settings):
    opened = await open_database(settings, settings.database_url)
    await publish_rules(opened)
    yield opened
    await opened.close()


class Everybody:
    """Who sends one request of every kind, again and again."""

    async def arrive(self, client):
        self.client = client
        self.alice = await sign_in(client, "alice")
        self.olga = await sign_in(client, "olga", "operator")
        self.metro = await make_sender(self.olga, "metro")
        await self.metro.link(self.alice, "card-1")
        self.project = await self.make(self.olga, "/v1/operator/projects", PROJECT)
        plots = f"/v1/operator/projects/{self.project}/plots"
        self.plot = await self.make(self.olga, plots, PLOT)
        self.rounds = 0
        return self

    async def make(self, caller, path, body, key=None):
        answer = await caller.post(path, body, key)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def writes(self):
        """One request of every kind that writes."""
        alice, olga, metro = self.alice, self.olga, self.metro
        self.rounds += 1
        person = f"/v1/operator/participants/{alice.participant_id}"
        plot = f"/v1/operator/plots/{self.plot}"
        event, unlinked = metro.event("card-1"), metro.event("card-9")
        pledge = {"project_id": self.project, "trees": 1}
        capacity, subject = 1_000 + self.rounds, {"subject": "alice", "role": "participant"}
        return {
            "walk": lambda: alice.post("/v1/me/actions", walk()),
            "adjust": lambda: olga.post(f"{person}/adjustments", {"amount_g": 500, "reason": "x"}),
            "event": lambda: metro.post(json.dumps(event).encode(), SINGLE),
            "parked": lambda: metro.post([unlinked]),
            "reversal": lambda: metro.post([metro.reversal(event)]),
            "link": lambda: alice.post("/v1/me/links", {"partner_id": "metro"}),
            "collect": lambda: alice.post("/v1/me/bubbles/collect"),
            "pledge": lambda: alice.post("/v1/me/pledges", pledge, f"pledge-{self.rounds:010d}"),
            "allocate": lambda: olga.post(f"{plot}/allocate", {"trees": 1}),
            "planted": lambda: olga.post(f"{plot}/planted", {"evidence": []}),
            "rename": lambda: alice.patch("/v1/me", {"display_name": f"Alice {self.rounds}"}),
            "suspend": lambda: olga.post(f"{person}/suspend", {"reason": "a test"}),
            "resume": lambda: olga.post(f"{person}/resume", {"reason": "a test"}),
            "project": lambda: olga.patch(
                f"/v1/operator/projects/{self.project}", {"capacity": capacity}
            ),
            "partner": lambda: olga.patch("/v1/operator/partners/metro", {"name": "The metro"}),
            "activate": lambda: olga.post("/v1/operator/rulebooks/1/activate"),
            "audit": lambda: olga.post("/v1/operator/ledger/audit"),
            "token": lambda: self.client.post("/v1/dev/token", json=subject),
            "clock": lambda: self.client.post("/v1/dev/clock", json={"advance_s": 86_400}),
        }

    def reads(self):
        """One request of every kind that only reads."""
        alice, olga = self.alice, self.olga
        person = f"participants/{alice.participant_id}"
        public = ("projects", f"projects/{self.project}", "action-types", "program", "me")
        asked = [(alice, f"/v1/me/{name}") for name in MINE]
        asked += [(alice, f"/v1/{name}") for name in public]
        operators = (*OPERATORS, person, f"{person}/statement")
        asked += [(olga, f"/v1/operator/{name}") for name in operators]
        return {path: partial(who.get, path) for who, path in asked} | {
            "my parked": lambda: self.metro.call("GET", "/parked"),
            "ready": lambda: self.client.get("/health/ready"),
        }

    async def everything(self, before=None):
        """One request of every kind; those that were not answered as they should be."""
        wrong = {}
        for what, ask in (self.writes() | self.reads()).items():
            if before:
                await before()
            answer = await ask()
            if not answer.is_success:
                wrong[what] = answer.json()["code"]
        return wrong


class Altering:
    """Gives every column of text another type that means the same, as a migration may."""

    def __init__(self, database):
        self.pool = database.pool
        self.types = ["varchar", "text"]

    async def __call__(self):
        self.types.reverse()
        for statement in await self.pool.fetch(_ALTERS, *self.types):
            await self.pool.execute(statement[0])


_ALTERS = """
SELECT format(
    'ALTER TABLE %s %s', c.oid::regclass,
    string_agg(format('ALTER %I TYPE %s', attname, $2::text), ', ')
)
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
    AND atttypid = $1::text::regtype AND relname <> 'alembic_version'
GROUP BY c.oid"""


async def test_a_changed_schema_fails_no_request(settings, database):
    async with running_app(settings) as app, client_of(app) as client:
        everybody = await Everybody().arrive(client)
        assert await everybody.everything() == {}
        assert await everybody.everything() == {}
        assert await everybody.everything(before=Altering(database)) == {}
        audited = await everybody.olga.post("/v1/operator/ledger/audit", {"mode": "full"})
        assert audited.json()["clean"], audited.text


async def test_a_changed_schema_stops_no_worker(settings, database):
    alters = Altering(database)
    async with running_app(settings) as app, client_of(app) as client, working(settings):
        alice = await sign_in(client, "alice")

        async def is_on_the_board():
            answer = await alice.get("/v1/leaderboards/saved/me")
            return answer.status_code == 200 and answer.json()["score"] == saved_g

        for _ in range(3):
            await alice.walks()
            saved_g = (await alice.get("/v1/me")).json()["totals"]["saved_g"]
            await eventually(is_on_the_board)
            await alters()


# A class of SQLSTATE each, as servers send them: no connection, a password just changed, a conflict
# of two, too little room, nobody let in, a server that stops, starts or cancels, a rest
# that took too long, a standby, and a fault inside.
STATES = (
    *("08006", "28P01", "3D000", "40P01", "53300", "55000", "57P01", "57P03", "57014"),
    *("25P03", "25006", "XX000"),
)
_RAISES = """
CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'made by a test' USING ERRCODE = '{state}'; END$$"""
_TABLES = ("actions", "idempotency_keys", "participants", "audit_log", "books")


async def test_what_passes_by_itself_is_never_told_as_broken(settings, database):
    async with running_app(settings) as app, client_of(app) as client:
        everybody = await Everybody().arrive(client)
        await database.pool.execute(_RAISES.format(state="08006"))
        for table in _TABLES:
            await database.pool.execute(
                f"CREATE TRIGGER fails BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION fail()"
            )
        for state in STATES:
            await database.pool.execute(_RAISES.format(state=state))
            writes = everybody.writes()
            for what in ("walk", "pledge", "rename", "adjust", "event"):
                answer = await writes[what]()
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), what
                assert int(answer.headers["retry-after"]) > 0
            code, out, told = await saxaul(settings, "ledger", "audit")
            assert (code, out) == (1, "")
            assert told.strip() == "PostgreSQL does not answer any more: made by a test"
        for table in _TABLES:
            await database.pool.execute(f"DROP TRIGGER fails ON {table}")
        assert await everybody.everything() == {}
