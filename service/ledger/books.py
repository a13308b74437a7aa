"""Books: made once, locked in id order, moved in memory, written back in one statement.

A locked `Book` is a working copy: `post` moves grams between its accounts, and `book_writes` gives
the writes that make it durable. Book locks are taken here and nowhere else.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import astuple

from service.ledger.accounts import Account
from service.ledger.chain import Transfer, first_head, transfer_hash
from service.platform.arrays import Columns
from service.platform.database import Connection, Database, Write
from service.platform.errors import (
    BookClosedError,
    ConflictError,
    ForbiddenError,
    InsufficientEnergyError,
    SaxaulError,
    UnavailableError,
)

_MARK_MAX = 200


class BookBusyError(UnavailableError):
    """The book, or what else is moved, was held by somebody else for too long."""

    text = "Your account, or what you ask for, is busy; send the request again."
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


class Book(Struct):
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
    posted: list[Transfer] = []

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
    transfer = Transfer(book.seq, debit, credit, amount_g, cause, cause_id, counter_id, at)
    book.head = transfer.hash = transfer_hash(
        book.head, book.participant_id, transfer, facts_digest
    )
    book.posted.append(transfer)
    if credit is Account.AVAILABLE and book[Account.ARREARS]:
        repaid_g = min(amount_g, -book[Account.ARREARS])
        post(book, credit, Account.ARREARS, repaid_g, cause="arrears", cause_id=cause_id, at=at)


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
    return _books(await connection.fetch(_LOCK_FREE, sorted(ids)))


async def lock_books(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, Book]:
    """Lock all of these books in id order, waiting for those held. Missing ones are left out.

    Raises asyncpg.LockNotAvailableError.
    """
    return _books(await connection.fetch(_LOCK_ALL, sorted(ids)))


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
    if (await lock_book(connection, participant_id)).closed:
        raise BookClosedError(participant_id)


async def mark_audited(database: Database, seqs: Mapping[UUID, int]) -> None:
    """Remember how far these books were found clean. Who is held by somebody waits for the next."""
    for first in range(0, len(seqs), _MARK_MAX):
        ids = [*seqs][first : first + _MARK_MAX]
        async with database.transaction() as connection:
            books = [*await lock_free_books(connection, ids)]
            await connection.execute(_MARK, books, [seqs[book] for book in books])


async def suspend_book(connection: Connection, participant_id: UUID, *, suspended: bool) -> None:
    """Let nothing move in a locked book, or let it move again."""
    await connection.execute(_SUSPEND, participant_id, suspended)


def close_write(participant_id: UUID, at: datetime) -> Write:
    """Close a locked book for ever, and forget in it what tells of a person."""
    return Write(_CLOSE, (participant_id, at))


def book_writes(books: Sequence[Book]) -> list[Write]:
    """The writes that make these working copies durable: their new transfers, and the books."""
    rows = [astuple(book) for book in books]
    update = Write(_UPDATE, _BOOKS.values([(row[0], *row[1], *row[2:11]) for row in rows]))
    posted = [(book.participant_id, *astuple(each)) for book in books for each in book.posted]
    return [Write(_ADD_TRANSFERS, _TRANSFERS.values(posted)), update] if posted else [update]


def _books(rows: Iterable[Any]) -> dict[UUID, Book]:
    return {row[0]: Book(row[0], list(row[1:9]), *row[9:]) for row in rows}


_BALANCES = [account.column for account in Account]

_BOOKS = Columns(
    f"participant_id uuid, {' bigint, '.join(_BALANCES)} bigint, seq bigint, head bytea,"
    "last_at timestamptz, action_seq bigint, saved_g bigint, trees integer, active_days bigint,"
    "active_anchor date, active_before integer"
)

_LOCK_ALL = f"""
SELECT {_BOOKS.names}, closed, suspended, salt FROM books WHERE participant_id = ANY($1::uuid[])
ORDER BY participant_id FOR NO KEY UPDATE"""  # noqa: S608 - constant columns

_LOCK_FREE = _LOCK_ALL + " SKIP LOCKED"

_MAKE = """
INSERT INTO books (participant_id, head, salt, last_at) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING"""

_TRANSFERS = Columns(
    "participant_id uuid, seq bigint, debit smallint, credit smallint, amount_g bigint, cause text,"
    "cause_id uuid, counter_id uuid, at timestamptz, hash bytea"
)

_ADD_TRANSFERS = f"INSERT INTO transfers ({_TRANSFERS.names}) SELECT * FROM {_TRANSFERS.rows}"  # noqa: S608

_UPDATE = f"""
UPDATE books SET {", ".join(f"{name} = d.{name}" for name in _BOOKS.names.split(", ")[1:])}
FROM {_BOOKS.rows}
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
