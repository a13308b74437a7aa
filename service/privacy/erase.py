"""Erasure: a person is forgotten, the ledger keeps a nameless book.

The book closes first, under its lock: whatever waits for it finds it closed. Energy that is still
in it stays there, and its bubbles expire as everybody's. Transfers, awards and claims stay too:
they name a random id that leads nowhere any more.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import MetaData

from service.http.auth import tell_forgotten
from service.leaderboards.forget import forget_write
from service.ledger.books import close_write
from service.ledger.lanes import Lanes
from service.ledger.orders import Order, Work
from service.platform.database import Connection, Database, Write, row_count
from service.platform.outbox import lane_of
from service.tables import metadata

ATTRIBUTES_MAX = 2_000
_PAGE = 1_000


class Erasing(Work):
    """Closes books and forgets whose they are; attributes of actions go in parts behind it."""

    rank = 3
    mixes = False

    async def read(self, _connection: Connection, _orders: Sequence["EraseOrder"]) -> None:
        """The book says it all."""
        self._closed: dict[UUID, datetime] = {}

    def decide(self, order: "EraseOrder") -> bool:
        """Forget this person, suspended or not; False when that was done."""
        book = self.batch.books[order.participant_id]
        if book.closed:
            return False
        book.closed = True
        self._closed[book.participant_id] = book.tick(self.batch.now)
        return True

    async def finish(self, connection: Connection) -> list[Write]:
        """Empty the tables of persons, and tell the boards and all processes to forget."""
        writes: list[Write] = []
        for owner, at in self._closed.items():
            lane = lane_of(owner, self.batch.lanes)
            day = self.batch.rulebook.program.local_date(at)
            writes += [Write(text, (owner,)) for text in erasing_texts(metadata)]
            writes += [close_write(owner, at), Write(_NOTE, (owner, at))]
            writes.append(await forget_write(connection, owner, lane, at, day))
            await tell_forgotten(connection, owner)
        return writes


class EraseOrder(Order):
    """Forgets somebody."""

    work = Erasing

    @property
    def weight(self) -> int:
        """Rows of many tables, and what finds them."""
        return 200


async def erase_participant(lanes: Lanes, participant_id: UUID) -> bool:
    """Forget this person; False when that was done. Raises BookMissingError."""
    is_new: bool = await lanes.submit(EraseOrder(participant_id))
    # Whoever did it may have been killed, and COMMIT may have got no answer.
    is_finished = False
    while not is_finished:
        async with lanes.database.transaction() as connection:
            now = lanes.clock.now()
            is_finished = await _erase_attributes(connection, participant_id, now)
    return is_new


def erasing_texts(of: MetaData) -> list[str]:
    """What erasure does to each table of persons, as the tables tell it themselves."""

    def place(name: str) -> tuple[int, str]:
        return _ORDER.index(name) if name in _ORDER else len(_ORDER), name

    return [
        text.replace("{table}", name)
        for name in sorted(of.tables, key=place)
        for text in of.tables[name].info.get("on_erasure", ())
    ]


async def finish_erasures(database: Database, now: datetime) -> int:
    """Erase attributes that a crash left behind; how many people were finished."""
    finished = 0
    while True:
        async with database.transaction() as connection:
            participant_id = await connection.fetchval(_UNFINISHED)
            if participant_id is None:
                return finished
            finished += await _erase_attributes(connection, participant_id, now)


async def list_erasures(database: Database) -> AsyncIterator[tuple[UUID, datetime]]:
    """Who was erased and when, read page by page in the order of ids."""
    after = UUID(int=0)
    while True:
        rows = await database.pool.fetch(_ERASED, after, _PAGE)
        for row in rows:
            yield row[0], row[1]
        if len(rows) < _PAGE:
            return
        after = rows[-1][0]


async def _erase_attributes(connection: Connection, participant_id: UUID, now: datetime) -> bool:
    """Set the next attributes to null; True when none are left. The book is closed already."""
    status = await connection.execute(_ATTRIBUTES, participant_id, ATTRIBUTES_MAX)
    if row_count(status) == ATTRIBUTES_MAX:
        return False
    await connection.execute(_FINISH, participant_id, now)
    return True


# Rows are locked in this order; tables that are not named here follow, by name.
_ORDER = (
    "identities", "participants", "idempotency_keys", "counters", "pledges", "partner_events",
    "links", "link_codes",
)  # fmt: skip

_NOTE = """
INSERT INTO erasures (participant_id, erased_at) VALUES ($1, $2) ON CONFLICT DO NOTHING"""

_ERASED = """
SELECT participant_id, erased_at FROM erasures
WHERE participant_id > $1 ORDER BY participant_id LIMIT $2"""

_UNFINISHED = """
SELECT participant_id FROM erasures WHERE finished_at IS NULL
ORDER BY erased_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"""

# The append-only trigger lets through exactly this change.
_ATTRIBUTES = """
UPDATE actions SET attributes = NULL
WHERE participant_id = $1 AND id IN (
    SELECT id FROM actions WHERE participant_id = $1 AND attributes IS NOT NULL LIMIT $2)"""

_FINISH = """
UPDATE erasures SET finished_at = $2 WHERE participant_id = $1 AND finished_at IS NULL"""
