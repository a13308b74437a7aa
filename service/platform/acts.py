"""What operators did: append-only and chained, so that a changed entry shows."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import combinations, islice
from typing import Any

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.arrays import Columns
from service.platform.canonical import FORM, canonical
from service.platform.database import Base, Connection, Write, write_all


class AuditEntry(Base):
    """One act of an operator. Append-only: a trigger refuses UPDATE, DELETE, TRUNCATE."""

    __tablename__ = "audit_log"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str]
    act: Mapped[str]
    object: Mapped[str]
    detail: Mapped[dict[str, Any]]
    request_id: Mapped[str]
    hash: Mapped[bytes]

    __table_args__ = (CheckConstraint("seq > 0", name="seq_is_positive"), Index(None, "object"))


class AuditHead(Base):
    """The chain's end: one row, locked by whoever adds an entry."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes]

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)


class Act(msgspec.Struct, frozen=True):
    """Who acts, by which request, and when."""

    actor: str
    request_id: str
    now: datetime

    async def log(
        self, connection: Connection, act: str, object_id: object, detail: dict[str, Any]
    ) -> None:
        """Add an entry in the act's own transaction; call it last, the head is one lock for all."""
        await write_all(connection, await act_writes(connection, [(self, act, object_id, detail)]))


async def act_writes(
    connection: Connection, acted: Iterable[tuple[Act, str, object, dict[str, Any]]]
) -> list[Write]:
    """Lock the end of the chain, and give the writes that lengthen it in this very transaction.

    `acted` are who, what, the object's id and the detail.
    """
    seq, head = (await connection.fetch(_LOCK_HEAD, bytes(32)))[0]
    rows = []
    for by, act, object_id, detail in acted:
        seq += 1
        entry = (seq, by.now, by.actor, act, str(object_id), detail, by.request_id)
        head = entry_digest(head, entry)
        rows.append((*entry, head))
    return [Write(_ADD, _ENTRIES.values(rows)), Write(_MOVE_HEAD, (seq, head))]


def entry_digest(previous: bytes, entry: Sequence[Any]) -> bytes:
    """SHA-256 over the previous entry's hash and this entry's columns, in canonical form."""
    return hashlib.sha256(previous + FORM + canonical(entry)).digest()


def earlier_zeros(previous: bytes, entry: Sequence[Any], found: bytes) -> int | None:
    """How many zeros were -0.0 where a digest of the earlier form fits; None where none does.

    That form covered the sign of a zero (a plot on the equator), which jsonb does not keep. Signs
    are tried, few of one kind first: 16 zeros of an ordinary entry in all ways.
    """
    seq, at, *rest = entry
    told = msgspec.json.encode([seq, at.timestamp(), *rest], order="sorted")
    parts = _ZERO.split(told)
    zeros = range(len(parts) - 1)
    sizes = sorted(range(len(parts)), key=lambda n: min(n, len(zeros) - n))
    chosen = (negative for size in sizes for negative in combinations(zeros, size))
    for negative in islice(chosen, min(_TRIES_MAX, _BYTES_MAX // len(told))):
        signed = [b"-0.0" if n in negative else b"0.0" for n in zeros]
        text = b"".join(part for pair in zip(parts, [*signed, b""], strict=True) for part in pair)
        if hashlib.sha256(previous + text).digest() == found:
            return len(negative)
    return None


_TRIES_MAX, _BYTES_MAX = 2**16, 2**26
_ZERO = re.compile(rb"(?<=[\[,:])0\.0(?=[],}])")
_LOCK_HEAD = """
INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, $1)
ON CONFLICT (id) DO UPDATE SET seq = audit_head.seq RETURNING seq, hash"""
_MOVE_HEAD = "UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1"
_ENTRIES = Columns(
    "seq bigint, at timestamptz, actor text, act text, object text, detail jsonb, request_id text,"
    "hash bytea"
)
_ADD = f"INSERT INTO audit_log ({_ENTRIES.names}) SELECT * FROM {_ENTRIES.rows}"  # noqa: S608
