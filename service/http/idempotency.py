"""Repeating a request is safe: the first answer is kept in the transaction of its effect.

What is ordered of a book is decided under its lock, and so are the keys of its person: a batch
reads first answers and writes new ones (`read_answers`, `keep_answers`). For everything else `once`
inserts the key's row first. A copy that arrives meanwhile waits there until the first one ended:
committed, it replays the stored answer; rolled back, it runs itself. A crash leaves nothing behind.
Actions do not come here: their key is their id.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from msgspec import Struct
from sqlalchemy import CheckConstraint, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from service.http.access import caller
from service.http.problems import problem_body, reader_of
from service.http.shared import AnyRequest, headers_of
from service.platform.arrays import Columns
from service.platform.clock import Clock
from service.platform.database import Base, Connection, Database, Write, row_count
from service.platform.errors import ConflictError, SaxaulError
from service.platform.ids import derived_uuid
from service.platform.persons import DELETE, of_persons
from service.platform.settings import Settings
from service.rules.decide.languages import Reader


class IdempotencyKey(Base):
    """The first answer to a key, by person and route; kept for a while of real time."""

    __tablename__ = "idempotency_keys"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    status: Mapped[int] = mapped_column(SmallInteger)
    body: Mapped[bytes]
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("status = 0 OR status BETWEEN 200 AND 499", name="status_is_final"),
        Index(None, "created_at"),
        of_persons(DELETE),
    )


KeyRow = tuple[UUID, str, str]
"""Whose key it is, on which route, and its text."""


class Key(Struct, frozen=True):
    """Who repeats what: `fingerprint` is the SHA-256 of everything that must be the same.

    In the language of the first `reader` the answer stays.
    """

    participant_id: UUID
    route: str
    key: str
    fingerprint: bytes
    reader: Reader

    @property
    def row(self) -> KeyRow:
        """The primary key of its row."""
        return self.participant_id, self.route, self.key


class Answer(Struct, frozen=True):
    """A status and a JSON body, ready to send; `reader` is whose language its sentences are in."""

    status: int
    body: bytes
    replayed: bool = False
    reader: Reader | None = None


class KeyReusedError(SaxaulError):
    """The key came before, with another request."""

    code = "idempotency-key-reused"
    text = "Idempotency-Key {key} was used for another request; use a new key."
    key: str


class KeyInProgressError(SaxaulError):
    """The first request with this key has not ended yet."""

    code = "idempotency-in-progress"
    retry_after_s = 1
    text = "The first request with Idempotency-Key {key} is still running."
    key: str


async def once(
    database: Database,
    key: Key | None,
    real_now: datetime,
    effect: Callable[[Connection], Awaitable[Answer]],
) -> Answer:
    """Run the effect in one transaction, or replay its first answer.

    A conflict (409) that the effect raises is an answer too: its own writes and locks are rolled
    back. Raises KeyReusedError, KeyInProgressError, and whatever else the effect raises.
    """
    async with database.transaction() as connection:
        if key is None:
            return await effect(connection)
        first = await _first_answer(connection, key, real_now)
        if first is not None:
            return first
        try:
            async with connection.transaction():
                answer = await effect(connection)
        except ConflictError as conflict:
            body = problem_body(conflict, key.reader)
            answer = Answer(conflict.status, body, reader=key.reader)
        await connection.execute(_STORE, *key.row, answer.status, answer.body)
        return answer


async def _first_answer(connection: Connection, key: Key, real_now: datetime) -> Answer | None:
    try:
        mine = await connection.fetchval(_RESERVE, *key.row, key.fingerprint, real_now)
    except asyncpg.LockNotAvailableError as error:
        raise KeyInProgressError(key.key) from error
    if mine:
        return None
    fingerprint, answer = (await read_answers(connection, [key])).get(key.row, (b"", None))
    if fingerprint != key.fingerprint:
        raise KeyReusedError(key.key)
    return answer


async def read_answers(
    connection: Connection, keys: Sequence[Key]
) -> dict[KeyRow, tuple[bytes, Answer]]:
    """The first answers to these keys, with the fingerprints of their requests.

    Their people's books are locked: whoever sends a key twice at once waits at the book.
    """
    if not keys:
        return {}
    rows = await connection.fetch(_READ, *zip(*[key.row for key in keys], strict=True))
    return {
        (row[0], row[1], row[2]): (row[3], Answer(row[4], row[5], replayed=True)) for row in rows
    }


def keep_answers(answers: Sequence[tuple[Key, Answer]], real_now: datetime) -> Write:
    """Keep these first answers."""
    rows = [(*key.row, key.fingerprint, a.status, a.body) for key, a in answers]
    return Write(_KEEP, (*_KEPT.values(rows), real_now))


async def purge_keys(database: Database, clock: Clock, settings: Settings) -> int:
    """Forget answers that were kept for their hours of real time, at most 10,000 a call."""
    before = clock.real_now() - timedelta(hours=settings.idempotency_keep_hours)
    return row_count(await database.pool.execute(_PURGE, before))


_RESERVE = """
INSERT INTO idempotency_keys (participant_id, route, key, fingerprint, status, body, created_at)
VALUES ($1, $2, $3, $4, 0, '', $5)
ON CONFLICT DO NOTHING
RETURNING true"""

_STORE = """
UPDATE idempotency_keys SET status = $4, body = $5
WHERE participant_id = $1 AND route = $2 AND key = $3"""

_KEPT = Columns(
    "participant_id uuid, route text, key text, fingerprint bytea, status smallint, body bytea"
)

_KEEP = f"""
INSERT INTO idempotency_keys ({_KEPT.names}, created_at)
SELECT d.*, $7 FROM {_KEPT.rows}"""  # noqa: S608 - constant columns

_READ = """
SELECT participant_id, route, key, fingerprint, status, body FROM idempotency_keys
JOIN unnest($1::uuid[], $2::text[], $3::text[]) AS k (participant_id, route, key)
    USING (participant_id, route, key)"""

_PURGE = """
DELETE FROM idempotency_keys WHERE (participant_id, route, key) IN (
    SELECT participant_id, route, key FROM idempotency_keys WHERE created_at < $1 LIMIT 10000)"""

_KEY = re.compile(r"[!-~]{16,128}")


class KeyRequiredError(SaxaulError):
    """A request that must be repeatable came without a key."""

    code = "idempotency-key-required"
    text = "Send a header Idempotency-Key of 16 to 128 visible ASCII characters."


class KeyMalformedError(SaxaulError):
    """A key that is too short, too long, or holds other characters."""

    code = "idempotency-key-malformed"
    text = "Idempotency-Key must have 16 to 128 visible ASCII characters."


async def key_of(request: AnyRequest) -> Key | None:
    """The key that makes this request repeatable, bare or as a quoted string, if it has one.

    An operator's is kept under an id that is nobody's. Its fingerprint covers method, path, query
    and body. Raises KeyRequiredError, KeyMalformedError.
    """
    text, access = key_text(request), request.route_handler.opt["access"]
    if text is None:
        if access.key_required:
            raise KeyRequiredError
        return None
    who, scope = caller(request), request.scope
    owner = who.participant or derived_uuid(b"keys of an operator", who.subject.encode())
    digest = hashlib.sha256()
    for part in (scope["method"].encode(), scope["path"].encode(), scope["query_string"]):
        digest.update(len(part).to_bytes(4) + part)
    digest.update(await request.body())
    route = f"{scope['method']} {scope['path_template']}"
    return Key(owner, route, text, digest.digest(), reader_of(request))


def key_text(request: AnyRequest) -> str | None:
    """The header Idempotency-Key, bare or as a quoted string. Raises KeyMalformedError."""
    values = headers_of(request, b"idempotency-key")
    if not values:
        return None
    text = values[0].strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if len(values) > 1 or _KEY.fullmatch(text) is None:
        raise KeyMalformedError
    return text


def is_key(text: str) -> bool:
    """Whether this may be an Idempotency-Key."""
    return _KEY.fullmatch(text) is not None
