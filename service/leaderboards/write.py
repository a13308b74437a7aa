"""The only writes to boards: scripts that refuse what does not follow on what a shard holds."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec import Struct
from redis.asyncio import Redis

from service.leaderboards.fold import Changes, script_arguments
from service.leaderboards.keys import Board, Layout
from service.leaderboards.sums import Sum

_FOLDER = Path(__file__).parent
_APPLY = (_FOLDER / "apply.lua").read_text(encoding="utf-8")
_LOAD = (_FOLDER / "load.lua").read_text(encoding="utf-8")
_ACTIVATE = (_FOLDER / "activate.lua").read_text(encoding="utf-8")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Turn(Struct, frozen=True):
    """In whose name a lane's relay writes: a script refuses a turn before one that it has seen."""

    lane: int
    epoch: int
    generation: int


class Slice(Struct, frozen=True):
    """What follows on position `start` of a lane, up to `end`, for one shard.

    `as_of` is the programme's time for which the shard is good afterwards, when that is known.
    """

    shard: int
    start: int
    end: int
    changes: Changes
    as_of: datetime | None = None


class Reply(NamedTuple):
    """What a shard says to a slice.

    `what` is applied, elsewhere (it holds another position), missing (it holds none) or stale (a
    later turn was here). `active` is the generation that readers use there.
    """

    what: str
    position: int
    active: int | None


async def apply_slices(
    redis: Redis, layout: Layout, turn: Turn, slices: Sequence[Slice], today: date
) -> list[Reply]:
    """Apply to each shard what it lacks, together with its position. Raises RedisError."""
    pipeline = redis.pipeline(transaction=False)
    for part in slices:
        boards, changes = script_arguments(part.changes, today)
        keys = [layout.active(part.shard), *_keys(layout, turn, part.shard, boards)]
        values = (turn.lane, turn.epoch, part.start, part.end, _milliseconds(part.as_of))
        pipeline.eval(_APPLY, len(keys), *keys, *values, *changes)
    return [
        Reply(what.decode(), int(position or 0), int(active) if active else None)
        for what, position, active in await pipeline.execute()
    ]


async def load_scores(
    redis: Redis,
    layout: Layout,
    turn: Turn,
    shard: int,
    sums: Sequence[Sum],
    *,
    keep: Mapping[str, int] = MappingProxyType({}),
    complete_at: tuple[int, datetime] | None = None,
) -> bool:
    """Set scores of a generation that is being built; False when a later turn has begun.

    `keep` is how long boards are kept, by period. The last call says which position of the lane the
    scores hold, and their time.
    """
    boards: dict[Board, int] = {}
    entries: list[int | bytes] = []
    for board, member, total in sums:
        entries += (boards.setdefault(board, len(boards) + 1), member, total)
    position, as_of = complete_at or ("", None)
    keys = _keys(layout, turn, shard, boards)
    values = (turn.lane, turn.epoch, position, _milliseconds(as_of))
    kept_s = [keep[board.period] for board in boards]
    answer: Any = await redis.eval(_LOAD, len(keys), *keys, *values, *kept_s, *entries)
    return bool(answer)


def _keys(layout: Layout, turn: Turn, shard: int, boards: Iterable[Board]) -> list[str]:
    """The positions of a shard, and its parts of these boards."""
    generation = turn.generation
    parts = [layout.board(shard, generation, board) for board in boards]
    return [layout.positions(shard, generation), *parts]


async def activate(redis: Redis, layout: Layout, generation: int, lanes: int) -> bool:
    """Let readers use this generation; False while a lane is missing in some shard."""
    pipeline = redis.pipeline(transaction=False)
    for shard in range(layout.shards):
        keys = (layout.active(shard), layout.positions(shard, generation))
        pipeline.eval(_ACTIVATE, len(keys), *keys, generation, lanes)
    return all(await pipeline.execute())


async def drop_others(redis: Redis, layout: Layout, generation: int, after_s: int) -> None:
    """Let go, after a while for those who still read, whatever is of earlier generations."""
    tags = layout.tags()
    pipeline = redis.pipeline(transaction=False)
    async for key in redis.scan_iter(match=layout.pattern(), count=1000):
        parsed = layout.parse(key)
        if parsed is not None and (parsed[0] not in tags or parsed[1] < generation):
            pipeline.expire(key, after_s)
    await pipeline.execute()


def _milliseconds(at: datetime | None) -> str:
    return "" if at is None else str((at - _EPOCH) // timedelta(milliseconds=1))
