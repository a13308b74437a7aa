"""What workers note in one pass and is needed in order over all people: sorted runs on disk."""

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

_KEPT_MAX = 50_000
_READ_RECORDS = 512


class Run(Struct, frozen=True, array_like=True):
    """So many records of one list in a row, sorted, in a file."""

    name: str
    stream: int
    path: str
    offset: int
    records: int
    record_bytes: int


class RunLog:
    """What one worker notes in one pass: lists of records, each list with records of one length."""

    def __init__(self, path: Path) -> None:
        """Records go to this file, which is made when there are any."""
        self._path = path
        self._kept: dict[tuple[str, int], list[bytes]] = {}
        self._runs: list[Run] = []

    def add(self, name: str, stream: int, record: bytes) -> None:
        """Note a record; they are sorted by their bytes."""
        kept = self._kept.setdefault((name, stream), [])
        kept.append(record)
        if len(kept) >= _KEPT_MAX:
            self._write(name, stream, kept)

    def finish(self) -> list[Run]:
        """Write what is left; all runs."""
        for (name, stream), kept in self._kept.items():
            if kept:
                self._write(name, stream, kept)
        return self._runs

    def _write(self, name: str, stream: int, kept: list[bytes]) -> None:
        kept.sort()
        with self._path.open("ab") as file:
            offset = file.tell()
            file.write(b"".join(kept))
        self._runs.append(Run(name, stream, str(self._path), offset, len(kept), len(kept[0])))
        kept.clear()


def merged(runs: Sequence[Run]) -> Iterator[bytes]:
    """All records of these runs in order; in memory is a small block of each."""
    return heapq.merge(*[_records(run) for run in runs])


def _records(run: Run) -> Iterator[bytes]:
    """Read a run in small blocks; its file is open while one is read only, for runs are many."""
    size = run.record_bytes
    for start in range(0, run.records, _READ_RECORDS):
        count = min(_READ_RECORDS, run.records - start)
        with Path(run.path).open("rb", buffering=0) as file:
            file.seek(run.offset + start * size)
            block = file.read(count * size)
        yield from (block[at : at + size] for at in range(0, count * size, size))
