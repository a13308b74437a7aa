"""What goes on beside something else, and a wait that something may cut short."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def beside(forever: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Let this go on beside the block, and end with it."""
    task = asyncio.create_task(forever)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the event."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
