"""What rows of the outbox do to boards: summed a shard and member, so that Redis has little to do.

Nothing here is awaited; `write.py` sends what this makes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

from service.leaderboards.keys import BOARDS, Board, Layout, Period, keep_s, periods_of


class Row(NamedTuple):
    """A positioned row of the outbox."""

    position: int
    body: dict[str, Any]


class Group(NamedTuple):
    """The boards that one booking counts on: those of its day, for all and for its region."""

    name: str
    day: str
    region: str


@dataclass(slots=True)
class Changes:
    """What happens to the members of one shard.

    People are forgotten after all else was summed: nothing is booked for them afterwards.
    """

    deltas: dict[tuple[bytes, Group], int] = field(default_factory=dict)
    forgotten: dict[bytes, set[str]] = field(default_factory=dict)


def fold(rows: Iterable[Row], layout: Layout) -> list[Changes]:
    """The changes of these rows, in the order of their positions, by shard."""
    shards = [Changes() for _ in range(layout.shards)]
    groups: dict[tuple[str, str, str], Group] = {}
    for row in rows:
        day = row.body["day"]
        for name, board, change, region in row.body.get("deltas", ()):
            member = bytes.fromhex(name)
            group = groups.setdefault((board, day, region), Group(board, day, region))
            deltas = shards[layout.shard_of(member)].deltas
            deltas[member, group] = deltas.get((member, group), 0) + change
        for name, regions in row.body.get("forget", ()):
            member = bytes.fromhex(name)
            forgotten = shards[layout.shard_of(member)].forgotten
            forgotten.setdefault(member, set()).update(regions)
    return shards


class Arguments:
    """The keys and arguments that `apply.lua` reads for the changes of one shard."""

    def __init__(self, layout: Layout, shard: int, generation: int, today: date) -> None:
        """`today` decides which periods are still kept; a day more or less does not matter."""
        self._layout, self._shard, self._generation = layout, shard, generation
        self._today = today
        self._boards: dict[Board, int] = {}
        self._keep: list[int] = []
        self._groups: dict[object, int] = {}
        self._members: list[list[int]] = []
        self._entries: list[str | bytes | int] = []

    def add(self, changes: Changes) -> None:
        """Put down these changes; what sums up to nothing needs no word."""
        for (member, group), change in changes.deltas.items():
            if change:
                self._entries += (self._group(group), member, change)
        for member, regions in changes.forgotten.items():
            self._entries += (self._every_open_board(frozenset(regions)), member, "forget")

    def keys(self) -> list[str]:
        """The keys of the boards."""
        return [self._layout.board(self._shard, self._generation, board) for board in self._boards]

    def values(self) -> list[str | bytes | int]:
        """How long each board is kept, the groups, and the changes."""
        values: list[str | bytes | int] = [*self._keep, len(self._members)]
        for boards in self._members:
            values += (len(boards), *boards)
        return values + self._entries

    def _group(self, group: Group) -> int:
        if group not in self._groups:
            scopes = ("", group.region) if group.region else ("",)
            days = [date.fromisoformat(group.day)]
            self._groups[group] = self._add_group([group.name], days, scopes)
        return self._groups[group]

    def _every_open_board(self, regions: frozenset[str]) -> int:
        if regions not in self._groups:
            # The programme's day is within a day of UTC's.
            days = [self._today + timedelta(days=off) for off in (-1, 0, 1)]
            self._groups[regions] = self._add_group(BOARDS, days, ("", *sorted(regions)))
        return self._groups[regions]

    def _add_group(self, names: Sequence[str], days: Sequence[date], scopes: Sequence[str]) -> int:
        periods = dict.fromkeys(period for day in days for period in periods_of(day))
        boards = [
            self._board(Board(name, period.name, scope), period)
            for name in names
            for period in periods
            for scope in scopes
            if keep_s(period, self._today) >= 0
        ]
        self._members.append(boards)
        return len(self._members)

    def _board(self, board: Board, period: Period) -> int:
        if board not in self._boards:
            self._boards[board] = len(self._boards) + 1
            self._keep.append(keep_s(period, self._today))
        return self._boards[board]
