"""Books: made once, locked in id order, moved in memory, written back in one statement.

A locked `Book` is a working copy: `post` moves grams between its accounts, and `book_writes` gives
the writes that make it durable. Book locks are taken here and nowhere else.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from service.ledger.accounts import Account
from service.platform.arrays import dates, integers, times, uuids
from service.platform.database import Connection, Database, Write
from service.platform.errors import (
    BookClosedError,
    ConflictError,
    ForbiddenError,
    InsufficientEnergyError,
    SaxaulError,
    UnavailableError,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ROW = struct.Struct(">16sqhhq16s16sq")
_NOBODY = bytes(16)
_MARK_MAX = 200


class BookBusyError(UnavailableError):
    """The book was held by somebody else for too long."""

    text = "Your account is busy; send the request again."
    participant_id: UUID


class SuspendedError(ForbiddenError):
    """An operator suspended this participant: reading goes on, moving grams does not."""

    code = "participant-suspended"
    text = "This participant is suspended; ask the operators."


class ParticipantErasedError(ConflictError):
    """An operator wants to move grams in a book that erasure closed for ever."""

    text = "Participant {participant_id} was erased; nothing moves in this book."
    participant_id: UUID


class BookMissingError(SaxaulError):
    """There is no such book."""

    code = "not-found"
    text = "There is no participant {participant_id}."
    participant_id: UUID


@dataclass(slots=True)
class Transfer:
    """Grams that moved inside one book, as its table stores them."""

    seq: int
    debit: Account
    credit: Account
    amount_g: int
    cause: str
    cause_id: UUID
    counter_id: UUID | None
    at: datetime
    hash: bytes


@dataclass(slots=True)
class Book:
    """The working copy of a locked book; balances by account, in grams."""

    participant_id: UUID
    balances: list[int]
    seq: int
    head: bytes
    last_at: datetime
    action_seq: int
    saved_g: int
    trees: int
    active_days: int
    active_anchor: date | None
    active_before: int
    closed: bool
    suspended: bool
    salt: bytes | None
    posted: list[Transfer] = field(default_factory=list)

    def __getitem__(self, account: Account) -> int:
        """The balance of an account, grams."""
        return self.balances[account - 1]

    def tick(self, now: datetime) -> datetime:
        """The time of what is booked next: never before what was booked last."""
        self.last_at = max(now, self.last_at)
        return self.last_at

    def require_open(self) -> None:
        """Raise BookClosedError or SuspendedError when nothing may move."""
        if self.closed:
            raise BookClosedError(self.participant_id)
        if self.suspended:
            raise SuspendedError

    def require_not_erased(self) -> None:
        """Raise ParticipantErasedError; what operators do goes on while somebody is suspended."""
        if self.closed:
            raise ParticipantErasedError(self.participant_id)

    def require(self, account: Account, needed_g: int) -> None:
        """Raise InsufficientEnergyError when the account holds less than that."""
        if self[account] < needed_g:
            raise InsufficientEnergyError(needed_g=needed_g, available_g=self[account])


def post(
    book: Book,
    debit: Account,
    credit: Account,
    amount_g: int,
    *,
    cause: str,
    cause_id: UUID,
    at: datetime,
    counter_id: UUID | None = None,
    facts_digest: bytes = b"",
) -> None:
    """Move grams from one account of a locked book to another, and lengthen its hash chain.

    What becomes available repays first what reversals left in arrears. `facts_digest` is the
    action's, for an award: so the chain covers why, too.
    """
    if amount_g <= 0 or debit == credit:
        message = f"a transfer needs a positive amount and two accounts: {amount_g} g"
        raise ValueError(message)
    book.balances[debit - 1] -= amount_g
    book.balances[credit - 1] += amount_g
    book.seq += 1
    book.head = transfer_hash(
        book.head,
        participant_id=book.participant_id,
        seq=book.seq,
        sides=(debit, credit),
        amount_g=amount_g,
        cause=cause,
        cause_id=cause_id,
        counter_id=counter_id,
        at=at,
        facts_digest=facts_digest,
    )
    book.posted.append(
        Transfer(book.seq, debit, credit, amount_g, cause, cause_id, counter_id, at, book.head)
    )
    owed_g = -book[Account.ARREARS]
    if credit is Account.AVAILABLE and owed_g:
        repaid_g = min(amount_g, owed_g)
        post(book, credit, Account.ARREARS, repaid_g, cause="arrears", cause_id=cause_id, at=at)


def transfer_hash(
    previous: bytes,
    *,
    participant_id: UUID,
    seq: int,
    sides: tuple[int, int],
    amount_g: int,
    cause: str,
    cause_id: UUID,
    counter_id: UUID | None,
    at: datetime,
    facts_digest: bytes,
) -> bytes:
    """SHA-256 over the previous hash and the canonical bytes of a transfer.

    Canonical: participant id, seq, debit, credit, amount, cause id, counter id (zeros for none),
    microseconds since 1970, all big-endian, then the cause's UTF-8, a zero byte, the facts' digest.
    """
    row = _ROW.pack(
        participant_id.bytes,
        seq,
        sides[0],
        sides[1],
        amount_g,
        cause_id.bytes,
        counter_id.bytes if counter_id else _NOBODY,
        (at - _EPOCH) // _MICROSECOND,
    )
    return hashlib.sha256(b"".join((previous, row, cause.encode(), b"\0", facts_digest))).digest()


def first_head(participant_id: UUID) -> bytes:
    """Where a book's chain begins."""
    return hashlib.sha256(b"saxaul book " + participant_id.bytes).digest()


