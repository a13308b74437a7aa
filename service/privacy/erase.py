"""Erasure: a person is forgotten, the ledger keeps a nameless book.

The book closes first, under its lock: whatever waits for it finds it closed. Energy that is still
in it stays there, and its bubbles expire as everybody's. Transfers, awards and claims stay too:
they name a random id that leads nowhere any more.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from uuid import UUID

from service.http.auth import tell_forgotten
from service.ledger.books import lock_book
from service.platform.database import Connection, Database, Write, write_all

ATTRIBUTES_MAX = 2_000
_PAGE = 1_000


async def erase_participant(
    database: Database,
    participant_id: UUID,
    *,
    now: datetime,
    forget: Callable[[datetime], Write],
) -> bool:
    """Forget this person; False when that was done before. Works for suspended people.

    `forget` makes the write that takes them off the boards, given the time of booking. Raises
    BookMissingError.
    """
    async with database.transaction() as connection:
        book = await lock_book(connection, participant_id)
        if book.closed:
            return False
        at = book.tick(now)
        writes = [Write(text, (participant_id,)) for text in _FORGET]
        writes += [
            Write(_CLOSE, (participant_id, at)),
            Write(_NOTE, (participant_id, at)),
            forget(at),
        ]
        await write_all(connection, writes)
        await tell_forgotten(connection, participant_id)
        is_finished = await _erase_attributes(connection, participant_id, now)
    while not is_finished:
        async with database.transaction() as connection:
            is_finished = await _erase_attributes(connection, participant_id, now)
    return True


async def finish_erasures(database: Database, now: datetime) -> int:
    """Erase attributes that a crash left behind; how many people were finished."""
    finished = 0
    while True:
        async with database.transaction() as connection:
            participant_id = await connection.fetchval(_UNFINISHED)
            if participant_id is None:
                return finished
            finished += await _erase_attributes(connection, participant_id, now)


async def list_erasures(database: Database) -> AsyncIterator[tuple[UUID, datetime]]:
    """Who was erased and when, read page by page in the order of ids."""
    after = UUID(int=0)
    while True:
        rows = await database.pool.fetch(_ERASED, after, _PAGE)
        for row in rows:
            yield row[0], row[1]
        if len(rows) < _PAGE:
            return
        after = rows[-1][0]


async def _erase_attributes(connection: Connection, participant_id: UUID, now: datetime) -> bool:
    """Set the next attributes to null; True when none are left. The book is closed already."""
    status = await connection.execute(_ATTRIBUTES, participant_id, ATTRIBUTES_MAX)
    if int(status.rpartition(" ")[2]) == ATTRIBUTES_MAX:
        return False
    await connection.execute(_FINISH, participant_id, now)
    return True


_FORGET = (
    "DELETE FROM identities WHERE participant_id = $1",
    "DELETE FROM participants WHERE participant_id = $1",
    "DELETE FROM idempotency_keys WHERE participant_id = $1",
    # What a limit counted by may be an attribute's value.
    "DELETE FROM counters WHERE participant_id = $1",
    "UPDATE pledges SET dedication = NULL WHERE participant_id = $1 AND dedication IS NOT NULL",
    # What partners sent of this person and what is not recorded yet, with what takes it back.
    """DELETE FROM partner_events WHERE event_key IN (
        SELECT event_key FROM partner_events WHERE event_key IN (
            SELECT unnest(ARRAY[e.event_key, r.event_key]) FROM links l
            JOIN partner_events e ON e.partner_id = l.partner_id
                AND e.subject_key = l.subject_key AND e.state = 'parked' AND e.target_key IS NULL
            LEFT JOIN partner_events r ON r.target_key = e.event_key AND r.state = 'parked'
            WHERE l.participant_id = $1)
        ORDER BY 1 FOR UPDATE)""",
    # What takes back an event that has not come waits on, but says no more of whom.
    """UPDATE partner_events SET subject_key = NULL,
        body = jsonb_set(body || '{"subject": null}', '{data,reason}', '"erased"')
    WHERE event_key IN (
        SELECT r.event_key FROM links l
        JOIN partner_events r ON r.partner_id = l.partner_id AND r.subject_key = l.subject_key
            AND r.state = 'parked' AND r.target_key IS NOT NULL
        WHERE l.participant_id = $1 AND NOT EXISTS (SELECT FROM partner_events e
            JOIN links m ON m.partner_id = e.partner_id AND m.subject_key = e.subject_key
            WHERE e.event_key = r.target_key AND e.state = 'parked' AND m.participant_id = $1)
        ORDER BY 1 FOR NO KEY UPDATE OF r)""",
    # That the card was somebody's stays known: what it brings is not the next owner's.
    """UPDATE links SET participant_id = NULL, ended_at = coalesce(ended_at, linked_at)
    WHERE participant_id = $1""",
    "DELETE FROM link_codes WHERE participant_id = $1",
)

_CLOSE = """
UPDATE books SET closed = true, salt = NULL, last_at = $2,
    active_days = 0, active_anchor = NULL, active_before = 0
WHERE participant_id = $1"""

_NOTE = """
INSERT INTO erasures (participant_id, erased_at) VALUES ($1, $2) ON CONFLICT DO NOTHING"""

_ERASED = """
SELECT participant_id, erased_at FROM erasures
WHERE participant_id > $1 ORDER BY participant_id LIMIT $2"""

_UNFINISHED = """
SELECT participant_id FROM erasures WHERE finished_at IS NULL
ORDER BY erased_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"""

# The append-only trigger lets through exactly this change.
_ATTRIBUTES = """
UPDATE actions SET attributes = NULL
WHERE participant_id = $1 AND id IN (
    SELECT id FROM actions WHERE participant_id = $1 AND attributes IS NOT NULL LIMIT $2)"""

_FINISH = "UPDATE erasures SET finished_at = $2 WHERE participant_id = $1"
