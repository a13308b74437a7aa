"""What rows of the outbox do to boards: summed a shard and member, so that Redis has little to do.

Nothing here is awaited; `write.py` sends what this makes.
"""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import product
from typing import Any, NamedTuple

from msgspec import Struct, field

from service.leaderboards.keys import BOARDS, Board, Layout, keep_s, periods_of


class Row(NamedTuple):
    """A positioned row of the outbox."""

    position: int
    body: dict[str, Any]


class Group(NamedTuple):
    """The boards that one booking counts on: those of its day, for all and for its region."""

    name: str
    day: str
    region: str


class Changes(Struct):
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


def script_arguments(changes: Changes, today: date) -> tuple[list[Board], list[str | bytes | int]]:
    """The boards and then the arguments that `apply.lua` reads for the changes of one shard.

    These are how long each board is kept, the groups of boards, and the changes; what sums up to
    nothing needs no word. `today` decides which periods are still kept; a day more or less does not
    matter.
    """
    told: list[tuple[Group | frozenset[str], bytes, str | int]] = [
        (group, member, change) for (member, group), change in changes.deltas.items() if change
    ]
    told += [(frozenset(known), member, "forget") for member, known in changes.forgotten.items()]
    groups: dict[Group | frozenset[str], dict[Board, int]] = {}
    for group, _, _ in told:
        if group not in groups:
            groups[group] = dict(_boards_of(group, today))
    keep = {board: kept_s for boards in groups.values() for board, kept_s in boards.items()}
    board_number = {board: number for number, board in enumerate(keep, 1)}
    group_number = {group: number for number, group in enumerate(groups, 1)}
    values: list[str | bytes | int] = [*keep.values(), len(groups)]
    for boards in groups.values():
        values += (len(boards), *(board_number[board] for board in boards))
    for group, member, change in told:
        values += (group_number[group], member, change)
    return [*keep], values


def _boards_of(group: Group | frozenset[str], today: date) -> Iterator[tuple[Board, int]]:
    """The boards of a booking, or all open ones with those of these regions; how long each is kept.

    The programme's day is within a day of UTC's.
    """
    if isinstance(group, Group):
        names, regions, days = [group.name], [group.region], [date.fromisoformat(group.day)]
    else:
        names, regions = [*BOARDS], sorted(group)
        days = [today + timedelta(days=off) for off in (-1, 0, 1)]
    periods = dict.fromkeys(period for day in days for period in periods_of(day))
    for name, period, scope in product(names, periods, ("", *filter(None, regions))):
        if (kept_s := keep_s(period, today)) >= 0:
            yield Board(name, period.name, scope), kept_s
