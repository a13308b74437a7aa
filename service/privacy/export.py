"""Export: everything held about a person, as one JSON document, in pieces of bounded size.

Whatever table has a participant_id is exported by its columns, those of later parts too, unless
it tells why not (`not_exported`). What operators did to them and why stands beside it; who of them
did it is told to operators only. Each page is a read of its own: transfers and actions end
where the book stood at the beginning, the rest is as it was when its page was read.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Table

from service.ledger.accounts import Account
from service.platform.database import Database
from service.platform.errors import BookClosedError
from service.platform.reads import Reads, Row
from service.tables import metadata

ROWS_MAX = 1_000

# The salt keeps erased attributes from being guessed; it tells nothing of anybody.
_HIDDEN = {"books": {"salt"}, "parked_events": {"event_key"}}
# In which column a table counts, and in which of the book its count stands.
_COUNTED = {"transfers": ("seq", "seq"), "actions": ("seq", "action_seq")}


def exported_tables() -> list[Table]:
    """The tables that hold something about a person, the book first."""
    tables = [
        table
        for table in metadata.tables.values()
        if "participant_id" in table.c and "not_exported" not in table.info
    ]
    return sorted(tables, key=lambda table: (table.name != "books", table.name))


async def export_participant(
    database: Database, participant_id: UUID, now: datetime
) -> AsyncIterator[bytes]:
    """The document, piece by piece. Raises BookClosedError before the first piece."""
    tables = exported_tables()
    book = await database.lists.first(_BOOK, participant_id)
    if book is None or book["closed"]:
        raise BookClosedError(participant_id)
    return _pieces(database, participant_id, tables, book, now)


async def _pieces(
    database: Database,
    participant_id: UUID,
    tables: Sequence[Table],
    book: Row,
    now: datetime,
) -> AsyncIterator[bytes]:
    yield msgspec.json.encode({"participant_id": participant_id, "exported_at": now})[:-1]
    reads, person = database.lists, str(participant_id)
    lists = {table.name: _rows(reads, table, participant_id, book) for table in tables}
    lists["parked_events"] = _paged(reads, "parked_events", _PARKED, ["event_key"], participant_id)
    lists["operators_acts"] = _paged(
        reads, "operators_acts", _ACTS, ["seq"], participant_id, person
    )
    for name, pieces in lists.items():
        yield b',"' + name.encode() + b'":['
        async for piece in pieces:
            yield piece
        yield b"]"
    yield b"}"


def _rows(reads: Reads, table: Table, participant_id: UUID, book: Row) -> AsyncIterator[bytes]:
    """What a table holds of this person, by its primary key, which names a row within them."""
    columns = ", ".join(f'"{column.name}"' for column in table.c)
    query = f"SELECT {columns} FROM {table.name} WHERE participant_id = $1"  # noqa: S608 - ours
    values: tuple[object, ...] = (participant_id,)
    if counted := _COUNTED.get(table.name):
        query, values = f"{query} AND {counted[0]} <= $2", (*values, book[counted[1]])
    order = [column.name for column in table.primary_key if column.name != "participant_id"]
    return _paged(reads, table.name, query, order or ["participant_id"], *values)


async def _paged(
    reads: Reads, name: str, query: str, order: Sequence[str], *values: object
) -> AsyncIterator[bytes]:
    """Rows in the order of these columns, page by page."""
    keys = ", ".join(f'"{column}"' for column in order)
    after: list[object] = []
    while True:
        places = ", ".join(f"${len(values) + n}" for n in range(1, len(after) + 1))
        beyond = f" AND ({keys}) > ({places})" if after else ""
        page = f"{query}{beyond} ORDER BY {keys} LIMIT {ROWS_MAX}"
        rows = await reads.fetch(page, *values, *after)
        if rows:
            encoded = b",".join(msgspec.json.encode(_shown(name, row)) for row in rows)
            yield b"," + encoded if after else encoded
        if len(rows) < ROWS_MAX:
            return
        after = [rows[-1][column] for column in order]


def _shown(table: str, row: Row) -> dict[str, Any]:
    shown = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in row.items()
        if name not in _HIDDEN.get(table, ())
    }
    if table == "idempotency_keys":
        shown["body"] = msgspec.Raw(row["body"] or b"null")
    if table == "transfers":
        shown |= {side: Account(row[side]).column for side in ("debit", "credit")}
    return shown


_BOOK = "SELECT * FROM books WHERE participant_id = $1"

# What partners sent of this person and what waits to be decided.
_PARKED = """
SELECT e.partner_id, e.received_at, e.reason, e.body, e.event_key
FROM partner_events e
JOIN links l ON l.partner_id = e.partner_id AND l.subject_key = e.subject_key
WHERE l.participant_id = $1 AND l.ended_at IS NULL AND e.state = 'parked'
    AND (l.since IS NULL OR (e.body ->> 'time')::timestamptz >= l.since)"""

# What operators did to this person or their actions, with the reasons that they gave.
_ACTS = """
SELECT seq, at, act, object, detail FROM audit_log
WHERE (object = $2 OR object IN (
    SELECT reverses::text FROM actions WHERE participant_id = $1 AND kind = 'reversal'))"""
