"""Export: everything held about a person, as one JSON document, in pieces of bounded size.

Whatever table has a participant_id is exported by its columns, those of later parts too, unless
it tells why not (`not_exported`). What operators did to them and why stands beside it; who of them
did it is told to operators only. Each page is a read of its own: transfers and actions end
where the book stood at the beginning, the rest is as it was when its page was read.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import DateTime, RowMapping, Select, Table, Text, cast, or_, select, tuple_

from service.ledger.accounts import Account
from service.platform.acts import AuditEntry
from service.platform.database import Base, Database
from service.platform.errors import BookClosedError

ROWS_MAX = 1_000

# The salt keeps erased attributes from being guessed; it tells nothing of anybody.
_HIDDEN = {"books": {"salt"}}
# In which column a table counts, and in which of the book its count stands.
_COUNTED = {"transfers": ("seq", "seq"), "actions": ("seq", "action_seq")}


def exported_tables() -> list[Table]:
    """The tables that hold something about a person, the book first."""
    tables = [
        table
        for table in Base.metadata.tables.values()
        if "participant_id" in table.c and "not_exported" not in table.info
    ]
    return sorted(tables, key=lambda table: (table.name != "books", table.name))


async def export_participant(
    database: Database, participant_id: UUID, now: datetime
) -> AsyncIterator[bytes]:
    """The document, piece by piece. Raises BookClosedError before the first piece."""
    tables = exported_tables()
    books = tables[0]
    query = select(books).where(books.c.participant_id == participant_id)
    async with database.sessions() as session:
        book = (await session.execute(query)).mappings().one_or_none()
    if book is None or book["closed"]:
        raise BookClosedError(participant_id)
    return _pieces(database, participant_id, tables, book, now)


async def _pieces(
    database: Database,
    participant_id: UUID,
    tables: Sequence[Table],
    book: RowMapping,
    now: datetime,
) -> AsyncIterator[bytes]:
    yield msgspec.json.encode({"participant_id": participant_id, "exported_at": now})[:-1]
    lists = {table.name: _rows(database, table, participant_id, book) for table in tables}
    lists["parked_events"] = _parked(database, participant_id)
    lists["operators_acts"] = _acts(database, participant_id)
    for name, pieces in lists.items():
        yield b',"' + name.encode() + b'":['
        async for piece in pieces:
            yield piece
        yield b"]"
    yield b"}"


def _rows(
    database: Database, table: Table, participant_id: UUID, book: RowMapping
) -> AsyncIterator[bytes]:
    """What a table holds of this person, by its primary key, which names a row within them."""
    query = select(table).where(table.c.participant_id == participant_id)
    if counted := _COUNTED.get(table.name):
        query = query.where(table.c[counted[0]] <= book[counted[1]])
    order = [column for column in table.primary_key if column.name != "participant_id"]
    shown = partial(_shown, table.name)
    return _paged(database, query, order or [table.c.participant_id], shown)


def _parked(database: Database, participant_id: UUID) -> AsyncIterator[bytes]:
    """What partners sent of this person and what waits to be decided."""
    tables = Base.metadata.tables
    event, link = tables["partner_events"].c, tables["links"].c
    happened = cast(event.body["time"].astext, DateTime(timezone=True))
    linked = (link.partner_id == event.partner_id) & (link.subject_key == event.subject_key)
    query = (
        select(event.partner_id, event.received_at, event.reason, event.body)
        .join_from(tables["partner_events"], tables["links"], linked)
        .where(link.participant_id == participant_id, link.ended_at.is_(None))
        .where(event.state == "parked", or_(link.since.is_(None), happened >= link.since))
    )
    return _paged(database, query, [event.event_key])


def _acts(database: Database, participant_id: UUID) -> AsyncIterator[bytes]:
    """What operators did to this person or their actions, with the reasons that they gave."""
    actions = Base.metadata.tables["actions"]
    reversed_ids = select(cast(actions.c.reverses, Text)).where(
        actions.c.participant_id == participant_id, actions.c.kind == "reversal"
    )
    entry = AuditEntry
    theirs = or_(entry.object == str(participant_id), entry.object.in_(reversed_ids))
    query = select(entry.seq, entry.at, entry.act, entry.object, entry.detail).where(theirs)
    return _paged(database, query, [entry.seq])


async def _paged(
    database: Database,
    query: Select[Any],
    order: Sequence[Any],
    shown: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> AsyncIterator[bytes]:
    """Rows in the order of these columns, page by page; `query` shows them or not."""
    keys = [column.label(f"_key{n}") for n, column in enumerate(order)]
    query, after = query.add_columns(*keys).order_by(*order).limit(ROWS_MAX), None
    while True:
        page = query if after is None else query.where(tuple_(*order) > tuple_(*after))
        async with database.sessions() as session:
            rows = [dict(row) for row in (await session.execute(page)).mappings()]
        key_values = [[row.pop(key.name) for key in keys] for row in rows]
        if rows:
            encoded = b",".join(msgspec.json.encode(shown(row)) for row in rows)
            yield encoded if after is None else b"," + encoded
        if len(rows) < ROWS_MAX:
            return
        after = key_values[-1]


def _shown(table: str, row: dict[str, Any]) -> dict[str, Any]:
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
