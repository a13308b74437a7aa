"""All that can be ordered of one person's book, in any order, while the clock moves.

After each step the stored book, bubbles, stock and first answers are what a plain model says, the
audit is clean, and whatever was refused has changed no row.
"""

import asyncio
import json
import uuid
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import pytest
from hypothesis import Phase
from hypothesis import settings as lives
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from service.audit.audit import audit
from service.ledger.accounts import Account
from service.platform.database import open_database
from tests.callers import advance, sign_in
from tests.ledger.histories import expire
from tests.ledger.model import Kept, Made, Model
from tests.ledger.stored import posted, stored
from tests.people import served, walk
from tests.planting.forestry import open_project

PRICE_G, CAPACITY = 40, 6
NUMBERS = st.integers(0, 30)
KEYED = st.booleans()


EARNED = [("record", 9_000, True), ("wait", 40), ("collect_all", True)]
OPENINGS = {
    "nothing": [],
    "most is pledged": [*EARNED, ("pledge", 4), ("record", 9_000, True)],
    # What was pledged was taken back; a gift repays some of it.
    "a debt": [*EARNED, ("pledge", 4), ("reverse", 0, True), ("adjust", 60, True)],
    "a pledge taken back": [*EARNED, ("pledge", 3), ("cancel", 0, True), ("cancel", 0, True)],
    # Nobody collected in time, and no sweep saw it.
    "a bubble past its time": [("record", 9_000, True), ("wait", 120), ("collect", 0, True)],
}


class World:
    """The served application in a loop of its own, which runs while a rule waits for it."""

    def __init__(self, settings):
        self.loop, self.open = asyncio.new_event_loop(), AsyncExitStack()
        self.settings = settings

    def __enter__(self):
        self.run(self.start())
        return self

    async def start(self):
        self.client = await self.open.enter_async_context(served(self.settings))
        self.database = await open_database(self.settings, self.settings.database_url)
        self.open.push_async_callback(self.database.close)
        self.operator = await sign_in(self.client, "olga", "operator")

    def run(self, effect):
        return self.loop.run_until_complete(effect)

    def __exit__(self, *_):
        self.run(self.open.aclose())
        self.loop.close()


