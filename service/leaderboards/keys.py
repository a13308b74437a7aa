"""Boards by name, and where their parts lie in Redis.

A board is ranked over a period and over everybody or one region. Its members are divided over
shards by their id; all keys of a shard carry its tag, so that one script may touch them together
on a cluster. A generation is one building of all boards; readers use the active one.
"""

import re
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

from msgspec import Struct

from service.rules.decide.rulebook import period_names

BoardName = Literal["energy", "saved", "trees", "verified"]
PeriodName = Literal["day", "week", "month", "all"]
BOARDS: tuple[BoardName, ...] = ("energy", "saved", "trees", "verified")
PERIODS: tuple[PeriodName, ...] = ("day", "week", "month", "all")

# How long the boards of a period stay after its end: for what is booked around midnight by
# processes whose clocks differ, and for pages that somebody is turning.
KEEP_DAYS = 2
_SPECIAL = re.compile(r"([\\*?\[\]^-])")


class Period(NamedTuple):
    """A period by its name (2026-11-21, 2026-W47, 2026-11 or ever) and the first day after it."""

    name: str
    end: date | None


class Board(NamedTuple):
    """One ranking; `region` is "" for everybody."""

    name: str
    period: str
    region: str


@lru_cache(maxsize=4096)
def periods_of(day: date) -> tuple[Period, ...]:
    """The periods that hold this day of the programme, in the order of PERIODS."""
    day_name, week, month, _, ever = period_names(day)
    return (
        Period(day_name, day + timedelta(days=1)),
        Period(week, day + timedelta(days=7 - day.weekday())),
        Period(month, (day.replace(day=1) + timedelta(days=31)).replace(day=1)),
        Period(ever, None),
    )


def period_of(kind: PeriodName, day: date) -> Period:
    """The day, week, month that holds this day, or all time."""
    return periods_of(day)[PERIODS.index(kind)]


def keep_s(period: Period, today: date) -> int:
    """How long a board of this period is kept from today on, seconds of real time; 0: for ever.

    Negative when it is not kept any more. The programme's clock never goes slower than real time,
    so this is never too short.
    """
    if period.end is None:
        return 0
    return ((period.end - today).days + KEEP_DAYS) * 86_400 or -1


class Layout(Struct, frozen=True):
    """The names of all keys: a prefix, and over how many shards members are divided."""

    prefix: str
    shards: int

    def shard_of(self, member: bytes) -> int:
        """The shard of a member: ids are random at their end, also those that begin with a time."""
        return int.from_bytes(member[12:]) % self.shards

    def active(self, shard: int) -> str:
        """The key that holds the generation which readers use."""
        return f"{self._tag(shard)}active"

    def positions(self, shard: int, generation: int) -> str:
        """The key of how far each lane is applied in this shard."""
        return f"{self._tag(shard)}{generation}:positions"

    def board(self, shard: int, generation: int, board: Board) -> str:
        """The key of a shard's part of a board."""
        region = board.region or "*"
        return f"{self._tag(shard)}{generation}:{board.name}:{board.period}:{region}"

    def pattern(self) -> str:
        """A pattern of every key that this class can name, of any number of shards."""
        return _SPECIAL.sub(r"\\\1", self.prefix) + "lb:{*"

    def parse(self, key: bytes) -> tuple[str, int, Board | None] | None:
        """The tag, generation and board of a key that matched; no board for positions.

        None for a key without a generation.
        """
        tag, _, rest = key.decode()[len(self.prefix) :].partition("}:")
        parts = rest.split(":")
        if not parts[0].isdigit():
            return None
        tag = f"{self.prefix}{tag}}}:"
        if len(parts) != 4:
            return tag, int(parts[0]), None
        board = Board(parts[1], parts[2], "" if parts[3] == "*" else parts[3])
        return tag, int(parts[0]), board

    def tags(self) -> dict[str, int]:
        """The shards by the beginning of their keys."""
        return {self._tag(shard): shard for shard in range(self.shards)}

    def _tag(self, shard: int) -> str:
        return f"{self.prefix}lb:{{{shard}/{self.shards}}}:"
