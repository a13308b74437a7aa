"""Who was first to claim something, under a draft that lets other things be paid once.

Where the draft's claim is the one that was bound then, the order of then stands in the ledger: all
that was recorded had its claim. Only types whose claim is another one under the draft are resolved
here: workers note who wants what and who is reversed, and the first by the time of recording has
it, as if the draft had become active at the start of the period; who gets nothing for it has it
not. What a partner verified takes it from what nobody had: that counts as refused from the start.
"""

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from enum import IntFlag, auto
from itertools import groupby, islice
from mmap import ACCESS_READ, mmap
from operator import itemgetter
from pathlib import Path
from uuid import UUID

from service.simulate.runs import Run, RunLog, merged

CLAIMS = "claims"
_CHUNK = 2_000
_CLAIM_BYTES = 32

# Claim, when, whose action and which of theirs, what happens.
_RECORD = struct.Struct(">32sQ16sQB")
_REFUSED = struct.Struct(">16sQ")
_FREED = 255


class Want(IntFlag):
    """How an action wants a claim."""

    HELD_THEN = auto()
    """It had the very claim."""
    VERIFIED = auto()
    BESIDE = auto()
    """It is paid whoever else has it; those who come later are not."""
    NOTHING = auto()
    """It gets nothing, and so keeps nothing from others."""


# Of these claims, those that were bound before the period, and how.
BoundBefore = Callable[[Sequence[bytes]], Awaitable[dict[bytes, Want]]]


def claim_record(
    claim: bytes, at_us: int, participant_id: UUID, seq: int, happens: int = _FREED
) -> bytes:
    """The action of this number wants this claim; or is reversed, which frees it."""
    return _RECORD.pack(claim, at_us, participant_id.bytes, seq, happens)


async def resolve_claims(
    runs: Sequence[Run], bound_before: BoundBefore, log: RunLog, path: Path
) -> tuple[int, bytes]:
    """Write a file for `Refused` with all who come too late; tell how many, and its digest.

    The runs are read twice side by side, so that a claim wanted by millions needs no memory.
    """
    claims = (claim for claim, _ in groupby(merged(runs), itemgetter(slice(0, _CLAIM_BYTES))))
    groups = groupby(map(_RECORD.unpack, merged(runs)), itemgetter(0))
    while chunk := list(islice(claims, _CHUNK)):
        bound = await bound_before(chunk)
        for claim, events in islice(groups, len(chunk)):
            for record in _refused(events, bound.get(claim)):
                log.add(CLAIMS, 0, record)
    refused, digest = 0, hashlib.sha256()
    with path.open("wb") as file:
        for record in merged(log.finish()):
            file.write(record)
            digest.update(record)
            refused += 1
    return refused, digest.digest()


def _refused(
    events: Iterable[tuple[bytes, int, bytes, int, int]], held: Want | None
) -> Iterator[bytes]:
    """Who comes too late, or is beaten; `held`: how it was before the period, if it was."""
    holder: tuple[bytes, int] | None = None
    held = None if held is None else held | Want.HELD_THEN
    for _, _, owner, seq, happens in events:
        if happens == _FREED:
            if holder == (owner, seq):
                holder = held = None
            continue
        want = Want(happens)
        if held is not None:
            beats = Want.VERIFIED in want and Want.VERIFIED not in held
            if beats and Want.NOTHING not in want:
                if holder is not None:
                    yield _REFUSED.pack(*holder)
            elif Want.BESIDE in want:
                continue
            # Both had it then: whoever had it before had lost it, whatever their clocks say.
            elif Want.HELD_THEN not in want or Want.HELD_THEN not in held:
                if not beats:
                    yield _REFUSED.pack(owner, seq)
                continue
        if Want.NOTHING not in want:
            holder, held = (owner, seq), want


class Refused:
    """The actions that come too late for their claims, looked up in a sorted file."""

    def __init__(self, path: str) -> None:
        """An empty path: none."""
        self._records = b""
        if path and Path(path).stat().st_size:
            with Path(path).open("rb") as file:
                self._records = mmap(file.fileno(), 0, access=ACCESS_READ)  # type: ignore[assignment]

    def __contains__(self, action: tuple[UUID, int]) -> bool:
        wanted, size = _REFUSED.pack(action[0].bytes, action[1]), _REFUSED.size
        places = range(0, len(self._records), size)
        place = bisect_left(places, wanted, key=lambda at: self._records[at : at + size]) * size
        return self._records[place : place + size] == wanted
