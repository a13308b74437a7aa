"""One door for grams: an order says whose books it moves, and is decided under their locks.

A batch of mixed orders is one transaction of a constant number of statements: lock the books; read
what decides; lock campaigns' budgets and projects' stock, if any are wanted; write everything.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from service.http.idempotency import (
    Answer,
    Key,
    KeyReusedError,
    KeyRow,
    keep_answers,
    read_answers,
)
from service.http.problems import problem_body
from service.ledger.books import Book, BookMissingError, book_writes, lock_books, lock_free_books
from service.platform.acts import Act, act_writes
from service.platform.database import Connection, Database, Write, write_all
from service.platform.errors import ConflictError, SaxaulError
from service.platform.outbox import lane_of, outbox_write
from service.rules.decide.rulebook import Rulebook


class Order(Struct, eq=False):
    """What shall move in somebody's book. `work` decides all of its kind in a batch."""

    work: ClassVar[type["Work"]]
    participant_id: UUID

    @property
    def people(self) -> tuple[UUID, ...]:
        """Whose books are locked for it; its own comes first."""
        return (self.participant_id,)

    @property
    def is_repeatable(self) -> bool:
        """Whether it does nothing more when it is settled again after it was booked."""
        return True

    @property
    def weight(self) -> int:
        """About how many rows it writes, in those of a recorded action."""
        return 1


class RequestOrder(Order, kw_only=True):
    """An order that is answered with JSON: `tell` says it of what was decided.

    With a key, the answer is kept and given again to the same request.
    """

    key: Key | None
    tell: Callable[[Any], Struct]
    status: int = 200

    @property
    def is_repeatable(self) -> bool:
        """Its key is what tells that it was booked."""
        return self.key is not None


Outcome = Any
"""What was decided, for a RequestOrder an Answer, or the SaxaulError that refused it."""


class Batch:
    """One transaction of a lane: the locked books, and what will be written of them."""

    def __init__(
        self,
        rulebook: Rulebook,
        now: datetime,
        *,
        secret: bytes,
        lanes: int = 1,
        real_now: datetime | None = None,
        ended: set[tuple[int, str]] | None = None,
    ) -> None:
        """`secret` hides what claims and limits name, and never changes.

        `ended` are the campaigns that this process knows as used up, by version of the rules.
        """
        self.rulebook = rulebook
        self.now = now
        self.real_now = real_now or now
        self.secret = secret
        self.lanes = lanes
        self.ended: set[tuple[int, str]] = set() if ended is None else ended
        self.books: dict[UUID, Book] = {}
        self.is_written = False
        """Whether all was sent but COMMIT, so that it may be stored when that fails."""
        self.locking: Sequence[Order] = ()
        """The orders for which something is locked at this moment that others may hold.

        Works tell it more closely where they lock for some of theirs only.
        """
        self._acted: list[tuple[Order, tuple[Act, str, UUID, dict[str, Any]]]] = []
        self._changed: dict[UUID, Book] = {}
        self._day_of = cache(lambda at: rulebook.program.local_date(at).isoformat())
        self._told: dict[str, dict[tuple[UUID, str, str], int]] = defaultdict(
            partial(defaultdict, int)
        )

    def change(self, participant_id: UUID) -> None:
        """This book is written back."""
        self._changed[participant_id] = self.books[participant_id]

    def tell(self, at: datetime, owner: UUID, board: str, change: int, region: str) -> None:
        """Let a board learn what was booked at this time; the region is that of what counts."""
        self._told[self._day_of(at)][owner, board, region] += change

    def log(self, order: Order, by: Act, act: str, object_id: UUID, detail: dict[str, Any]) -> None:
        """Let the log of acts tell what an operator did with this order."""
        self._acted.append((order, (by, act, object_id, detail)))

    async def settle(
        self, database: Database, orders: Sequence[Order], *, wait: bool = False
    ) -> dict[Order, Outcome]:
        """Run them in a transaction of their own.

        Raises whatever the database raises: then nothing is stored, or all is when `is_written`,
        because COMMIT got no answer.
        """
        async with database.lane_transaction() as connection:
            outcomes = await self.run(connection, orders, wait=wait)
            self.is_written = True
        return outcomes

    async def run(
        self, connection: Connection, orders: Sequence[Order], *, wait: bool = False
    ) -> dict[Order, Outcome]:
        """Decide these orders of one lane; each gets its own outcome, a bad one harms no other.

        Orders whose books somebody else holds are left out of the answer, unless `wait` is set, and
        so is what rests on how another transaction ends.
        """
        self.locking = orders
        kinds: dict[type[Work], list[Order]] = defaultdict(list)
        for order in orders:
            kinds[order.work].append(order)
        works = {kind: kind(self, kinds[kind]) for kind in sorted(kinds, key=lambda k: k.rank)}
        people = {owner for order in orders for owner in order.people}
        self.books = await (lock_books if wait else lock_free_books)(connection, people)
        ready = [o for o in orders if o.participant_id in self.books or not o.people]
        outcomes: dict[Order, Outcome] = {}
        if wait:
            missing = {*orders}.difference(ready)
            outcomes = {order: BookMissingError(order.participant_id) for order in missing}
        return outcomes | await self._settle(connection, ready, works) if ready else outcomes

    async def _settle(
        self, connection: Connection, orders: Sequence[Order], works: dict[type["Work"], "Work"]
    ) -> dict[Order, Outcome]:
        answers = Answers(await read_answers(connection, keys_of(orders)), self.books)
        asked: list[Work] = []
        for kind, work in works.items():
            mine = [o for o in orders if o.work is kind and answers.given(o) is None]
            if mine:
                self.locking = mine
                await work.read(connection, mine)
                asked.append(work)
        outcomes: dict[Order, Outcome] = {}
        for order in orders:
            outcome = answers.given(order)
            if outcome is None:
                outcome = answers.keep(order, _decided(works[order.work], order))
            if outcome is not None:
                outcomes[order] = outcome
        self.locking = ()
        writes = [write for work in asked for write in await work.finish(connection)]
        if self._changed:
            writes += book_writes([*self._changed.values()])
        if answers.new:
            writes.append(keep_answers(answers.new, self.real_now))
        if self._acted:
            # One lock for all operators, so it is taken last.
            self.locking = [order for order, _ in self._acted]
            writes += await act_writes(connection, [acted for _, acted in self._acted])
            self.locking = ()
        await write_all(connection, [*writes, *self._outbox_writes()])
        return outcomes

    def _outbox_writes(self) -> list[Write]:
        """What boards are told, by lane: a partner's report may take from somebody of another."""
        rows: dict[tuple[int, str], list[tuple[UUID, str, int, str]]] = defaultdict(list)
        for day, told in self._told.items():
            for (owner, board, region), change in told.items():
                if change:
                    rows[lane_of(owner, self.lanes), day].append((owner, board, change, region))
        return [outbox_write(lane, self.now, day, sums) for (lane, day), sums in rows.items()]


