"""Reading boards: pages from a place downwards, and the people around one of them.

Who has a score of 0 or less is on no board. Equal scores share a rank and run by id, so that a
cursor (score and member) means the same whatever moves above it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.leaderboards.keys import Board, Layout
from service.platform.errors import UnavailableError
from service.platform.together import Together

_PAGE = (Path(__file__).parent / "page.lua").read_text(encoding="utf-8")
_TRIES = 3


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


class Ranking(Struct, frozen=True):
    """Part of a board, best first; `size` counts all that are on it.

    All that was booked until `as_of`, by the programme's clock, is in it.
    """

    size: int
    as_of: datetime
    entries: list[Entry]
    is_last: bool


class Standing(Struct, frozen=True):
    """Where one member stands and who is around; no rank when not on the board."""

    rank: int | None
    score: int
    size: int
    entries: list[Entry]


class _Question(NamedTuple):
    """What `page.lua` is asked of one shard's part of a board."""

    shard: int
    board: Board
    score: int | str
    member: bytes
    after: int
    before: int


class _Part(NamedTuple):
    """What it answers; its own comment tells the numbers."""

    as_of_ms: int
    score: int
    size: int
    above: int
    before: int
    through: int
    above_told: int
    before_place: list[Place]
    after_place: list[Place]

    def count_above(self, score: int) -> int:
        """How many have more than this score, which somebody told before the place has.

        Who is told are the nearest of all shards: if nobody of this one has more, the best has just
        as much, or nobody else stands before.
        """
        more = sum(place.score > score for place in self.before_place)
        return self.before - len(self.before_place) + more if more else self.above_told


class Boards:
    """The boards as readers see them, in one script a shard whatever the size of a page.

    Each shard's generation is remembered; the script answers only if it is still the active one.
    """

    def __init__(self, redis: Redis, layout: Layout) -> None:
        """Read with this client, which may be shared."""
        self._redis = redis
        self._layout = layout
        self._generations = [b""] * layout.shards
        self._together = Together(self._ask_all)

    async def page(self, board: Board, *, after: Place | None, limit: int) -> Ranking:
        """The next so many behind a place, or the best ones. Raises BoardsAwayError."""
        score, member = after or ("", b"")
        parts = await self._ask(
            _Question(shard, board, score, member, limit, 0) for shard in range(self._layout.shards)
        )
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
        home = self._layout.shard_of(member)
        (mine,) = parts = await self._ask([_Question(home, board, "own", member, around, around)])
        me = Place(mine.score, member)
        if me.score <= 0:
            return Standing(None, me.score, mine.size, [])
        parts += await self._ask(
            _Question(shard, board, *me, around, around)
            for shard in range(self._layout.shards)
            if shard != home
        )
        before = sorted(place for part in parts for place in part.before_place)[:around]
        after = sorted((place for part in parts for place in part.after_place), reverse=True)
        shown = [*reversed(before), me, *after[:around]]
        first = sum(part.before for part in parts) - len(before)
        rank = sum(part.above for part in parts) + 1
        above = sum(part.count_above(shown[0].score) for part in parts)
        size = sum(part.size for part in parts)
        return Standing(rank, me.score, size, _ranked(shown, first, above + 1))

    async def _ask(self, questions: Iterable[_Question]) -> list[_Part]:
        try:
            return await asyncio.gather(*map(self._together.ask, questions))
        except RedisError as error:
            raise BoardsAwayError from error

    async def _ask_all(self, questions: Sequence[_Question]) -> list[_Part]:
        """One script for each shard; again for those that have another generation by now."""
        left: dict[int, list[_Question]] = defaultdict(list)
        for question in questions:
            left[question.shard].append(question)
        parts: dict[_Question, _Part] = {}
        for _ in range(_TRIES):
            pipeline = self._redis.pipeline(transaction=False)
            for shard, asked in left.items():
                self._add_script(pipeline, shard, asked)
            answers = await pipeline.execute()
            for (shard, asked), (active, *told) in zip([*left.items()], answers, strict=True):
                self._generations[shard] = active
                if told:
                    parts.update(zip(asked, _parts(*told), strict=True))
                    del left[shard]
                elif not active:
                    raise BoardsAwayError
            if not left:
                return [parts[question] for question in questions]
        raise BoardsAwayError

    def _add_script(self, pipeline: Any, shard: int, asked: Sequence[_Question]) -> None:
        generation, layout = self._generations[shard], self._layout
        number = int(generation or 0)
        keys = [layout.active(shard), layout.positions(shard, number)]
        values: list[int | str | bytes] = [generation]
        for _, board, *told in asked:
            keys.append(layout.board(shard, number, board))
            values += told
        pipeline.eval(_PAGE, len(keys), *keys, *values)


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


def _parts(as_of_ms: bytes, *texts: bytes) -> Iterator[_Part]:
    if not as_of_ms:
        raise BoardsAwayError
    for numbers, members in zip(texts[::2], texts[1::2], strict=True):
        score, size, above, before, through, above_told, told, *scores = map(int, numbers.split())
        names = [members[at : at + 16] for at in range(0, len(members), 16)]
        places = list(map(Place, scores, names))
        yield _Part(
            int(as_of_ms), score, size, above, before, through, above_told,
            places[:told], places[told:],
        )  # fmt: skip
