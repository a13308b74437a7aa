"""The chain of a book: the hash of each transfer covers it and the hash of the one before."""

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ROW = struct.Struct(">16sqhhq16s16sq")
_NOBODY = bytes(16)


class Transfer(msgspec.Struct):
    """Grams that moved inside one book, as its table stores them."""

    seq: int
    debit: int
    credit: int
    amount_g: int
    cause: str
    cause_id: UUID
    counter_id: UUID | None
    at: datetime
    hash: bytes = b""


def transfer_hash(
    previous: bytes, participant_id: UUID, transfer: Transfer, facts_digest: bytes
) -> bytes:
    """SHA-256 over the previous hash and the canonical bytes of a transfer.

    Canonical: participant id, seq, debit, credit, amount, cause id, counter id (zeros for none),
    microseconds since 1970, all big-endian, then the cause's UTF-8, a zero byte, the facts' digest.
    """
    row = _ROW.pack(
        participant_id.bytes,
        transfer.seq,
        transfer.debit,
        transfer.credit,
        transfer.amount_g,
        transfer.cause_id.bytes,
        transfer.counter_id.bytes if transfer.counter_id else _NOBODY,
        _microseconds(transfer.at),
    )
    told = (previous, row, transfer.cause.encode(), b"\0", facts_digest)
    return hashlib.sha256(b"".join(told)).digest()


@lru_cache(maxsize=256)
def _microseconds(at: datetime) -> int:
    """Since 1970. What a batch moves mostly has one time."""
    return (at - _EPOCH) // _MICROSECOND


def first_head(participant_id: UUID) -> bytes:
    """Where a book's chain begins."""
    return hashlib.sha256(b"saxaul book " + participant_id.bytes).digest()
