"""The one door to `partner_events`: how each event of a partner stands, and whose it is for ever.

Rows are inserted and locked in the order of their keys, after the books and before the claims. A
row lives on from state to state: parked, bound, reversed; or reversed_before, the mark that a
reversal leaves for an event that has not come; or discarded.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

import asyncpg

from service.actions.report import EventRef
from service.actions.store import RowKey
from service.http.texts import cleaned
from service.platform.arrays import Columns
from service.platform.database import Connection, row_count
from service.platform.reads import Reads, Row

KEPT = timedelta(days=30)
_PURGED_MAX = 2_000


class EventRow(NamedTuple):
    """How an event stands. What follows `target_key` is written, and not read with its lock.

    `target_key` is that of the event which a reversal takes back.
    """

    state: str
    fingerprint: bytes = b""
    participant_id: UUID | None = None
    action_id: UUID | None = None
    target_key: bytes | None = None
    reason: str | None = None
    body: Mapping[str, Any] | None = None
    subject_key: bytes | None = None
    is_added: bool = False
    """Made by this transaction, a moment ago."""

    @property
    def action(self) -> RowKey | None:
        """The action that an accepted event became."""
        if self.state not in {"bound", "reversed"}:
            return None
        assert self.participant_id is not None
        assert self.action_id is not None
        return self.participant_id, self.action_id

    def as_added(self) -> "EventRow":
        """The same, made by this transaction."""
        return self if self.is_added else self._replace(is_added=True)

    def is_parked(self, fingerprint: bytes) -> bool:
        """Whether this very content was parked before this transaction."""
        return self.state == "parked" and not self.is_added and self.fingerprint == fingerprint


async def hold_rows(
    connection: Connection, wanted: Iterable[tuple[EventRef, EventRow]], now: datetime
) -> dict[bytes, EventRow]:
    """Insert what is missing, in key order, and lock the rest; the first of a key counts."""
    by_key: dict[bytes, EventRow] = {}
    named: dict[bytes, tuple[str, str, str]] = {}
    for ref, row in wanted:
        by_key.setdefault(ref.key, row)
        named.setdefault(ref.key, (ref.partner_id, ref.source, ref.event_id))
    rows: dict[bytes, EventRow] = {}
    missing = sorted(by_key)
    while missing:
        new = [(key, *by_key[key][:-1], *named[key]) for key in missing]
        added = await connection.fetch(_ADD, *_NEW.values(new), now)
        # Nobody else sees what was just added, so it needs no lock.
        rows |= {key: by_key[key].as_added() for (key,) in added}
        there = [key for key in missing if key not in rows]
        held = await connection.fetch(_LOCK, there) if there else []
        rows |= {key: EventRow(*columns) for key, *columns in held}
        # What was freed between the two statements is made again.
        missing = [key for key in there if key not in rows]
    return rows


async def set_rows(connection: Connection, rows: Mapping[bytes, EventRow], now: datetime) -> None:
    """Let these rows, which are held, stand so; what is parked was received now."""
    if rows:
        changed = _ROWS.values([(key, *row[:-1]) for key, row in rows.items()])
        await connection.execute(_SET, *changed, now)


async def free_rows(connection: Connection, keys: Collection[bytes]) -> None:
    """Delete these rows, which are held: nobody got what they were made for."""
    if keys:
        await connection.execute(_FREE, list(keys))


async def reversal_reasons(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, str]:
    """Why parked reversals take back these events, which came after them."""
    rows = await connection.fetch(_REASONS, keys) if keys else []
    return {row[0]: cleaned(row[1]) for row in rows}


async def owners_of(pool: asyncpg.Pool, keys: Sequence[bytes | None]) -> dict[bytes | None, UUID]:
    """Whose books hold what these events gave, as far as it stands."""
    return {row[0]: row[1] for row in await pool.fetch(_OWNERS, keys)}


async def standing_rows(
    pool: asyncpg.Pool, keys: Sequence[bytes | None]
) -> dict[bytes, tuple[str, bytes]]:
    """State and fingerprint of those of these events that wait or were accepted; without locks."""
    return {row[0]: (row[1], row[2]) for row in await pool.fetch(_STANDING, keys)}


async def named_by_reversals(pool: asyncpg.Pool, keys: Sequence[bytes]) -> set[bytes]:
    """Those of these events that a parked reversal names."""
    return {row[0] for row in await pool.fetch(_NAMED, keys)} if keys else set()


async def waits_for(pool: asyncpg.Pool, key: bytes) -> str | None:
    """What a parked event waits for."""
    reason: str | None = await pool.fetchval(_WAITS_FOR, key)
    return reason


async def tell_reasons(connection: Connection, reasons: Mapping[bytes, str]) -> None:
    """Write down what these events wait for, if they still do."""
    await connection.execute(_TELL, list(reasons), list(reasons.values()))


async def discard_event(connection: Connection, key: bytes) -> bool:
    """Forget a parked event's content; False when there is none. Sent again it is judged anew.

    A reversal whose event came meanwhile has taken it back, and is no longer to be discarded.
    """
    await connection.execute(_HOLD_BOTH, key)
    found: bool | None = await connection.fetchval(_DISCARD, key)
    return found is not None


async def purge_parked(connection: Connection, now: datetime) -> int:
    """Delete what was parked or discarded 30 days ago, a bounded part; how many went.

    The mark of a reversal that still waits stays with it: several may name the same event.
    """
    return row_count(await connection.execute(_PURGE, now - KEPT, _PURGED_MAX))


async def list_parked(
    lists: Reads,
    *,
    state: Literal["parked", "discarded"],
    partner_id: str | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Events that wait or waited in vain, of one partner or of all, the first to come first."""
    received_at, key = after or (_FROM_THE_FIRST, UUID(int=0))
    return await lists.fetch(_LIST, state, partner_id, received_at, key.bytes, limit)


