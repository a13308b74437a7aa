"""A town whose people do what the API would let them do, and a log of what that is worth.

Every booking goes through the real workflows. The log is kept apart, in plain Python: boards are
compared with it, not with what the code under test makes of the ledger.
"""

import asyncio
from collections import defaultdict
from datetime import timedelta
from uuid import uuid4

from msgspec.structs import replace

from service.actions.order import participant_report
from service.leaderboards.forget import forget_write
from service.leaderboards.keys import Board, periods_of
from service.leaderboards.rebuild import prepare_lanes
from service.leaderboards.relay import Relay
from service.ledger.books import lock_book, make_book
from service.platform.database import write_all
from service.platform.outbox import lane_of
from tests import orders
from tests.orders import settle as settle_orders
from tests.planting.forestry import open_project
from tests.processes import PATIENCE_S

RIPE_AFTER = timedelta(days=1)


class Town:
    def __init__(self, shared, rulebook):
        self.shared, self.rulebook = shared, rulebook
        self.database, self.clock = shared.database, shared.clock
        self.bookings = []
        self.erased = set()
        self.regions = {}
        self.ripening = defaultdict(list)
        self.projects = []

    def go_to(self, instant):
        self.clock.offset = instant - self.clock.real_now()

    def later(self, by):
        self.clock.offset += by

    def lane(self, person):
        return lane_of(person, self.shared.lanes)

    def today(self):
        return self.rulebook.program.local_date(self.clock.now())

    async def join(self, region="", visibility="public", name="Somebody", person=None):
        person = person or uuid4()
        async with self.database.transaction() as connection:
            await connection.execute(
                "INSERT INTO participants (participant_id, display_name, visibility, created_at)"
                " VALUES ($1, $2, $3, $4)",
                person,
                name,
                visibility,
                self.clock.now(),
            )
            await make_book(connection, person, b"salt of 16 bytes", self.clock.now())
        await self.move(person, region)
        return person

    async def move(self, person, region):
        await self.database.pool.execute(
            "UPDATE participants SET region = nullif($2, '') WHERE participant_id = $1",
            person,
            region,
        )
        self.regions[person] = region

    async def walk(self, person, km=1.0, steps=5_000, *, verified=False):
        """Walk; gives the action. `verified`: as if a partner had told of it."""
        now = self.clock.now()
        report = participant_report(
            person,
            type_="mobility.walk",
            occurred_at=now - timedelta(minutes=1),
            attributes={"steps": steps, "distance_km": km},
            reporter="participant",
            key=None,
            now=now,
        )
        report.candidate.verified = verified
        outcomes = await settle_orders(
            self.database,
            [report],
            rulebook=self.rulebook,
            now=now,
            secret=b"a secret of the tests",
            lanes=self.shared.lanes,
            wait=True,
        )
        action = outcomes[report].action
        for board in ("saved", "verified") if verified else ("saved",):
            self._log(person, board, action.saved_g, action.region, at=action.recorded_at)
        self.ripening[person].append(action)
        return action

    async def collect(self, person):
        async with self.database.transaction() as connection:
            collected = await orders.collect(connection, person, **self._at())
        at, left_g, still = collected.book.last_at, collected.collected_g, []
        for action in self.ripening[person]:
            if not action.energy_g or action.expires_at <= at:
                continue
            if action.ripens_at > at:
                still.append(action)
                continue
            self._log(person, "energy", action.energy_g, action.region, at=at)
            left_g -= action.energy_g
        self.ripening[person] = still
        assert left_g == 0, "the log knows what was collected"
        return collected.collected_g

    async def reverse(self, person, action):
        reversal = await orders.reverse(self.database, person, action.id, **self._at())
        self.ripening[person] = [entry for entry in self.ripening[person] if entry.id != action.id]
        for board in ("saved", "verified") if action.verified else ("saved",):
            self._log(person, board, reversal.row.saved_g, action.region)

    async def pledge(self, person, trees=1):
        """Pledge trees; gives what `cancel` needs."""
        if not self.projects:
            self.projects.append(await open_project(self.database, price_g=1, capacity=10_000))
        async with self.database.transaction() as connection:
            at = self._at()
            pledge = await orders.pledge(connection, person, self.projects[0], trees, **at)
        self._log(person, "trees", trees, self.regions[person])
        return pledge.id, trees, self.regions[person]

    async def cancel(self, person, pledge):
        pledge_id, trees, region = pledge
        async with self.database.transaction() as connection:
            await orders.cancel(connection, person, pledge_id, **self._at())
        self._log(person, "trees", -trees, region)

    async def erase(self, person):
        """What the erasure of a person does to boards."""
        now = self.clock.now()
        async with self.database.transaction() as connection:
            book = await lock_book(connection, person)
            at = book.tick(now)
            await connection.execute(
                "UPDATE books SET closed = true, last_at = $2 WHERE participant_id = $1", person, at
            )
            await connection.execute("DELETE FROM participants WHERE participant_id = $1", person)
            write = await forget_write(connection, person, self.lane(person), at, self.today())
            await write_all(connection, [write])
        self.erased.add(person)

    def boards(self):
        """What the open boards must hold, by the log: board -> member -> score."""
        found = defaultdict(lambda: defaultdict(int))
        open_names = {period.name for period in periods_of(self.today())}
        for person, name, day, region, change in self.bookings:
            if person in self.erased:
                continue
            for period in periods_of(day):
                if period.name in open_names:
                    for scope in {"", region}:
                        found[Board(name, period.name, scope)][person.bytes] += change
        return _without_zeros(found)

    def _at(self):
        return {
            "rulebook": self.rulebook,
            "now": self.clock.now(),
            "lanes": self.shared.lanes,
        }

    def _log(self, person, name, change, region, *, at=None):
        if change:
            day = self.rulebook.program.local_date(at or self.clock.now())
            self.bookings.append((person, name, day, region, change))


