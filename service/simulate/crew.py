"""The processes of a simulation, and the pipe to each."""

import asyncio
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from service.platform.errors import UnavailableError
from service.simulate.worker import LENGTH_BYTES, Failed, Setup, Worker, framed

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Share = tuple[UUID, UUID]
"""The people whose ids are above the first and not above the second."""


class SimulationError(Exception):
    """A process of the simulation failed; the text is for the log."""


class SimulationCutOffError(UnavailableError):
    """PostgreSQL went away from a process of the simulation."""

    text = "The database went away; simulate again."


class Member(Struct, frozen=True):
    """One worker and the pipe to it."""

    process: Process

    async def ask(self, do: Callable[[Worker, *Ts], Awaitable[T]], *told: *Ts) -> T:
        """Let it do something. Raises SimulationError, SimulationCutOffError."""
        answer: T = await self.tell((do.__name__, told))
        return answer

    async def tell(self, message: object) -> Any:
        """Send a message and wait for the answer."""
        orders, answers = self.process.stdin, self.process.stdout
        assert orders is not None
        assert answers is not None
        try:
            orders.write(framed(message))
            await orders.drain()
            length = int.from_bytes(await answers.readexactly(LENGTH_BYTES))
            # Only the process that was started here writes to this pipe.
            answer = pickle.loads(await answers.readexactly(length))  # noqa: S301
        except (OSError, asyncio.IncompleteReadError) as error:
            raise SimulationError("a process of the simulation ended") from error
        if isinstance(answer, Failed):
            failed = SimulationError(answer.text)
            if answer.is_of_database:
                raise SimulationCutOffError from failed
            raise failed
        return answer


@asynccontextmanager
async def crew_of(setup: Setup, processes: int) -> AsyncIterator[list[Member]]:
    """So many processes, set up; killed at the end, whatever it is."""
    crew: list[Member] = []
    command = (sys.executable, "-m", "service.simulate")
    try:
        for _ in range(processes):
            crew.append(  # noqa: PERF401 - those that were started are ended when the next fails
                Member(await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE))
            )
        async with asyncio.TaskGroup() as starting:
            for number, member in enumerate(crew):
                starting.create_task(member.tell(replace(setup, name=str(number))))
        yield crew
    finally:
        for member in crew:
            if member.process.returncode is None:
                member.process.kill()
        await asyncio.gather(*(member.process.wait() for member in crew))


async def over_shares(
    crew: Sequence[Member],
    shares: Sequence[Share],
    take: Callable[[T], object],
    do: Callable[[Worker, UUID, UUID, *Ts], Awaitable[T]],
    *told: *Ts,
) -> None:
    """Let whoever is free do it for the next share, and take the answers as they come."""
    waiting = [*reversed(shares)]

    async def work(member: Member) -> None:
        while waiting:
            take(await member.ask(do, *waiting.pop(), *told))

    async with asyncio.TaskGroup() as working:
        for member in crew:
            working.create_task(work(member))
