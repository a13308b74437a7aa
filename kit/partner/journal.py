"""How far a file was sent: kept beside it, so that an interrupted run goes on where it stood.

Sending twice does no harm, an event is paid once; the journal spares the time. It is written anew
after each answered batch and put in place in one step. What was rejected goes to a file of its own,
cut back to what the journal knows when a run goes on.
"""

import hashlib
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec


class State(msgspec.Struct):
    """What was answered so far. `digest` covers the records, `rejected_...` the other file."""

    url: str
    partner: str
    records: int = 0
    unsent: int = 0
    """How many of these never left, because they were found wrong on this side."""
    digest: str = ""
    rejected_bytes: int = 0
    rejected_digest: str = ""
    energy_g: int = 0
    statuses: dict[str, int] = msgspec.field(default_factory=dict)
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    firsts: dict[str, str] = msgspec.field(default_factory=dict)
    """What the first problem of each reason said."""


class JournalFaultError(Exception):
    """The journal belongs to something else; the message is one line with the remedy."""


class Journal:
    """The journal of one file and the file of its rejected items."""

    def __init__(self, path: Path, url: str, partner: str, rejected: Path | None = None) -> None:
        """Nothing is read or written yet."""
        self.path = path.with_name(path.name + ".sent.json")
        self.rejected_path = rejected or path.with_name(path.name + ".rejected.ndjson")
        self.state = State(url, partner)
        self._digest = hashlib.sha256()
        self._rejected_digest = hashlib.sha256()

    def resume(self) -> int:
        """How many records were answered before. Raises JournalFaultError."""
        try:
            known = msgspec.json.decode(self.path.read_bytes(), type=State)
        except FileNotFoundError:
            return 0
        except msgspec.DecodeError as error:
            raise JournalFaultError(
                f"{self.path} is damaged: --restart sends all again."
            ) from error
        if (known.url, known.partner) != (self.state.url, self.state.partner):
            raise JournalFaultError(
                f"{self.path} tells of {known.partner} at {known.url}: --restart sends all again."
            )
        self.state = known
        self._look_at_rejected()
        return known.records

    def _look_at_rejected(self) -> None:
        """A file that was mended, cut or taken away since is not cut back: all of it stays."""
        is_there = self.rejected_path.exists()
        held = self.rejected_path.read_bytes() if is_there else b""
        self._rejected_digest = hashlib.sha256(held[: self.state.rejected_bytes])
        known = self.state.rejected_digest or hashlib.sha256().hexdigest()
        if self._rejected_digest.hexdigest() == known:
            return
        if held and not held.endswith(b"\n"):
            held += b"\n"
            self.rejected_path.write_bytes(held)
        self._rejected_digest = hashlib.sha256(held)
        self.state.rejected_digest = self._rejected_digest.hexdigest()
        self.state.rejected_bytes = len(held)

    def is_outdated_by(self, records: Iterable[bytes]) -> bool:
        """Whether nothing was ever sent, and what was found wrong is mended in these records."""
        state = self.state
        if not state.records or state.unsent < state.records:
            return False
        digest = hashlib.sha256()
        for body in islice(records, state.records):
            digest.update(body + b"\n")
        return digest.hexdigest() != state.digest

    def restart(self) -> None:
        """Forget what was sent."""
        self.state = State(self.state.url, self.state.partner)
        self._rejected_digest = hashlib.sha256()
        self.path.unlink(missing_ok=True)
        self.rejected_path.unlink(missing_ok=True)

    def cover(self, body: bytes) -> None:
        """Take a record into the digest, in order."""
        self._digest.update(body)
        self._digest.update(b"\n")

    @property
    def digest(self) -> str:
        """Of all records covered so far."""
        return self._digest.hexdigest()

    def check(self) -> None:
        """Compare what was covered with what was sent. Raises JournalFaultError."""
        if self.state.digest != self.digest:
            raise JournalFaultError(
                f"The first {self.state.records:,} records are not those that were sent:"
                " --restart sends all again."
            )

    def add_rejected(self, items: list[dict[str, Any]]) -> None:
        """Append items that were rejected, after what the journal knows of."""
        if not items:
            return
        with self.rejected_path.open("ab") as file:
            file.truncate(self.state.rejected_bytes)
            file.seek(0, os.SEEK_END)
            for item in items:
                line = msgspec.json.encode(item) + b"\n"
                file.write(line)
                self._rejected_digest.update(line)
            file.flush()
            os.fsync(file.fileno())
            self.state.rejected_bytes = file.tell()
        self.state.rejected_digest = self._rejected_digest.hexdigest()

    def save(self) -> None:
        """Put the state in place, in one step."""
        fresh = self.path.with_name(self.path.name + ".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(self.state))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
