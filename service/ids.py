"""Identifiers that are made outside the database, so that no sequence has to be global."""

import hashlib
import os
from datetime import datetime
from uuid import UUID


def uuid7(now: datetime) -> UUID:
    """A time-ordered random id (RFC 9562, version 7), so that inserts stay close in an index."""
    milliseconds = int(now.timestamp() * 1000)
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10))
    return UUID(int=_stamped(value, 7))


def derived_uuid(*parts: bytes) -> UUID:
    """The id that follows from what it names (RFC 9562, version 8): the same parts, the same id.

    Each part is preceded by its length, so that ("a", "bc") and ("ab", "c") differ.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(4))
        digest.update(part)
    return UUID(int=_stamped(int.from_bytes(digest.digest()), 8))


def _stamped(value: int, version: int) -> int:
    value = value & ~(0xF << 76) | version << 76
    return value & ~(0x3 << 62) | 0x2 << 62