class Life(RuleBasedStateMachine):
    """One person's life in the application and in the model."""

    def __init__(self, world, opening):
        super().__init__()
        self.world, self.opening, self.model = world, opening, Model()
        self.actions, self.pledges, self.kept = [], [], []
        # Whatever the hour, the same steps are the same life.
        noon = (self.now() + timedelta(days=1)).replace(hour=4, minute=0, second=0, microsecond=0)
        self.run(world.client.post("/v1/dev/clock", json={"now": noon.isoformat()}))
        self.person = self.run(sign_in(world.client, uuid.uuid4().hex))
        opened = open_project(world.database, price_g=PRICE_G, capacity=CAPACITY)
        self.project = self.run(opened)

    def run(self, effect):
        return self.world.run(effect)

    @property
    def trees(self):
        """How many are promised."""
        return sum(pledge.trees for pledge in self.pledges if not pledge.is_cancelled)

    def now(self):
        told = self.run(self.world.client.get("/v1/dev/clock")).json()
        return datetime.fromisoformat(told["now"])

    def order(self, path, body=None, *, keyed, due, by=None):
        """Send it. It must be answered with this status, or the conflict of this code."""
        caller, key = by or self.person, uuid.uuid4().hex if keyed else None
        before = self.rows() if isinstance(due, str) else None
        answer = self.run(caller.post(path, body, key=key))
        told = answer.json()
        if before:
            assert (answer.status_code, told["code"]) == (409, due)
            assert self.rows() == before
        else:
            assert answer.status_code == due, answer.text
        if key:
            status = answer.status_code
            self.kept.append(Kept(caller, path, body, key, status, answer.content))
        return told

    @initialize()
    def begin(self):
        for name, *values in self.opening:
            getattr(self, name)(*values)

    @rule(steps=st.integers(100, 9_000), keyed=KEYED)
    def record(self, steps, keyed):
        attributes = {"steps": steps, "distance_km": steps * 0.0007}
        body = walk(occurred_at=self.now().isoformat(), attributes=attributes)
        told = self.order("/v1/me/actions", body, keyed=keyed, due=201)
        bubble = told["bubble"] or {"energy_g": 0}
        assert bubble["energy_g"] == told["energy_g"]
        ends = [bubble.get(end) for end in ("ripens_at", "expires_at")]
        times = [at and datetime.fromisoformat(at) for at in ends]
        self.model.award(told["energy_g"], told["saved_g"], *times)
        self.actions.append(told["id"])

    @rule(number=NUMBERS, keyed=KEYED)
    def collect(self, number, keyed):
        found = [n for n, bubble in enumerate(self.model.bubbles) if bubble.energy_g]
        if not found:
            return
        number = found[number % len(found)]
        bubble, now, due = self.model.bubbles[number], self.now(), 200
        if bubble.held == "expired" or (bubble.held == "bubble" and bubble.is_over(now)):
            due = "bubble-expired"
        elif bubble.held != "bubble":
            due = "bubble-empty"
        elif not bubble.is_ripe(now):
            due = "bubble-not-ripe"
        path = f"/v1/me/bubbles/{self.actions[number]}/collect"
        told = self.order(path, keyed=keyed, due=due)
        if due == 200:
            assert told["collected_g"] == bubble.energy_g
            self.model.collect(bubble)

    @rule(keyed=KEYED)
    def collect_all(self, keyed):
        now = self.now()
        told = self.order("/v1/me/bubbles/collect", keyed=keyed, due=200)
        assert told["collected_g"] == self.model.collect_all(now)

    @rule(trees=st.integers(1, 4))
    def pledge(self, trees):
        due = 201
        if trees > CAPACITY - self.trees:
            due = "sold-out"
        elif self.model.available_g < PRICE_G * trees:
            due = "insufficient-energy"
        body = {"project_id": str(self.project), "trees": trees}
        told = self.order("/v1/me/pledges", body, keyed=True, due=due)
        if due == 201:
            self.pledges.append(Made(told["id"], trees))
            self.model.pledge(PRICE_G * trees)

    @rule(number=NUMBERS, keyed=KEYED)
    def cancel(self, number, keyed):
        if not self.pledges:
            return
        pledge = self.pledges[number % len(self.pledges)]
        due = "pledge-not-cancellable" if pledge.is_cancelled else 200
        self.order(f"/v1/me/pledges/{pledge.id}/cancel", keyed=keyed, due=due)
        if due == 200:
            pledge.is_cancelled = True
            self.model.cancel(PRICE_G * pledge.trees)

    @rule(amount_g=st.integers(-200, 300).filter(bool), keyed=KEYED)
    def adjust(self, amount_g, keyed):
        due = "insufficient-energy" if self.model.available_g < -amount_g else 201
        path = f"/v1/operator/participants/{self.person.participant_id}/adjustments"
        body = {"amount_g": amount_g, "reason": "a correction"}
        self.order(path, body, keyed=keyed, due=due, by=self.world.operator)
        if due == 201:
            self.model.adjust(amount_g)

    @rule(number=NUMBERS, keyed=KEYED)
    def reverse(self, number, keyed):
        if not self.actions:
            return
        number %= len(self.actions)
        bubble = self.model.bubbles[number]
        due = "already-reversed" if bubble.is_reversed else 200
        path = f"/v1/operator/actions/{self.actions[number]}/reverse"
        self.order(path, {"reason": "wrong"}, keyed=keyed, due=due, by=self.world.operator)
        if due == 200:
            self.model.reverse(bubble)

    @rule(hours=st.integers(6, 120))
    def wait(self, hours):
        self.run(advance(self.world.client, hours=hours))

    @rule()
    def sweep(self):
        now = self.now()
        self.run(expire(self.world.database, now))
        self.model.expire(now)

    @rule(number=NUMBERS)
    def repeat(self, number):
        """The same bytes with the same key: the first answer, whatever happened since."""
        if not self.kept:
            return
        kept = self.kept[number % len(self.kept)]
        before = self.rows()
        again = self.run(kept.caller.post(kept.path, kept.body, key=kept.key))
        assert again.headers["idempotency-replayed"] == "true"
        if kept.records:
            # It is told as it stands now.
            first, now = json.loads(kept.content), again.json()
            changed = {"status", "reversal"}
            assert again.status_code == 200
            assert {k: v for k, v in now.items() if k not in changed} == {
                k: v for k, v in first.items() if k not in changed
            }
        else:
            assert (again.status_code, again.content) == (kept.status, kept.content)
        assert self.rows() == before

    @rule(number=NUMBERS)
    def use_again(self, number):
        """Other bytes with the same key."""
        if not self.kept:
            return
        kept = self.kept[number % len(self.kept)]
        before = self.rows()
        answer = self.run(kept.caller.post(kept.path, kept.other_body(), key=kept.key))
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
        assert self.rows() == before

    def rows(self):
        """All that is stored of the person but first answers."""
        return self.run(stored(self.world.database.pool, self.person.participant_id))

    @invariant()
    def is_as_the_model_says(self):
        self.run(self.agrees())

    async def agrees(self):
        pool, me = self.world.database.pool, self.person.participant_id
        book = await pool.fetchrow("SELECT * FROM books WHERE participant_id = $1", me)
        assert {name: book[name] for name in self.model.accounts} == self.model.accounts
        assert book["trees"] == self.trees
        assert await posted(pool, me) == ({a: book[a.column] for a in Account}, book["seq"])
        found = await pool.fetch("SELECT * FROM bubbles WHERE participant_id = $1", me)
        assert {str(row["id"]): (row["remaining_g"], row["expired_g"]) for row in found} == {
            id_: (b.energy_g * (b.held == "bubble"), b.energy_g * (b.held == "expired"))
            for id_, b in zip(self.actions, self.model.bubbles, strict=True)
            if b.energy_g
        }
        promised = "SELECT pledged FROM stock WHERE project_id = $1"
        assert await pool.fetchval(promised, self.project) == self.trees
        first = {(k.key, k.status, k.content) for k in self.kept if not k.records}
        kept = await pool.fetch(_KEPT, me, [key for key, _, _ in first])
        assert {tuple(row) for row in kept} == first

    def teardown(self):
        me, now = self.person.participant_id, self.now()
        report = self.run(audit(self.world.database, mode="full", now=now, participant_id=me))
        assert report.differences == []


# Those of operators may be theirs alone.
_KEPT = """
SELECT key, status, body FROM idempotency_keys WHERE participant_id = $1 OR key = ANY($2::text[])"""


@pytest.fixture(scope="module")
def world(settings):
    with World(settings) as made:
        yield made


@pytest.mark.parametrize("opening", OPENINGS)
def test_orders_in_any_order_are_as_the_model_says(world, opening):
    # Without shrinking: each try is a life in a real database, the time for a test would end.
    phases = [Phase.explicit, Phase.reuse, Phase.generate]
    few = lives(max_examples=7, stateful_step_count=20, phases=phases)
    run_state_machine_as_test(lambda: Life(world, OPENINGS[opening]), settings=few)
