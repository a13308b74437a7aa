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
from sqlalchemy import Column, DateTime, RowMapping, Select, Table, Text, cast, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import QueryableAttribute

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
        for _, table in sorted(Base.metadata.tables.items())
        if "participant_id" in table.c and "not_exported" not in table.info
    ]
    return sorted(tables, key=lambda table: table.name != "books")


async def export_participant(
    database: Database, participant_id: UUID, now: datetime
) -> AsyncIterator[bytes]:
    """The document, piece by piece. Raises BookClosedError before the first piece."""
    tables = exported_tables()
    async with database.sessions() as session:
        book = await _page(session, tables[0], participant_id, after=None, upto=None)
    if not book or book[0]["closed"]:
        raise BookClosedError(participant_id)
    return _pieces(database, participant_id, tables, book[0], now)


async def _pieces(
    database: Database,
    participant_id: UUID,
    tables: Sequence[Table],
    book: RowMapping,
    now: datetime,
) -> AsyncIterator[bytes]:
    head = {"participant_id": participant_id, "exported_at": now}
    yield msgspec.json.encode(head)[:-1]
    for table in tables:
        yield b',"' + table.name.encode() + b'":['
        counted = _COUNTED.get(table.name)
        upto = (counted[0], book[counted[1]]) if counted else None
        after: tuple[Any, ...] | None = None
        while True:
            async with database.sessions() as session:
                rows = await _page(session, table, participant_id, after=after, upto=upto)
            if rows:
                encoded = b",".join(_encoded(table, row) for row in rows)
                yield encoded if after is None else b"," + encoded
            if len(rows) < ROWS_MAX:
                break
            after = tuple(rows[-1][column.name] for column in _order(table))
        yield b"]"
    yield b',"parked_events":['
    async for piece in _parked(database, participant_id):
        yield piece
    yield b'],"operators_acts":['
    async for piece in _acts(database, participant_id):
        yield piece
    yield b"]}"


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
    return _paged(database, query, event.event_key)


def _acts(database: Database, participant_id: UUID) -> AsyncIterator[bytes]:
    """What operators did to this person or their actions, with the reasons that they gave."""
    actions = Base.metadata.tables["actions"]
    reversed_ids = select(cast(actions.c.reverses, Text)).where(
        actions.c.participant_id == participant_id, actions.c.kind == "reversal"
    )
    entry = AuditEntry
    theirs = or_(entry.object == str(participant_id), entry.object.in_(reversed_ids))
    query = select(entry.seq, entry.at, entry.act, entry.object, entry.detail).where(theirs)
    return _paged(database, query, entry.seq)


async def _paged(
    database: Database, query: Select[Any], key: QueryableAttribute[Any] | Column[Any]
) -> AsyncIterator[bytes]:
    """Rows in the order of a key, page by page; `query` shows it or not."""
    query, after = query.add_columns(key.label("_key")).order_by(key).limit(ROWS_MAX), None
    while True:
        page = query if after is None else query.where(key > after)
        async with database.sessions() as session:
            rows = [dict(row._mapping) for row in await session.execute(page)]  # noqa: SLF001
        keys = [row.pop("_key") for row in rows]
        if rows:
            encoded = b",".join(map(msgspec.json.encode, rows))
            yield encoded if after is None else b"," + encoded
        if len(rows) < ROWS_MAX:
            return
        after = keys[-1]


async def _page(
    session: AsyncSession,
    table: Table,
    participant_id: UUID,
    *,
    after: tuple[Any, ...] | None,
    upto: tuple[str, int] | None,
) -> list[RowMapping]:
    order = _order(table)
    query = select(table).where(table.c.participant_id == participant_id).order_by(*order)
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*after))
    if upto is not None:
        query = query.where(table.c[upto[0]] <= upto[1])
    rows = await session.execute(query.limit(ROWS_MAX))
    return [row._mapping for row in rows]  # noqa: SLF001 - SQLAlchemy's name for a row as a dict


def _order(table: Table) -> list[Column[Any]]:
    """The primary key, which names a row within a person."""
    columns = [column for column in table.primary_key if column.name != "participant_id"]
    return columns or [table.c.participant_id]


def _encoded(table: Table, row: RowMapping) -> bytes:
    hidden = _HIDDEN.get(table.name, set())
    shown = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in row.items()
        if name not in hidden
    }
    if table.name == "idempotency_keys":
        shown["body"] = msgspec.Raw(row["body"] or b"null")
    if table.name == "transfers":
        shown |= {side: Account(row[side]).column for side in ("debit", "credit")}
    return msgspec.json.encode(shown)
