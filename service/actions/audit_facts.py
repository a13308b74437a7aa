"""What `ledger audit` compares above the ledger: what decided on an award.

The digest that a transfer's hash covers is compared with what it was made from, as long as erasure
left that; the days of a streak are counted anew.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from service.actions.facts import canonical_facts, earlier_digest, facts_digest
from service.actions.store import Action
from service.actions.streak import mark_active, streak_days
from service.ledger.books import Book
from service.platform.checks import ROWS_MAX, Compare
from service.platform.database import Connection
from service.rules.language.load import load

_PREFETCH = 1_000
# Of a book: the bits of its window, their last, the run before.
_Days = tuple[int, date | None, int]
# What a time may have been sent with (PostgreSQL took no other), the offsets of this earth first.
_OFFSETS = sorted(
    [timedelta(minutes=n) for n in range(-959, 960)],
    key=lambda offset: (offset % timedelta(minutes=15) > timedelta(0), abs(offset)),
)


async def audit_facts(
    connection: Connection, ids: Sequence[UUID], notes: Counter[str]
) -> list[tuple[UUID, str, str, str]]:
    """The first actions of these people whose facts are not those that were digested.

    Those whose digest covers another offset of the same time are as they were written: noted.
    """
    wrong: list[tuple[UUID, str, str, str]] = []
    forms = [None, *_OFFSETS]
    async for row in connection.cursor(_FACTS, ids, prefetch=_PREFETCH):
        *fields, salt, sha256 = row
        action = Action(*fields)
        rules = "" if action.kind == "reversal" else sha256.hex() if sha256 else "unknown"
        # Rows of one age and partner lie together: the form that fits is tried first for the next.
        for place, offset in enumerate(forms):
            if _digest(salt, rules, action, offset) == action.facts_digest:
                if offset:
                    notes["facts"] += 1
                forms.insert(0, forms.pop(place))
                break
        else:
            what = f"facts of {action.kind} {action.id}"
            expected, found = _digest(salt, rules, action, None).hex(), action.facts_digest.hex()
            wrong.append((action.participant_id, what, expected, found))
            if len(wrong) == ROWS_MAX:
                break
    return wrong


def _digest(salt: bytes, rules: str, action: Action, offset: timedelta | None) -> bytes:
    """As it is made now, or (with an offset) as it was made before."""
    if offset is not None:
        return earlier_digest(salt, rules, action, offset)
    attributes = action.attributes or {}
    told = canonical_facts(action.type, action.occurred_at, action.reporter, attributes)
    return facts_digest(salt, told, rules, action)


async def audit_streaks(
    connection: Connection, ids: Sequence[UUID], _notes: Counter[str]
) -> list[tuple[UUID, str, str, str]]:
    """Streaks of actions and the active days of these books, counted anew action by action.

    A day is one of the zone of the version that decided. Books whose versions have none that can be
    read are passed over: those versions are told as changed or missing.
    """
    zones = await _zones_of(connection, ids)
    wrong: list[tuple[UUID, str, str, str]] = []
    book: Book | None = None
    kept: _Days = (0, None, 0)
    async for row in connection.cursor(_STREAKS, ids, prefetch=_PREFETCH):
        owner, action_id, occurred_at, streak, version, *days = row
        if book is None or book.participant_id != owner:
            _compare_days(wrong, book, kept)
            book, kept = _fresh(owner, occurred_at), tuple(days)
        zone = zones.get(version)
        if zone is None or book.closed:
            book.closed = True
            continue
        day = occurred_at.astimezone(zone).date()
        if (expected := streak_days(book, day)) != streak:
            wrong.append((owner, f"streak of action {action_id}", f"{expected}", f"{streak}"))
        mark_active(book, day)
        if len(wrong) >= ROWS_MAX:
            return wrong
    _compare_days(wrong, book, kept)
    return wrong


def _compare_days(wrong: list[tuple[UUID, str, str, str]], book: Book | None, kept: _Days) -> None:
    if book is None or book.closed:
        return
    expected = (book.active_days, book.active_anchor, book.active_before)
    if expected != kept:
        wrong.append((book.participant_id, "active days", _days(*expected), _days(*kept)))


def _days(window: int, anchor: date | None, before: int) -> str:
    return f"{window & 2**64 - 1:b} until {anchor}, {before} days before"


def _fresh(owner: UUID, at: datetime) -> Book:
    """A book without any active day; `closed` once its days cannot be told."""
    return Book(owner, [0] * 8, 0, b"", at, 0, 0, 0, 0, None, 0, False, False, None)


async def _zones_of(connection: Connection, ids: Sequence[UUID]) -> dict[int, ZoneInfo]:
    """The time zones of the versions that decided on the actions of these people."""
    zones: dict[int, ZoneInfo] = {}
    for version, sha256 in await connection.fetch(_DECIDING, ids):
        if sha256 not in _known_zones:
            files = await connection.fetchval(_FILES, version)
            _known_zones[sha256] = _zone_of(files)
        zone = _known_zones[sha256]
        if zone is not None:
            zones[version] = zone
    return zones


def _zone_of(files: Mapping[str, str]) -> ZoneInfo | None:
    nodes, _ = load({name: text for name, text in files.items() if "program" in text})
    for node in nodes.values():
        if "program" in node.entries:
            with suppress(ValueError, ZoneInfoNotFoundError):
                return ZoneInfo(node.find(("program", "timezone")).text)
    return None


# By the hash of the rules; one entry a version.
_known_zones: dict[bytes, ZoneInfo | None] = {}

FACTS = Compare("facts", "each action still says what its digest covers", audit_facts)
STREAKS = Compare("streaks", "active days in a row are those of the actions", audit_streaks)

_COLUMNS = ", ".join(f"a.{name}" for name in Action.__struct_fields__)

_FACTS = f"""
SELECT {_COLUMNS}, b.salt, r.sha256
FROM actions a JOIN books b ON b.participant_id = a.participant_id
LEFT JOIN rulebooks r ON r.version = a.rulebook_version
WHERE a.participant_id = ANY($1::uuid[]) AND a.attributes IS NOT NULL
    AND b.salt IS NOT NULL"""  # noqa: S608 - constant columns

_STREAKS = """
SELECT a.participant_id, a.id, a.occurred_at, a.streak_days, a.rulebook_version,
    b.active_days, b.active_anchor, b.active_before
FROM actions a JOIN books b ON b.participant_id = a.participant_id
WHERE a.participant_id = ANY($1::uuid[]) AND a.kind = 'action' AND NOT b.closed
ORDER BY a.participant_id, a.seq"""

_DECIDING = """
SELECT r.version, r.sha256 FROM rulebooks r WHERE EXISTS (
    SELECT FROM actions a WHERE a.participant_id = ANY($1::uuid[])
        AND a.rulebook_version = r.version)"""

_FILES = "SELECT files FROM rulebooks WHERE version = $1"
