"""Erasure beside everything that moves grams: whoever comes behind it moves nothing of theirs."""

import asyncio
import random
import uuid
from functools import partial

import pytest

from service.audit.audit import audit
from service.audit.checks import COMPARES
from service.ledger.books import lock_books
from service.platform.clock import Clock
from tests.callers import Caller
from tests.ledger.kinds import make_rich, orders_of
from tests.partners.sender import linked_person, make_sender
from tests.people import client_of, running_app
from tests.planting.forestry import until_somebody_waits
from tests.privacy.rows import LEDGER, rows_of

# How each may be answered: by the book as it was, by the closed one (503; 409 to operators), or by
# that of the newcomer whom the token leads to afterwards.
LATE = {(503, "unavailable")}
DOCUMENTED = {
    "record": {(201, None)} | LATE,
    "collect one": {(200, None), (409, "bubble-empty"), (404, "not-found")} | LATE,
    "collect all": {(200, None)} | LATE,
    "pledge": {(201, None), (409, "insufficient-energy")} | LATE,
    "cancel": {(200, None), (409, "pledge-not-cancellable"), (404, "not-found")} | LATE,
    "adjust": {(201, None), (409, "conflict")} | LATE,
    "reverse": {(200, None), (409, "already-reversed"), (409, "conflict")} | LATE,
    "erase": {(204, None)} | LATE,
    "event": {"accepted", "parked"},
}


@pytest.fixture
async def other_client(settings, client):
    """A client of a second process on the same servers."""
    async with running_app(settings) as running, client_of(running) as made:
        yield made


class Leaver:
    """Somebody whom a partner knows, and all that is asked at once of their book."""

    def __init__(self, rich, orders, metro, card):
        self.id, self.headers = rich.caller.participant_id, rich.caller.headers
        self.orders, self.metro = orders, metro
        self.events = [metro.event(card) for _ in range(6)]
        self.action = rich.bubbles[0]

    def calls(self, client, operator):
        """At this process, with new keys: what is asked, and the asking."""
        person = Caller(client, self.headers)
        for kind, order in self.orders.items():
            yield kind, partial(order.send, person, operator, uuid.uuid4().hex)
        path, body = f"/v1/operator/actions/{self.action}/reverse", {"reason": "wrong"}
        yield "reverse", partial(operator.post, path, body)
        yield "erase", partial(person.delete, "/v1/me")

    def events_sent(self):
        for event in self.events:
            yield "event", partial(self._send, event)

    async def _send(self, event):
        """As partners do: again, while something was held for too long."""
        while (answer := await self.metro.post([event])).status_code == 503:
            assert answer.headers["retry-after"]
        return answer.json()["results"][0]


@pytest.fixture
async def leavers(client, operator, database):
    """Ten people with energy, trees and a partner."""
    metro = await make_sender(operator, f"metro-{uuid.uuid4().hex[:8]}")
    cards = [f"card-{n}" for n in range(10)]

    async def make(_client, card):
        return await linked_person(metro, card)

    people, project = await make_rich(database, client, cards, make)
    return [
        Leaver(rich, await orders_of(client, rich, project), metro, card)
        for rich, card in zip(people, cards, strict=True)
    ]


@pytest.fixture
def all_at_once(leavers, client, other_client, operator):
    """Ask everything of everybody at both processes: how each kind was answered."""
    operators = [Caller(at, operator.headers) for at in (client, other_client)]
    chance = random.Random(7)

    async def run():
        calls = []
        for leaver in leavers:
            mine = [*leaver.events_sent()]
            for by in operators:
                mine += leaver.calls(by.client, by)
            calls += chance.sample(mine, len(mine))
        answers = await asyncio.gather(*[ask() for _, ask in calls])
        seen = {}
        for (kind, _), answer in zip(calls, answers, strict=True):
            seen.setdefault(kind, set()).add(told(kind, answer))
        return seen

    return run


def told(kind, answer):
    """A partner is told what became of the event; everybody else a status and perhaps a code."""
    if kind == "event":
        return answer["status"]
    if answer.status_code == 503:
        assert answer.headers["retry-after"]
    is_refused = answer.status_code >= 400
    return answer.status_code, answer.json()["code"] if is_refused else None


@pytest.mark.parametrize("held", [False, True])
async def test_what_comes_behind_an_erasure_moves_nothing(database, leavers, all_at_once, held):
    """`held`: all of it waits for the books first."""
    ids = [leaver.id for leaver in leavers]
    async with database.transaction() as holder:
        if held:
            await lock_books(holder, ids)
        running = asyncio.create_task(all_at_once())
        if held:
            await until_somebody_waits(database, running)
    seen = await running
    for kind, outcomes in seen.items():
        assert outcomes <= DOCUMENTED[kind], kind
    # Some came before the erasure of theirs, some behind it.
    assert {(201, None), (409, "conflict")} <= seen["adjust"]
    books = await database.pool.fetch(_BOOKS, ids)
    assert [book["closed"] for book in books] == [True] * len(ids)
    assert await database.pool.fetch(_LATE) == []
    for owner in ids:
        assert set(await rows_of(database, owner)) <= LEDGER | {"claims", "partner_events"}
    # The tokens lead to newcomers, who are erased as well.
    await all_at_once()
    assert await database.pool.fetch(_BOOKS, ids) == books
    clock = Clock()
    async with database.pool.acquire() as connection:
        await clock.refresh(connection)
    report = await audit(database, mode="full", now=clock.now(), more=COMPARES)
    assert report.differences == []


_BOOKS = "SELECT * FROM books WHERE participant_id = ANY($1::uuid[]) ORDER BY participant_id"

_LATE = """
SELECT t.* FROM transfers t JOIN erasures e USING (participant_id) WHERE t.at > e.erased_at"""
