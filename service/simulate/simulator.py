"""Simulations for an API process: one at a time, in other processes, for so long and no more.

They take half of the cores at the lowest priority, so that requests of others hardly notice.
"""

import asyncio
import os

from service.platform.errors import UnavailableError
from service.simulate.passes import Simulation, Trial, simulate

TIME_MAX_S = 60.0


class SimulationBusyError(UnavailableError):
    """This process simulates for somebody already."""

    retry_after_s = 10
    text = "Another simulation is running; try again when it is done."


class SimulationTooLongError(UnavailableError):
    """More was recorded in the period than can be replayed in the time."""

    retry_after_s = 60
    text = (
        "The simulation was stopped after {seconds:g} s; choose a shorter period, or use"
        " `saxaul rules simulate`, which may take as long as it needs."
    )
    seconds: float


class Simulator:
    """Runs simulations on one database."""

    def __init__(self, database_url: str, secret: bytes, *, time_max_s: float = TIME_MAX_S) -> None:
        """`secret` is the key of claims and hidden values."""
        self._database_url = database_url
        self._secret = secret
        self.time_max_s = time_max_s
        self._busy = asyncio.Lock()

    async def run(self, trial: Trial) -> Simulation:
        """Simulate. Raises SimulationBusyError, SimulationTooLongError."""
        if self._busy.locked():
            raise SimulationBusyError
        async with self._busy:
            try:
                async with asyncio.timeout(self.time_max_s):
                    return await simulate(
                        self._database_url,
                        trial,
                        secret=self._secret,
                        processes=max(1, (os.cpu_count() or 1) // 2),
                    )
            except TimeoutError as error:
                raise SimulationTooLongError(self.time_max_s) from error
