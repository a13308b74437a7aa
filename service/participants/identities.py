"""From a token's subject to a participant: found by a keyed hash, made on first use."""

import hashlib
import hmac
import secrets
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec

from service.ledger.books import make_book
from service.platform.database import Database
from service.platform.errors import UnavailableError
from service.platform.ids import uuid4

_SALT_BYTES = 16
_ROUNDS = 3

_WORDS = msgspec.yaml.decode(
    Path(__file__).with_name("aliases.yaml").read_bytes(), type=dict[str, list[str]]
)


def subject_key(secret_key: str, issuer: str, subject: str) -> bytes:
    """Where an identity is kept: an HMAC, so that nobody without the key can compute it."""
    name = issuer.encode()
    message = b"identity" + len(name).to_bytes(4) + name + subject.encode()
    return hmac.digest(secret_key.encode(), message, hashlib.sha256)


def generated_alias() -> str:
    """A display name that tells nothing of the person."""
    adjective, noun = map(secrets.choice, (_WORDS["adjectives"], _WORDS["nouns"]))
    return f"{adjective} {noun} {secrets.randbelow(9_000) + 1_000}"


async def resolve_participant(
    database: Database, secret_key: str, issuer: str, subject: str, now: datetime
) -> UUID:
    """The participant behind a token, with an empty book when the person was unknown.

    Two first calls at once make one participant: the unique key lets one insert and has the other
    wait for it.
    """
    key = subject_key(secret_key, issuer, subject)
    for _ in range(_ROUNDS):
        found: UUID | None = await database.pool.fetchval(_FIND, key)
        if found is None:
            found = await _make(database, key, now)
        if found is not None:
            return found
    raise UnavailableError("This participant is being erased; send the request again.")


async def _make(database: Database, key: bytes, now: datetime) -> UUID | None:
    """Make a participant; None when somebody else did so first."""
    participant_id = uuid4()
    async with database.transaction() as connection:
        if not await connection.fetchval(_ADD_IDENTITY, key, participant_id, now):
            return None
        await connection.execute(_ADD_PARTICIPANT, participant_id, generated_alias(), now)
        await make_book(connection, participant_id, secrets.token_bytes(_SALT_BYTES), now)
    return participant_id


_FIND = "SELECT participant_id FROM identities WHERE subject_key = $1"

_ADD_IDENTITY = """
INSERT INTO identities (subject_key, participant_id, created_at) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING true"""

_ADD_PARTICIPANT = """
INSERT INTO participants (participant_id, display_name, created_at) VALUES ($1, $2, $3)"""
