"""The group-commit writer: joins the requests of a moment into one transaction a lane.

While a lane's transaction runs, newcomers gather and form the next batch, so batches grow with the
load and nobody waits for a timer. The writer is the only place that writes actions.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import structlog

from service.actions.budgets import EndedCampaigns
from service.actions.record import Outcome, Recorded, record_actions
from service.actions.report import Report
from service.ledger.books import BookBusyError
from service.platform.clock import Clock
from service.platform.database import PATIENT_AT_ONCE, Database, has_stored, is_passing
from service.platform.errors import SaxaulError, UnavailableError
from service.platform.metrics import ACTIONS_WAITING, BATCH_ACTIONS
from service.platform.outbox import lane_of
from service.platform.settings import Settings
from service.rulebooks.publish import Rulebooks

_log = structlog.get_logger()

ROUNDS_MAX = 5
HELD_MAX_S = 0.5
TRIES_MAX = 3
RETRY_PAUSE_S = 0.05


class QueueFullError(UnavailableError):
    """More is waiting than the writer may hold; nothing was stored."""

    text = "The service has more to record than it can hold; try again shortly."


class NotRecordedError(UnavailableError):
    """The database failed or did not say how it ended; sending it again is always safe."""

    text = "The action may not be stored; send it again with the same key."


class ActionFaultError(SaxaulError):
    """One action that neither we nor PostgreSQL could digest, found by halving its batch.

    `is_of_data`: PostgreSQL refused its values, and will whenever they come again.
    """

    code = "internal-error"
    text = "This action could not be recorded; it was logged for the operators."
    is_of_data: bool = False


@dataclass(slots=True, eq=False)
class _Waiting:
    report: Report
    future: asyncio.Future[Recorded]
    since: float
    rounds: int = 0


class Writer:
    """One queue and one loop a lane; `record` gives what the ledger holds afterwards."""

    def __init__(
        self, database: Database, clock: Clock, rules: Rulebooks, settings: Settings
    ) -> None:
        """`start` before the first report, `stop` after the last."""
        self.database = database
        self.clock = clock
        self.rules = rules
        self.settings = settings
        self.secret = settings.secret_key.encode()
        self.lanes = [_Lane(self, lane) for lane in range(settings.lanes)]
        self.ended = EndedCampaigns()
        self.waiting = 0
        self.patient = asyncio.Semaphore(PATIENT_AT_ONCE)

    def start(self) -> None:
        """Begin to serve all lanes."""
        for lane in self.lanes:
            lane.task = asyncio.create_task(lane.serve(), name=f"writer-{lane.number}")

    async def stop(self) -> None:
        """Record what waits, then end."""
        for lane in self.lanes:
            lane.stopping = True
            lane.wake.set()
        await asyncio.gather(*(lane.task for lane in self.lanes if lane.task))

    def submit(self, report: Report) -> asyncio.Future[Recorded]:
        """Queue a report. The future ends with Recorded or a SaxaulError. Raises QueueFullError."""
        if self.waiting >= self.settings.queue_max:
            raise QueueFullError
        loop = asyncio.get_running_loop()
        entry = _Waiting(report, loop.create_future(), loop.time())
        has_stored.set(True)
        self.waiting += 1
        self.lanes[lane_of(report.participant_id, len(self.lanes))].add(entry)
        return entry.future


class _Lane:
    """The queue of the people whose ids hash to this lane."""

    def __init__(self, writer: Writer, number: int) -> None:
        self.writer = writer
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
            size = min(len(self.queue), self.writer.settings.batch_max)
            await self._settle([self.queue.popleft() for _ in range(size)])
        while self.aside:
            await asyncio.gather(*self.aside)

    async def _settle(self, batch: Sequence[_Waiting], *, wait: bool = False) -> None:
        """Record a batch. What fails with it is halved until the culprit stands alone."""
        try:
            outcomes = await self._record_again(batch, wait=wait)
        except SaxaulError as error:
            for entry in batch:
                self._close(entry, error)
        except Exception as error:  # noqa: BLE001 - halving finds the culprit, the rest is recorded
            if len(batch) == 1:
                report = batch[0].report
                _log.error("action could not be recorded", id=str(report.id), exc_info=error)
                self._close(batch[0], ActionFaultError(is_of_data=_is_of_data(error)))
                return
            middle = len(batch) // 2
            await self._settle(batch[:middle], wait=wait)
            await self._settle(batch[middle:], wait=wait)
        else:
            self._answer(batch, outcomes)

    async def _record_again(
        self, batch: Sequence[_Waiting], *, wait: bool
    ) -> dict[Report, Outcome]:
        """Run the batch; a fault of the connection or a conflict reruns it whole, re-reading all.

        The ids are the same each time, so a COMMIT whose answer was lost shows as already stored.
        """
        writer = self.writer
        reports = [entry.report for entry in batch]
        for attempt in range(1, TRIES_MAX + 1):
            try:
                return await record_actions(
                    writer.database,
                    reports,
                    rulebook=writer.rules.active,
                    now=writer.clock.now(),
                    secret=writer.secret,
                    lane=self.number,
                    lanes=len(writer.lanes),
                    wait=wait,
                    ended=writer.ended,
                )
            except asyncpg.LockNotAvailableError as error:
                raise BookBusyError(reports[0].participant_id) from error
            except Exception as error:
                # What passes by itself undid the whole transaction: the same batch is run again.
                if not is_passing(error):
                    raise
                _log.warning("batch is run again", attempt=attempt, error=repr(error))
                await asyncio.sleep(RETRY_PAUSE_S * attempt)
        raise NotRecordedError

    def _answer(self, batch: Sequence[_Waiting], outcomes: dict[Report, Outcome]) -> None:
        """Settle what was decided; what was left out goes first next time, or waits on its own.

        What needs the book of somebody else as well is no matter of this lane alone.
        """
        now = asyncio.get_running_loop().time()
        BATCH_ACTIONS.observe(len(batch))
        held = []
        for entry in batch:
            outcome = outcomes.get(entry.report)
            if outcome is not None:
                self._close(entry, outcome)
                continue
            entry.rounds += 1
            is_late = entry.rounds >= ROUNDS_MAX or now - entry.since > HELD_MAX_S
            if is_late or entry.report.rivals:
                task = asyncio.create_task(self._wait_for_book(entry))
                self.aside.add(task)
                task.add_done_callback(self.aside.discard)
            else:
                held.append(entry)
        self.queue.extendleft(reversed(held))
        ACTIONS_WAITING.set(self.writer.waiting)

    def _close(self, entry: _Waiting, outcome: Outcome) -> None:
        """Answer the caller, unless it went away; its action stays recorded."""
        self.writer.waiting -= 1
        if entry.future.done():
            return
        if isinstance(outcome, Recorded):
            entry.future.set_result(outcome)
        else:
            entry.future.set_exception(outcome)

    async def _wait_for_book(self, entry: _Waiting) -> None:
        """A transaction of its own, which waits for the book: the lane goes on meanwhile."""
        async with self.writer.patient:
            await self._settle([entry], wait=True)


def _is_of_data(error: BaseException) -> bool:
    """Whether the values are what is wrong: they do not fit (22), or break a constraint (23)."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(("22", "23"))
    # What asyncpg could not encode.
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
