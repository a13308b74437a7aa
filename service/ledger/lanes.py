"""The lanes: whatever moves grams joins the orders of a moment into one transaction a lane.

While a lane's transaction runs, newcomers gather and form the next batch, so batches grow with the
load and nobody waits for a timer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg
import structlog

from service.http.access import Request
from service.http.answer import JsonAnswer, answered
from service.http.idempotency import KeyInProgressError, KeyRow
from service.http.shared import shared
from service.ledger.books import BookBusyError
from service.ledger.orders import Batch, Order, Outcome, RequestOrder
from service.platform.clock import Clock
from service.platform.database import PATIENT_AT_ONCE, Database, has_stored, is_passing
from service.platform.errors import SaxaulError, UnavailableError
from service.platform.metrics import ACTIONS_WAITING, BATCH_ACTIONS
from service.platform.outbox import lane_of
from service.platform.settings import Settings
from service.rules.decide.rulebook import Rulebook

_log = structlog.get_logger()

ROUNDS_MAX = 5
WEIGHT_MAX = 2_000
HELD_MAX_S = 0.5
TRIES_MAX = 3
RETRY_PAUSE_S = 0.05


class QueueFullError(UnavailableError):
    """More is waiting than the lanes may hold; nothing was stored."""

    text = "The service has more to record than it can hold; try again shortly."


class NotRecordedError(UnavailableError):
    """The database failed or did not say how it ended; sending it again is always safe."""

    text = "The action may not be stored; send it again with the same key."


class ActionFaultError(SaxaulError):
    """One order that neither we nor PostgreSQL could digest, found by halving its batch.

    `is_of_data`: PostgreSQL refused its values, and will whenever they come again.
    """

    code = "internal-error"
    text = "This action could not be recorded; it was logged for the operators."
    is_of_data: bool = False


@dataclass(slots=True, eq=False)
class _Waiting:
    order: Order
    future: asyncio.Future[Outcome]
    since: float
    rounds: int = 0


class Lanes:
    """One queue and one loop a lane; orders of a person are settled as they came."""

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
        for lane in self.lanes:
            lane.stopping = True
            lane.wake.set()
        await asyncio.gather(*(lane.task for lane in self.lanes if lane.task))

    def submit(self, order: Order) -> asyncio.Future[Outcome]:
        """Queue an order. The future ends with what was decided, or with a SaxaulError.

        Raises QueueFullError.
        """
        if self.waiting >= self.settings.queue_max:
            raise QueueFullError
        entry = _Waiting(order, self.loop.create_future(), self.loop.time())
        has_stored.set(True)
        self.waiting += 1
        if isinstance(order, RequestOrder) and order.key is not None:
            self.running.setdefault(order.key.row, entry)
        self.lanes[lane_of(order.participant_id, len(self.lanes))].add(entry)
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
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.aside: set[asyncio.Task[None]] = set()
        self.stopping = False

    def add(self, entry: _Waiting) -> None:
        self.queue.append(entry)
        self.wake.set()

    async def serve(self) -> None:
        """Commit batch after batch until stopped and empty."""
        while self.queue or not self.stopping:
            if not self.queue:
                self.wake.clear()
                await self.wake.wait()
                continue
            await self._settle(self._next())
        while self.aside:
            await asyncio.gather(*self.aside)

    def _next(self) -> list[_Waiting]:
        """The next batch: as many as came, of bounded number and weight, and of kinds that mix."""
        batch, left = [self.queue.popleft()], WEIGHT_MAX
        first = batch[0].order
        left -= first.weight
        while self.queue and len(batch) < self.lanes.settings.batch_max:
            head = self.queue[0].order
            left -= head.weight
            if left < 0 or not _mix(first, head):
                break
            batch.append(self.queue.popleft())
        return batch

    async def _settle(self, entries: Sequence[_Waiting], *, wait: bool = False) -> None:
        """Settle a batch. What fails with it is halved until the culprit stands alone."""
        try:
            outcomes = await self._settle_again(entries, wait=wait)
        except SaxaulError as error:
            for entry in entries:
                self.lanes.close(entry, error)
        except Exception as error:  # noqa: BLE001 - halving finds the culprit, the rest is booked
            if len(entries) == 1:
                (entry,) = entries
                _log.error("order_failed", order=type(entry.order).__name__, exc_info=error)
                self.lanes.close(entry, _fault(entry.order, error))
                return
            middle = len(entries) // 2
            await self._settle(entries[:middle], wait=wait)
            await self._settle(entries[middle:], wait=wait)
        else:
            self._answer(entries, outcomes)

    async def _settle_again(
        self, entries: Sequence[_Waiting], *, wait: bool
    ) -> dict[Order, Outcome]:
        """Run the batch; a fault of the connection or a conflict reruns it whole, re-reading all.

        Ids and keys are the same each time, so a COMMIT whose answer was lost shows as stored
        already; whatever has neither is not run again when it may be booked.
        """
        orders = [entry.order for entry in entries]
        unknown: dict[Order, Outcome] = {}
        failed: Exception | None = None
        for attempt in range(1, TRIES_MAX + 1):
            batch = self.lanes.batch()
            try:
                return unknown | await batch.settle(self.lanes.database, orders, wait=wait)
            except asyncpg.LockNotAvailableError as error:
                raise BookBusyError(orders[0].participant_id) from error
            except Exception as error:
                # What passes by itself undid the whole transaction: the same batch is run again.
                if not is_passing(error):
                    raise
                failed = error
                _log.warning("batch is run again", attempt=attempt, error=repr(error))
                if batch.is_written:
                    unknown |= {o: NotRecordedError() for o in orders if not o.is_repeatable}
                    orders = [order for order in orders if order.is_repeatable]
                await asyncio.sleep(RETRY_PAUSE_S * attempt)
        raise NotRecordedError from failed

    def _answer(self, entries: Sequence[_Waiting], outcomes: dict[Order, Outcome]) -> None:
        """Close what was decided; what was left out goes first next time, or waits on its own.

        What needs the book of somebody else as well is no matter of this lane alone.
        """
        now = self.lanes.loop.time()
        BATCH_ACTIONS.observe(len(entries))
        held = []
        for entry in entries:
            outcome = outcomes.get(entry.order)
            if outcome is not None:
                self.lanes.close(entry, outcome)
                continue
            entry.rounds += 1
            is_late = entry.rounds >= ROUNDS_MAX or now - entry.since > HELD_MAX_S
            if is_late or len(entry.order.people) > 1:
                task = asyncio.create_task(self._wait_for_book(entry))
                self.aside.add(task)
                task.add_done_callback(self.aside.discard)
            else:
                held.append(entry)
        self.queue.extendleft(reversed(held))
        ACTIONS_WAITING.set(self.lanes.waiting)

    async def _wait_for_book(self, entry: _Waiting) -> None:
        """A transaction of its own, which waits for the book: the lane goes on meanwhile."""
        async with self.lanes.patient:
            await self._settle([entry], wait=True)


async def answer_order(request: Request, order: RequestOrder) -> JsonAnswer:
    """What is answered to the request that this order came as. Raises the error that refused it."""
    return answered(await shared(request, Lanes).submit(order))


def _mix(one: Order, other: Order) -> bool:
    """Whether these may be in one batch."""
    return one.work is other.work or (one.work.mixes and other.work.mixes)


def _fault(order: Order, error: Exception) -> SaxaulError:
    """What is told of an order that failed alone."""
    if isinstance(order, RequestOrder) and isinstance(error, asyncpg.UniqueViolationError):
        # Only what is drawn can be there already, such as a tree's number; the next draw differs.
        return NotRecordedError()
    return ActionFaultError(is_of_data=_is_of_data(error))


def _is_of_data(error: BaseException) -> bool:
    """Whether the values are what is wrong: they do not fit (22), or break a constraint (23)."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(("22", "23"))
    # What asyncpg could not encode.
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
