"""Who draws from a campaign's budget, and where in that order it is used up.

A budget is over all people, a simulation goes person by person. But a budget only ever does one
thing to them: up to some draw everybody gets all, that draw gets the rest, whoever comes later gets
nothing. So workers note what each action would draw; their runs are merged in the order of then
until the budget is used up; and the place where it is, a `Cut`, is all that a worker needs to know
to decide on its people alone.

The order: what drew then, by `budget_seq`; what did not, by the time when it was recorded. What had
the same campaign before it then and got nothing had come too late: it follows all that drew.
"""

import struct
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from service.simulate.runs import Run, merged

DREW, NEW, DENIED = range(3)

# Place in the stream, when it was recorded, whose action and which of theirs.
_KEY = struct.Struct(">QQ16sQ")
_END = b"\xff" * (_KEY.size + 1)


class Cut(Struct, frozen=True, array_like=True):
    """The draw that uses up a budget: its stream, and the first key of each stream from it on."""

    stream: int
    firsts: tuple[bytes, bytes, bytes]
    left_g: int

    def is_at(self, stream: int, key: bytes) -> bool:
        """Whether this is the very draw."""
        return stream == self.stream and key == self.firsts[stream]

    def left(self, stream: int, key: bytes) -> int | None:
        """What this draw finds left; None: enough."""
        if key < self.firsts[stream]:
            return None
        return self.left_g if self.is_at(stream, key) else 0


def draw_key(place: int, recorded_us: int, participant_id: UUID, seq: int) -> bytes:
    """What sorts a draw within its stream."""
    return _KEY.pack(place, recorded_us, participant_id.bytes, seq)


def draw_record(key: bytes, grams: int) -> bytes:
    """A draw as it is noted."""
    return key + grams.to_bytes(8)


def find_cut(runs: Sequence[Run], left_g: int) -> Cut | None:
    """Merge the runs of one campaign until its budget is used up; None when it suffices."""
    streams = [
        merged([run for run in runs if run.stream == stream]) for stream in (DREW, NEW, DENIED)
    ]
    heads = [next(stream, _END) for stream in streams]
    while True:
        stream = _first(heads)
        head = heads[stream]
        if head is _END:
            return None
        grams = int.from_bytes(head[_KEY.size :])
        if grams > left_g:
            firsts = [_END if head is _END else head[: _KEY.size] for head in heads]
            return Cut(stream, (firsts[DREW], firsts[NEW], firsts[DENIED]), left_g)
        left_g -= grams
        heads[stream] = next(streams[stream], _END)


def _first(heads: list[bytes]) -> int:
    """The stream whose head came first."""
    if heads[DREW] is not _END:
        return NEW if heads[NEW][8:16] < heads[DREW][8:16] else DREW
    return NEW if heads[NEW] <= heads[DENIED] else DENIED