async def make_book(
    connection: Connection, participant_id: UUID, salt: bytes, now: datetime
) -> None:
    """Open an empty book; one that is there already stays as it is."""
    await connection.execute(_MAKE, participant_id, first_head(participant_id), salt, now)


async def lock_free_books(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, Book]:
    """Lock those of these books that nobody holds, in id order; the others are left out.

    Skipping what is held keeps one slow book from stalling a whole lane. Read nothing that the
    books cover in the same statement: it would show the snapshot from before the lock.
    """
    rows = await connection.fetch(_LOCK_FREE, sorted(ids))
    return {row[0]: _book(row) for row in rows}


async def lock_books(
    connection: Connection, ids: Iterable[UUID], *, wait_ms: int = 2_000
) -> dict[UUID, Book]:
    """Lock all of these books in id order, waiting for those held. Missing ones are left out.

    Raises asyncpg.LockNotAvailableError after `wait_ms`.
    """
    await connection.execute("SELECT set_config('lock_timeout', $1, true)", f"{wait_ms}ms")
    rows = await connection.fetch(_LOCK_ALL, sorted(ids))
    await connection.execute("SELECT set_config('lock_timeout', '0', true)")
    return {row[0]: _book(row) for row in rows}


async def lock_book(connection: Connection, participant_id: UUID) -> Book:
    """Lock one book, waiting for it. Raises BookMissingError."""
    books = await lock_books(connection, [participant_id])
    if participant_id not in books:
        raise BookMissingError(participant_id)
    return books[participant_id]


async def hold_open(connection: Connection, participant_id: UUID) -> None:
    """Lock the book, so that an erasure waits and finds what this transaction leaves of a person.

    Raises BookMissingError, BookClosedError.
    """
    book = await lock_book(connection, participant_id)
    if book.closed:
        raise BookClosedError(participant_id)


async def hold_not_erased(connection: Connection, participant_id: UUID) -> None:
    """The same for what an operator does. Raises BookMissingError, ParticipantErasedError."""
    (await lock_book(connection, participant_id)).require_not_erased()


async def mark_audited(database: Database, seqs: Mapping[UUID, int]) -> None:
    """Remember how far these books were found clean. Who is held by somebody waits for the next."""
    for first in range(0, len(seqs), _MARK_MAX):
        ids = [*seqs][first : first + _MARK_MAX]
        async with database.transaction() as connection:
            books = [*await lock_free_books(connection, ids)]
            await connection.execute(_MARK, books, [seqs[book] for book in books])


async def suspend_book(
    connection: Connection,
    participant_id: UUID,
    suspended: bool,  # noqa: FBT001 - the one fact
) -> None:
    """Let nothing move in a locked book, or let it move again."""
    await connection.execute(_SUSPEND, participant_id, suspended)


def close_write(participant_id: UUID, at: datetime) -> Write:
    """Close a locked book for ever, and forget in it what tells of a person."""
    return Write(_CLOSE, (participant_id, at))


def book_writes(books: Sequence[Book]) -> list[Write]:
    """The writes that make these working copies durable: their new transfers, and the books."""
    writes = [_books_write(books)]
    if any(book.posted for book in books):
        writes.insert(0, _transfers_write(books))
    return writes