async def held(shared, today):
    """What the open boards hold in Redis, read without the code under test."""
    found = defaultdict(dict)
    open_names = {period.name for period in periods_of(today)}
    layout = shared.layout
    for shard in range(layout.shards):
        generation = int(await shared.redis.get(layout.active(shard)))
        start = layout.positions(shard, generation).removesuffix("positions")
        async for key in shared.redis.scan_iter(match=f"{start}*", count=1000):
            name, _, rest = key.decode().removeprefix(start).partition(":")
            period, _, region = rest.partition(":")
            if name != "positions" and period in open_names:
                board = Board(name, period, "" if region == "*" else region)
                entries = await shared.redis.zrange(key, 0, -1, withscores=True)
                found[board].update({member: int(score) for member, score in entries})
    return _without_zeros(found)


def _without_zeros(boards):
    return {
        board: kept
        for board, members in boards.items()
        if (kept := {member: score for member, score in members.items() if score})
    }


async def empty(shared):
    """Nothing of the people before: each example begins alone, in the same database."""
    for table in ("outbox", "pledges", "books", "participants"):
        await shared.database.pool.execute(f"DELETE FROM {table}")
    await shared.database.pool.execute("TRUNCATE relay_lanes")
    async for key in shared.redis.scan_iter(match=shared.layout.pattern(), count=1000):
        await shared.redis.delete(key)


async def settle(*relays):
    """Run rounds of these relays until every lane has built and applied all that is committed."""
    shared = relays[0]._shared
    async with asyncio.timeout(10):
        while True:
            for relay in relays:
                await relay.round()
            if await _is_settled(shared):
                return
            await asyncio.sleep(0.01)


async def repaired(town, relays):
    """Rounds until the boards are right again; relays ask every second whether Redis is whole."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while loop.time() < deadline:
        await settle(*relays)
        if await held(town.shared, town.today()) == town.boards():
            return
        await asyncio.sleep(0.05)
    assert await held(town.shared, town.today()) == town.boards()


async def _is_settled(shared):
    generation = await shared.database.pool.fetchval(_SETTLED)
    keys = [shared.layout.active(shard) for shard in range(shared.layout.shards)]
    return all([int(await shared.redis.get(key) or 0) == generation for key in keys])


def relays_of(shared):
    return [Relay(shared, lane) for lane in range(shared.lanes)]


async def relanes(town, lanes):
    """The town with another number of lanes, and its relays."""
    town.shared = replace(town.shared, lanes=lanes)
    async with town.database.transaction() as connection:
        await prepare_lanes(connection, lanes, town.clock.real_now())
    return relays_of(town.shared)


async def lane_state(shared, *, every=False):
    """The row of the first lane, or of every lane."""
    rows = await shared.database.pool.fetch("SELECT * FROM relay_lanes ORDER BY lane")
    return rows if every else rows[0]


_SETTLED = """
SELECT CASE WHEN bool_and(wanted = generation AND applied = positioned)
    AND NOT EXISTS (SELECT FROM outbox WHERE position IS NULL) THEN max(generation) ELSE -1 END
FROM relay_lanes"""
