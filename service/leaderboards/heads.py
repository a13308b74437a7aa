"""The heads of boards: the first page is the same for almost everybody, and is read for all.

A head is read when somebody asks and the last one is a second old by the programme's clock: its
scores, its names, and who is public. So who hides is gone from it within a second.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from service.leaderboards.boards import Ranking
from service.participants.names import Name

_FRESH = timedelta(seconds=1)
# Each board, region, period and length of a page has a head of its own; the oldest gives way.
_HEADS_MAX = 256


class Seen(NamedTuple):
    """A part of a board, and the names of who is there."""

    ranking: Ranking
    names: Mapping[bytes, Name]


class Head(NamedTuple):
    """A first page: what was seen, and the answer for whoever sees what everybody sees."""

    seen: Seen
    body: bytes

    def is_for(self, viewer: UUID) -> bool:
        """Whether this is the viewer's answer: who is not public sees himself besides."""
        name = self.seen.names.get(viewer.bytes)
        return name is None or name.is_public


class Heads:
    """The heads of one process. Who asks while one is read waits for the same."""

    def __init__(self) -> None:
        # In the order in which they were asked for.
        self._kept: dict[Hashable, tuple[datetime, asyncio.Task[Head]]] = {}

    async def get(
        self, question: Hashable, now: datetime, read: Callable[[], Coroutine[Any, Any, Head]]
    ) -> Head:
        """The head that answers this question at this time of the programme.

        Raises what `read` raises; who asks then has it read again.
        """
        asked_at, reading = self._kept.get(question, (now, None))
        if reading is None or not _is_fresh(asked_at, now) or _has_failed(reading):
            reading = asyncio.create_task(read())
            self._keep(question, now, reading)
        if not reading.done():
            # It is everybody's, and goes on without whoever asked first.
            await asyncio.wait({reading})
        return reading.result()

    def _keep(self, question: Hashable, now: datetime, reading: asyncio.Task[Head]) -> None:
        self._kept.pop(question, None)
        self._kept[question] = now, reading
        for oldest, (asked_at, _) in [*self._kept.items()]:
            if _is_fresh(asked_at, now) and len(self._kept) <= _HEADS_MAX:
                break
            del self._kept[oldest]


def _is_fresh(asked_at: datetime, now: datetime) -> bool:
    return timedelta() <= now - asked_at < _FRESH


def _has_failed(reading: asyncio.Task[Head]) -> bool:
    return reading.done() and reading.exception() is not None
