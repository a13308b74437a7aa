"""Identifiers that are made outside the database, so that no sequence has to be global."""

import hashlib
import os
from datetime import datetime
from uuid import UUID

from asyncpg.pgproto import pgproto

_VERSION = 0xF << 76
_VARIANT = 0x3 << 62


def uuid7(now: datetime) -> UUID:
    """A time-ordered random id (RFC 9562, version 7), so that inserts stay close in an index."""
    milliseconds = int(now.timestamp() * 1000)
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10))
    return _stamped(value, 7)


def uuid4() -> UUID:
    """A random id (version 4): nothing can be told from it, nor computed to it."""
    return _stamped(int.from_bytes(os.urandom(16)), 4)


def derived_uuid(*parts: bytes) -> UUID:
    """The id that follows from what it names (RFC 9562, version 8): the same parts, the same id.

    Each part is preceded by its length, so that ("a", "bc") and ("ab", "c") differ.
    """
    framed = b"".join([len(part).to_bytes(4) + part for part in parts])
    return _stamped(int.from_bytes(hashlib.blake2b(framed, digest_size=16).digest()), 8)


def _stamped(value: int, version: int) -> UUID:
    value = value & ~_VERSION & ~_VARIANT | version << 76 | 0x2 << 62
    # asyncpg's UUID is a uuid.UUID in C: hashing, comparing and sending it cost a tenth.
    fast: UUID = pgproto.UUID(value.to_bytes(16))
    return fast