class Work(ABC):
    """What the orders of one kind do in one batch. Those of a low rank lock first."""

    rank: ClassVar[int]
    mixes: ClassVar[bool] = True
    """Whether other kinds may be in its batch: not when it changes rows that they read."""

    def __init__(self, batch: Batch, _orders: Sequence[Any]) -> None:
        """Before the books are locked: whatever needs no lock."""
        self.batch = batch

    async def read(self, connection: Connection, orders: Sequence[Any]) -> None:  # noqa: B027
        """Read, and lock last, what decides on those of the orders whose books are locked.

        Nothing of these is decided before, nor finished without it.
        """

    @abstractmethod
    def decide(self, order: Any) -> Any:
        """What becomes of an order, in order of arrival; None when it must wait. Posts in memory.

        Raises a SaxaulError before anything was posted.
        """

    async def finish(self, _connection: Connection) -> list[Write]:
        """What is written beside the books."""
        return []


class Answers:
    """First answers to requests with keys: those that are kept, and those that this batch gives."""

    def __init__(
        self, kept: dict[KeyRow, tuple[bytes, Answer]], books: Mapping[UUID, Book]
    ) -> None:
        """`kept` with the fingerprints of their requests; `books` of who asks."""
        self._first = kept
        self._books = books
        self.new: list[tuple[Key, Answer]] = []

    def given(self, order: Order) -> Answer | SaxaulError | None:
        """The first answer to its key, if there was one."""
        if not self._first or not isinstance(order, RequestOrder) or order.key is None:
            return None
        fingerprint, answer = self._first.get(order.key.row, (b"", None))
        if answer is not None and fingerprint != order.key.fingerprint:
            return KeyReusedError(order.key.key)
        return answer

    def keep(self, order: Order, outcome: Outcome) -> Outcome:
        """The answer to a request. A conflict is one too: nothing was moved, and never will be.

        What an erasure would have to find is not kept of who is erased.
        """
        if outcome is None or not isinstance(order, RequestOrder):
            return outcome
        key, is_erased = order.key, self._books[order.participant_id].closed
        if not isinstance(outcome, SaxaulError):
            answer = Answer(order.status, msgspec.json.encode(order.tell(outcome)))
        elif key is not None and isinstance(outcome, ConflictError) and not is_erased:
            body = problem_body(outcome, key.reader)
            answer = Answer(outcome.status, body, reader=key.reader)
        else:
            return outcome
        if key is not None:
            self._first[key.row] = key.fingerprint, replace(answer, replayed=True)
            self.new.append((key, answer))
        return answer


def keys_of(orders: Iterable[Order]) -> list[Key]:
    """The keys of requests among these."""
    return [o.key for o in orders if isinstance(o, RequestOrder) and o.key is not None]


def _decided(work: Work, order: Order) -> Outcome:
    try:
        return work.decide(order)
    except SaxaulError as error:
        return error
