"""The lanes: whatever moves grams joins the orders of a moment into one transaction a lane.

While a lane's transaction runs, newcomers gather and form the next batch, so batches grow with the
load and nobody waits for a timer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog

from service.http.access import Request
from service.http.answer import JsonAnswer, answered
from service.http.idempotency import KeyInProgressError, KeyRow
from service.http.shared import shared
from service.ledger.books import BookBusyError
from service.ledger.orders import Batch, Order, Outcome, RequestOrder
from service.ledger.refusals import MaybeStoredError, NotRecordedError, QueueFullError, fault_of
from service.platform.clock import Clock
from service.platform.database import PATIENT_AT_ONCE, Database, has_stored, is_passing
from service.platform.errors import SaxaulError
from service.platform.metrics import ACTIONS_WAITING, BATCH_ACTIONS
from service.platform.outbox import lane_of
from service.platform.settings import Settings
from service.rules.decide.rulebook import Rulebook

_log = structlog.get_logger()

ROUNDS_MAX = 5
WEIGHT_MAX = 2_000
HELD_MAX_S = 0.5
PATIENT_MAX_S = 5
SLOW_MAX_S = 30
TRIES_MAX = 3
RETRY_PAUSE_S = 0.05


@dataclass(slots=True, eq=False)
class _Waiting:
    order: Order
    future: asyncio.Future[Outcome]
    since: float
    rounds: int = 0


class Lanes:
    """One queue and one loop a lane; orders of the same people are settled as they came."""

    def __init__(
        self, database: Database, clock: Clock, active: Callable[[], Rulebook], settings: Settings
    ) -> None:
        """`active` gives the rules of the moment. `start` before the first order, `stop` behind."""
        self.database = database
        self.clock = clock
        self.active = active
        self.settings = settings
        self.secret = settings.secret_key.encode()
        self.lanes = [_Lane(self, lane) for lane in range(settings.lanes)]
        self.ended: set[tuple[int, str]] = set()
        self.waiting = 0
        self.stopping = False
        self.running: dict[KeyRow, _Waiting] = {}
        self.patient = asyncio.Semaphore(PATIENT_AT_ONCE)
        # Asked for once: each time it is a call of the system.
        self.loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to serve all lanes."""
        for lane in self.lanes:
            lane.task = asyncio.create_task(lane.serve(), name=f"lane-{lane.number}")

    async def stop(self) -> None:
        """Settle what waits, then end."""
        self.stopping = True
        for lane in self.lanes:
            lane.wake.set()
        await asyncio.gather(*(lane.task for lane in self.lanes if lane.task))

    def submit(self, order: Order) -> asyncio.Future[Outcome]:
        """Queue an order. The future ends with what was decided, or with a SaxaulError.

        Raises QueueFullError.
        """
        if self.waiting >= self.settings.queue_max or self.stopping:
            raise QueueFullError
        entry = _Waiting(order, self.loop.create_future(), self.loop.time())
        has_stored.set(True)
        self.waiting += 1
        if isinstance(order, RequestOrder) and order.key is not None:
            self.running.setdefault(order.key.row, entry)
        lane = self.lanes[lane_of(order.participant_id, len(self.lanes))]
        queue = lane.aside.get(order.people) if lane.aside else None
        (lane.queue if queue is None else queue).append(entry)
        lane.wake.set()
        return entry.future

    def batch(self) -> Batch:
        """A new transaction, by the rules of this moment."""
        return Batch(
            self.active(),
            self.clock.now(),
            secret=self.secret,
            lanes=len(self.lanes),
            real_now=self.clock.real_now(),
            ended=self.ended,
        )

    def close(self, entry: _Waiting, outcome: Outcome) -> None:
        """Answer the caller, unless it went away; what it ordered stays booked."""
        self.waiting -= 1
        order = entry.order
        if isinstance(order, RequestOrder) and order.key is not None:
            if self.running.get(order.key.row) is entry:
                del self.running[order.key.row]
            elif isinstance(outcome, BookBusyError):
                outcome = KeyInProgressError(order.key.key)
        if entry.future.done():
            return
        if isinstance(outcome, SaxaulError):
            entry.future.set_exception(outcome)
        else:
            entry.future.set_result(outcome)