_FROM_THE_FIRST = datetime(1, 1, 1, tzinfo=UTC)

_LIST = """
SELECT * FROM partner_events
WHERE state = $1 AND ($2::text IS NULL OR partner_id = $2) AND (received_at, event_key) > ($3, $4)
ORDER BY received_at, event_key LIMIT $5"""


_TOLD = (
    "event_key bytea, state text, fingerprint bytea, participant_id uuid, action_id uuid,"
    "target_key bytea, reason text, body jsonb, subject_key bytea"
)
_ROWS, _NEW = Columns(_TOLD), Columns(f"{_TOLD}, partner_id text, source text, event_id text")

_ADD = f"""
INSERT INTO partner_events ({_NEW.names}, received_at)
SELECT d.*, $13 FROM {_NEW.rows} ORDER BY d.event_key
ON CONFLICT DO NOTHING
RETURNING event_key"""  # noqa: S608 - constant columns

_LOCK = """
SELECT event_key, state, fingerprint, participant_id, action_id, target_key FROM partner_events
WHERE event_key = ANY($1::bytea[]) ORDER BY event_key FOR NO KEY UPDATE"""

_SET = f"""
UPDATE partner_events e SET state = d.state, fingerprint = d.fingerprint,
    participant_id = d.participant_id, action_id = d.action_id, target_key = d.target_key,
    reason = d.reason, body = d.body, subject_key = d.subject_key,
    received_at = CASE WHEN d.body IS NULL THEN e.received_at ELSE $10 END
FROM {_ROWS.rows}
WHERE e.event_key = d.event_key"""  # noqa: S608 - constant columns

_FREE = "DELETE FROM partner_events WHERE event_key = ANY($1::bytea[])"

_REASONS = """
SELECT target_key, min(body -> 'data' ->> 'reason') FROM partner_events
WHERE target_key = ANY($1::bytea[]) AND state = 'parked' GROUP BY 1"""

_OWNERS = """
SELECT event_key, participant_id FROM partner_events
WHERE event_key = ANY($1::bytea[]) AND state = 'bound'"""

_STANDING = """
SELECT event_key, state, fingerprint FROM partner_events
WHERE event_key = ANY($1::bytea[]) AND state IN ('parked', 'bound', 'reversed')"""

_NAMED = """
SELECT DISTINCT target_key FROM partner_events
WHERE target_key = ANY($1::bytea[]) AND state = 'parked'"""

_WAITS_FOR = "SELECT reason FROM partner_events WHERE event_key = $1 AND state = 'parked'"

_TELL = """
UPDATE partner_events e SET reason = k.reason
FROM unnest($1::bytea[], $2::text[]) AS k (event_key, reason)
JOIN (SELECT event_key FROM partner_events WHERE event_key = ANY($1::bytea[])
    AND state = 'parked' ORDER BY event_key FOR NO KEY UPDATE) held USING (event_key)
WHERE e.event_key = held.event_key AND e.state = 'parked'"""

_HOLD_BOTH = """
SELECT FROM partner_events
WHERE event_key = $1
    OR event_key = (SELECT target_key FROM partner_events WHERE event_key = $1)
ORDER BY event_key FOR NO KEY UPDATE"""

_DISCARD = """
UPDATE partner_events e SET state = 'discarded', reason = 'by an operator', body = NULL,
    subject_key = NULL, target_key = NULL
WHERE event_key = $1 AND state = 'parked' AND NOT EXISTS (SELECT FROM partner_events t
    WHERE t.event_key = e.target_key AND t.state = 'reversed')
RETURNING true"""

_PURGE = """
DELETE FROM partner_events WHERE event_key IN (
    SELECT event_key FROM partner_events e
    WHERE received_at < $1 AND state NOT IN ('bound', 'reversed')
        AND (state <> 'reversed_before' OR NOT EXISTS (SELECT FROM partner_events r
            WHERE r.target_key = e.event_key AND r.state = 'parked'))
    LIMIT $2 FOR UPDATE SKIP LOCKED)"""
