"""Reading boards: pages from a place downwards, and the people around one of them.

Who has a score of 0 or less is on no board. Equal scores share a rank and run by id, so that a
cursor (score and member) means the same whatever moves above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.leaderboards.keys import Board, Layout
from service.platform.errors import UnavailableError

_PAGE = (Path(__file__).parent / "page.lua").read_text(encoding="utf-8")


class BoardsAwayError(UnavailableError):
    """Redis does not answer, or is just being filled; everything but boards goes on."""

    text = "The leaderboards are not available now; ask again in a moment."


class Place(NamedTuple):
    """Where a page begins: behind this member with this score."""

    score: int
    member: bytes


class Entry(NamedTuple):
    """A member of a board with the rank that equal scores share."""

    rank: int
    member: bytes
    score: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Part of a board, best first; `size` counts all that are on it.

    All that was booked until `as_of`, by the programme's clock, is in it.
    """

    size: int
    as_of: datetime
    entries: list[Entry]
    is_last: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one member stands and who is around; no rank when not on the board."""

    rank: int | None
    score: int
    size: int
    entries: list[Entry]


class _Part(NamedTuple):
    """What one shard answers to `page.lua`."""

    size: int
    above: int
    before: int
    through: int
    as_of_ms: int
    after_place: list[Place]
    before_place: list[Place]


class Boards:
    """The boards as readers see them, a constant number of commands a question."""

    def __init__(self, redis: Redis, layout: Layout) -> None:
        """Read with this client, which may be shared."""
        self._redis = redis
        self._layout = layout

    async def page(self, board: Board, *, after: Place | None, limit: int) -> Ranking:
        """The next so many behind a place, or the best ones. Raises BoardsAwayError."""
        try:
            parts = await self._parts(
                await active_generations(self._redis, self._layout), board, after, limit=limit
            )
        except RedisError as error:
            raise BoardsAwayError from error
        merged = sorted((place for part in parts for place in part.after_place), reverse=True)
        first = sum(part.through for part in parts)
        size = sum(part.size for part in parts)
        # The first of the page may share the rank of those before it.
        rank = first + 1
        if after is not None and merged and merged[0].score == after.score:
            rank = sum(part.above for part in parts) + 1
        return Ranking(
            size,
            datetime.fromtimestamp(min(part.as_of_ms for part in parts) / 1000, UTC),
            _ranked(merged[:limit], first, rank),
            is_last=len(merged) <= limit and first + len(merged) >= size,
        )

    async def standing(self, board: Board, member: bytes, *, around: int) -> Standing:
        """A member's rank and score, with so many neighbours on each side.

        Raises BoardsAwayError.
        """
        try:
            generations = await active_generations(self._redis, self._layout)
            shard = self._layout.shard_of(member)
            key = self._layout.board(shard, generations[shard], board)
            score = int(await self._redis.zscore(key, member) or 0)
            me = Place(score, member)
            parts = await self._parts(generations, board, me, limit=around, before=around)
            before = sorted(place for part in parts for place in part.before_place)[:around]
            above = await self._count_above(generations, board, (before or [me])[-1].score)
        except RedisError as error:
            raise BoardsAwayError from error
        size = sum(part.size for part in parts)
        if score <= 0:
            return Standing(None, score, size, [])
        after = sorted((place for part in parts for place in part.after_place), reverse=True)
        shown = [*reversed(before), me, *after[:around]]
        first = sum(part.before for part in parts) - len(before)
        rank = sum(part.above for part in parts) + 1
        return Standing(rank, score, size, _ranked(shown, first, above + 1))

    async def _parts(
        self,
        generations: Sequence[int],
        board: Board,
        place: Place | None,
        *,
        limit: int,
        before: int = 0,
    ) -> list[_Part]:
        pipeline = self._redis.pipeline(transaction=False)
        score, member = place or ("", b"")
        for shard, generation in enumerate(generations):
            keys = (
                self._layout.positions(shard, generation),
                self._layout.board(shard, generation, board),
            )
            pipeline.eval(_PAGE, len(keys), *keys, score, member, limit, before)
        return [_part(answer) for answer in await pipeline.execute()]

    async def _count_above(self, generations: Sequence[int], board: Board, score: int) -> int:
        pipeline = self._redis.pipeline(transaction=False)
        for shard, generation in enumerate(generations):
            key = self._layout.board(shard, generation, board)
            pipeline.zcount(key, f"({score}", "+inf")
        return sum(await pipeline.execute())


async def active_generations(redis: Redis, layout: Layout) -> list[int]:
    """What readers use in each shard. Raises BoardsAwayError while one is empty or new."""
    pipeline = redis.pipeline(transaction=False)
    for shard in range(layout.shards):
        pipeline.get(layout.active(shard))
    answers = await pipeline.execute()
    if not all(answers):
        raise BoardsAwayError
    return [int(answer) for answer in answers]


def percentile(rank: int, size: int) -> float:
    """How many per cent of the others on the board have a score that is not higher than mine.

    100 for who leads or is alone, 0 for who is last alone; rounded down to one decimal.
    """
    if size <= 1:
        return 100.0
    return (size - rank) * 1000 // (size - 1) / 10


def _ranked(places: Sequence[Place], first: int, rank: int) -> list[Entry]:
    """Entries of places that follow each other, `first` people before them; `rank` of the first."""
    entries: list[Entry] = []
    for index, place in enumerate(places):
        if index and place.score != places[index - 1].score:
            rank = first + index + 1
        entries.append(Entry(rank, place.member, place.score))
    return entries


def _part(answer: Any) -> _Part:
    size, above, before, through, as_of_ms, after_place, before_place = answer
    if not as_of_ms:
        raise BoardsAwayError
    places = _places(after_place), _places(before_place)
    return _Part(size, above, before, through, int(as_of_ms), *places)


def _places(flat: Sequence[bytes]) -> list[Place]:
    return [Place(int(score), member) for member, score in zip(flat[::2], flat[1::2], strict=True)]