class _Lane:
    """The queue of the people whose ids hash to this lane."""

    def __init__(self, lanes: Lanes, number: int) -> None:
        self.lanes = lanes
        self.number = number
        self.queue: deque[_Waiting] = deque()
        self.aside: dict[tuple[UUID, ...], deque[_Waiting]] = {}
        """What waits for books that somebody holds, by whose they are."""
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Commit batch after batch until stopped and empty."""
        while self.queue or not self.lanes.stopping:
            if not self.queue:
                self.wake.clear()
                await self.wake.wait()
                continue
            if entries := self._next(self.queue):
                await self._settle(entries)
        while self.tasks:
            await asyncio.gather(*self.tasks)

    def _next(self, queue: deque[_Waiting]) -> list[_Waiting]:
        """The next batch: as many as came, of bounded number and weight, and of kinds that mix.

        What comes behind an order that was set aside joins it there.
        """
        batch: list[_Waiting] = []
        left = WEIGHT_MAX
        while queue and len(batch) < self.lanes.settings.batch_max:
            order = queue[0].order
            if self.aside and queue is self.queue and order.people in self.aside:
                self.aside[order.people].append(queue.popleft())
                continue
            left -= order.weight
            if batch and (left < 0 or not _mix(batch[0].order, order)):
                break
            batch.append(queue.popleft())
        return batch

    async def _settle(self, entries: Sequence[_Waiting], *, wait: bool = False) -> None:
        """Settle a batch. What passes by itself undid all of it: it is run again, re-reading all.

        Ids and keys are the same each time, so a COMMIT whose answer was lost shows as stored.
        """
        refusal = NotRecordedError()
        for attempt in range(1, TRIES_MAX + 1):
            batch, orders = self.lanes.batch(), [entry.order for entry in entries]
            try:
                outcomes = await batch.settle(self.lanes.database, orders, wait=wait)
            except Exception as error:  # noqa: BLE001 - halving finds the culprit, the rest is booked
                is_slow = isinstance(error, asyncpg.QueryCanceledError) and len(entries) > 1
                if is_slow or not is_passing(error):
                    return await self._halve(entries, error, wait=wait)
                _log.warning("batch is run again", attempt=attempt, error=repr(error))
                entries, refusal.__cause__ = self._leave_out(entries, batch, error), error
            else:
                return self._answer(entries, outcomes)
            if not entries:
                return None
            await asyncio.sleep(RETRY_PAUSE_S * attempt)
        return self._refuse(entries, refusal)

    def _leave_out(
        self, entries: Sequence[_Waiting], batch: Batch, error: Exception
    ) -> list[_Waiting]:
        """Answer what must not be run again: what may be booked and would not show, or is held."""
        is_held = isinstance(error, asyncpg.LockNotAvailableError)
        left = []
        for entry in entries:
            may_be_booked = batch.is_written and entry.order.participant_id in batch.books
            if may_be_booked and not entry.order.is_repeatable:
                self.lanes.close(entry, MaybeStoredError())
            elif is_held and entry.order in batch.locking:
                self.lanes.close(entry, BookBusyError(entry.order.participant_id))
            else:
                left.append(entry)
        return left

    async def _halve(self, entries: Sequence[_Waiting], error: Exception, *, wait: bool) -> None:
        """Settle each half, until the culprit stands alone, or is slow for too long to go on."""
        if len(entries) == 1:
            (entry,) = entries
            _log.error("order_failed", order=type(entry.order).__name__, exc_info=error)
            self.lanes.close(entry, fault_of(entry.order, error))
        elif is_passing(error) and self._waited_s(entries[0]) > SLOW_MAX_S:
            self._refuse(entries, NotRecordedError())
        else:
            middle = len(entries) // 2
            await self._settle(entries[:middle], wait=wait)
            await self._settle(entries[middle:], wait=wait)

    def _answer(self, entries: Sequence[_Waiting], outcomes: dict[Order, Outcome]) -> None:
        """Close what was decided; what was left out goes first next time, or waits on its own.

        What needs the book of somebody else as well is no matter of this lane alone.
        """
        BATCH_ACTIONS.observe(len(entries))
        held = []
        for entry in entries:
            outcome = outcomes.get(entry.order)
            if outcome is not None:
                self.lanes.close(entry, outcome)
                continue
            entry.rounds, people = entry.rounds + 1, entry.order.people
            waited_s = self._waited_s(entry)
            is_tired = waited_s > HELD_MAX_S or entry.rounds >= ROUNDS_MAX
            if waited_s > PATIENT_MAX_S:
                self.lanes.close(entry, BookBusyError(entry.order.participant_id))
            elif is_tired or len(people) > 1 or people in self.aside:
                self._set_aside(entry)
            else:
                held.append(entry)
        self.queue.extendleft(reversed(held))
        self.wake.set()
        ACTIONS_WAITING.set(self.lanes.waiting)

    def _set_aside(self, entry: _Waiting) -> None:
        """Let it wait for its books; what these people order meanwhile comes behind it."""
        people = entry.order.people
        if people not in self.aside:
            self.aside[people] = deque()
            task = asyncio.create_task(self._wait_for_books(people))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        self.aside[people].append(entry)

    async def _wait_for_books(self, people: tuple[UUID, ...]) -> None:
        """Transactions of their own, which wait for the books: the lane goes on meanwhile."""
        queue = self.aside[people]
        while queue:
            # Left again after each: it may wait for what somebody else wants to settle here.
            async with self.lanes.patient:
                entries = self._next(queue)
                is_late = self._waited_s(entries[0]) > PATIENT_MAX_S
                await self._settle(entries, wait=not is_late)
        del self.aside[people]

    def _waited_s(self, entry: _Waiting) -> float:
        return self.lanes.loop.time() - entry.since

    def _refuse(self, entries: Sequence[_Waiting], error: SaxaulError) -> None:
        for entry in entries:
            self.lanes.close(entry, error)


async def answer_order(request: Request, order: RequestOrder) -> JsonAnswer:
    """What is answered to the request that this order came as. Raises the error that refused it."""
    return answered(await shared(request, Lanes).submit(order))


def _mix(one: Order, other: Order) -> bool:
    """Whether these may be in one batch."""
    return one.work is other.work or (one.work.mixes and other.work.mixes)