def _transfers_write(books: Sequence[Book]) -> Write:
    owners = [book.participant_id for book in books for _ in book.posted]
    posted = [transfer for book in books for transfer in book.posted]
    return Write(
        _ADD_TRANSFERS,
        (
            uuids(owners),
            integers([t.seq for t in posted]),
            integers([t.debit for t in posted]),
            integers([t.credit for t in posted]),
            integers([t.amount_g for t in posted]),
            [t.cause for t in posted],
            uuids([t.cause_id for t in posted]),
            uuids([t.counter_id for t in posted]),
            times([t.at for t in posted]),
            [t.hash for t in posted],
        ),
    )


def _books_write(books: Sequence[Book]) -> Write:
    columns = zip(*[book.balances for book in books], strict=True)
    return Write(
        _UPDATE,
        (
            uuids([book.participant_id for book in books]),
            *map(integers, columns),
            integers([book.saved_g for book in books]),
            integers([book.seq for book in books]),
            integers([book.action_seq for book in books]),
            times([book.last_at for book in books]),
            integers([book.active_days for book in books]),
            dates([book.active_anchor for book in books]),
            integers([book.active_before for book in books]),
            integers([book.trees for book in books]),
            [book.head for book in books],
        ),
    )


def _book(row: Any) -> Book:
    values = tuple(row)
    return Book(values[0], list(values[1:9]), *values[9:])


_BALANCES = [account.column for account in Account]
_COLUMNS = f"""
    participant_id, {", ".join(_BALANCES)},
    seq, head, last_at, action_seq, saved_g, trees, active_days, active_anchor, active_before,
    closed, suspended, salt"""

_LOCK_FREE = f"""
SELECT {_COLUMNS} FROM books WHERE participant_id = ANY($1::uuid[])
ORDER BY participant_id FOR NO KEY UPDATE SKIP LOCKED"""  # noqa: S608 - constant columns

_LOCK_ALL = f"""
SELECT {_COLUMNS} FROM books WHERE participant_id = ANY($1::uuid[])
ORDER BY participant_id FOR NO KEY UPDATE"""  # noqa: S608 - constant columns

_MAKE = """
INSERT INTO books (participant_id, head, salt, last_at) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING"""

_ADD_TRANSFERS = """
INSERT INTO transfers
    (participant_id, seq, debit, credit, amount_g, cause, cause_id, counter_id, at, hash)
SELECT * FROM unnest(
    $1::text::uuid[], $2::text::bigint[], $3::text::smallint[], $4::text::smallint[],
    $5::text::bigint[], $6::text[],
    $7::text::uuid[], $8::text::uuid[], $9::text::timestamptz[], $10::bytea[])"""

_UPDATE = f"""
UPDATE books SET
    {", ".join(f"{name} = d.{name}" for name in _BALANCES)},
    saved_g = d.saved_g, seq = d.seq, action_seq = d.action_seq, last_at = d.last_at,
    active_days = d.active_days, active_anchor = d.active_anchor,
    active_before = d.active_before, trees = d.trees, head = d.head
FROM unnest(
    $1::text::uuid[], {", ".join(f"${n + 1}::text::bigint[]" for n in Account)},
    $10::text::bigint[], $11::text::bigint[], $12::text::bigint[],
    $13::text::timestamptz[], $14::text::bigint[], $15::text::date[], $16::text::integer[],
    $17::text::integer[], $18::bytea[]
) AS d (
    participant_id, {", ".join(_BALANCES)},
    saved_g, seq, action_seq, last_at, active_days, active_anchor, active_before, trees, head)
WHERE books.participant_id = d.participant_id
    AND books.participant_id = ANY($1::text::uuid[])"""  # noqa: S608 - constant columns

_MARK = """
UPDATE books SET audited_seq = m.seq
FROM unnest($1::uuid[], $2::bigint[]) AS m (participant_id, seq)
WHERE books.participant_id = m.participant_id AND books.participant_id = ANY($1::uuid[])
    AND books.audited_seq < m.seq"""

_SUSPEND = "UPDATE books SET suspended = $2 WHERE participant_id = $1"

_CLOSE = """
UPDATE books SET closed = true, salt = NULL, last_at = $2,
    active_days = 0, active_anchor = NULL, active_before = 0
WHERE participant_id = $1"""
