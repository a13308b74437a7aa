"""Recorded actions for a simulation: read in pages of people, short transactions, never written.

A page is at most 1,000 people, fewer when they act a lot, and one read-only transaction. What was
recorded does not change but for erasure, so pages need no common snapshot: within a book the order
of `seq` is the order of commits, and what is recorded later has a later number.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.rules.decide.rulebook import PERIODS, CounterKey, Program, Rulebook, Used, period_names
from service.rules.decide.standing import Trip
from service.simulate.decide import Given, Row, Start, decode_awards
from service.simulate.period import Period

PEOPLE_MAX = 1_000
ROWS_A_PAGE = 20_000
_ROWS_A_FETCH = 2_000
# Two time zones are never further apart; a version before may have counted days in another one.
_ZONES_APART = timedelta(hours=26)
_TRIP_MAX = timedelta(hours=24)
_ALWAYS = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Needs(Struct, frozen=True):
    """What of the time before the period decides in it, by the draft's limits and types."""

    program: Program
    per_of: Mapping[str, int]
    trips: bool

    def since(self, earliest: datetime) -> datetime:
        """From when on actions may have used what actions from `earliest` on still use."""
        day = self.program.local_date(earliest)
        since = earliest
        for index in set(self.per_of.values()):
            bounds = self.program.period_bounds(PERIODS[index], day)
            since = min(since, bounds[0] if bounds else _ALWAYS)
        return since - _ZONES_APART if since > _ALWAYS else since


class Page(Struct, frozen=True):
    """Some people: those with something in the period, and where the next page begins."""

    people: list[UUID]
    earliest: list[datetime]
    after: UUID
    is_last: bool
    rows: int


def needs_of(draft: Rulebook, deciding: Sequence[Rulebook]) -> Needs:
    """What the deciding rules must know of the time before; days are those of the draft."""
    types = [kind for rulebook in deciding for kind in rulebook.action_types.values()]
    per_of = {source.counter: source.per_index for kind in types for source in kind.counters}
    return Needs(draft.program, per_of, any(kind.exclusive for kind in types))


async def read_page(
    connection: asyncpg.Connection, period: Period, after: UUID, until: UUID, people_max: int
) -> Page:
    """The next people whose ids lie in (after, until]."""
    rows = await connection.fetch(_PEOPLE, after, until, people_max, *period.bounds)
    active = [row for row in rows if row["actions"]]
    return Page(
        [row["participant_id"] for row in active],
        [row["earliest"] for row in active],
        rows[-1]["participant_id"] if rows else until,
        len(rows) < people_max,
        sum(row["actions"] for row in active),
    )


async def read_starts(
    connection: asyncpg.Connection, period: Period, page: Page, needs: Needs
) -> dict[UUID, Start]:
    """How the page's people stood when the period began."""
    starts: dict[UUID, Start] = defaultdict(Start)
    await _read_reversed(connection, period, page, starts)
    since = [needs.since(earliest) for earliest in page.earliest]
    if needs.per_of:
        names = {
            person: period_names(needs.program.local_date(earliest))
            for person, earliest in zip(page.people, page.earliest, strict=True)
        }
        rows = await connection.fetch(
            _USED, page.people, since, period.starts_at, list(needs.per_of)
        )
        for person, counter, name, by_key, *used in rows:
            # Texts of one kind of period sort as their times do; what ended earlier is over.
            if name >= names[person][needs.per_of[counter]]:
                key = CounterKey(counter, name, by_key)
                starts[person].standing.usage[key] = Used(*used)
    if needs.trips:
        reach = [earliest - _TRIP_MAX for earliest in page.earliest]
        for person, action_id, starts_at, ends_at in await connection.fetch(
            _TRIPS, page.people, reach, period.starts_at
        ):
            starts[person].standing.fill(Trip(starts_at, ends_at, action_id))
    return starts


async def _read_reversed(
    connection: asyncpg.Connection, period: Period, page: Page, starts: dict[UUID, Start]
) -> None:
    """What is reversed in the period; what it gave, where that was before."""
    for person, action_id, is_before, energy_g, saved_g, awards in await connection.fetch(
        _REVERSED, page.people, period.starts_at, period.ends_at
    ):
        if is_before:
            past = decode_awards(awards)
            starts[person].given[action_id] = past, Given(energy_g, saved_g, past)
        else:
            starts[person].reversed_within.add(action_id)


async def read_actions_of(
    connection: asyncpg.Connection, period: Period, people: Sequence[UUID]
) -> AsyncIterator[list[asyncpg.Record]]:
    """What these people's books recorded in the period, by person and in order, some at a time."""
    cursor = await connection.cursor(_ACTIONS, people, *period.bounds)
    while rows := await cursor.fetch(_ROWS_A_FETCH):
        yield rows


async def read_drawn_before(
    connection: asyncpg.Connection, period: Period, people: tuple[UUID, UUID], campaign: str
) -> tuple[int, UUID, bool]:
    """What the next people of (after, until] drew of a budget before the period; how far that is.

    Gives the grams, the last of these people, and whether these were all.
    """
    rows = await connection.fetch(_DRAWN, *people, PEOPLE_MAX, period.starts_at, campaign)
    row = rows[0]
    return row["drawn_g"], row["after"] or people[1], row["people"] < PEOPLE_MAX


_PEOPLE = """
WITH page AS (
    SELECT participant_id FROM books WHERE participant_id > $1 AND participant_id <= $2
    ORDER BY participant_id LIMIT $3)
SELECT p.participant_id, coalesce(a.actions, 0) + coalesce(r.actions, 0) AS actions,
    coalesce(a.earliest, $4) AS earliest
FROM page p
LEFT JOIN LATERAL (
    SELECT count(*) AS actions, min(occurred_at) AS earliest FROM actions
    WHERE participant_id = p.participant_id AND kind = 'action'
        AND occurred_at >= $6 AND occurred_at < $7 AND recorded_at >= $4 AND recorded_at < $5
) a ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS actions FROM actions
    WHERE participant_id = p.participant_id AND kind = 'reversal'
        AND recorded_at >= $4 AND recorded_at < $5
) r ON true
ORDER BY p.participant_id"""

_COLUMNS = ", ".join(Row.__struct_fields__)

_ACTIONS = f"""
SELECT {_COLUMNS} FROM actions
WHERE participant_id = ANY($1::uuid[]) AND kind = 'action'
    AND occurred_at >= $4 AND occurred_at < $5 AND recorded_at >= $2 AND recorded_at < $3
UNION ALL
SELECT {_COLUMNS} FROM actions
WHERE participant_id = ANY($1::uuid[]) AND kind = 'reversal'
    AND recorded_at >= $2 AND recorded_at < $3
ORDER BY participant_id, seq"""  # noqa: S608 - constant columns

_REVERSED = """
SELECT a.participant_id, a.id, a.recorded_at < $2, a.energy_g, a.saved_g, a.awards
FROM actions r
JOIN actions a ON a.participant_id = r.participant_id AND a.id = r.reverses
WHERE r.participant_id = ANY($1::uuid[]) AND r.kind = 'reversal'
    AND r.recorded_at >= $2 AND r.recorded_at < $3"""

# What stood when the period began: what was reversed before it had been given back.
_STOOD = """
    AND a.kind = 'action' AND NOT EXISTS (
        SELECT FROM actions r WHERE r.participant_id = a.participant_id
            AND r.occurred_at = a.occurred_at AND r.reverses = a.id AND r.recorded_at < $3)"""

_USED = f"""
SELECT a.participant_id, c ->> 0, c ->> 1, c ->> 2, sum((c ->> 3)::bigint)::bigint,
    sum((c ->> 4)::bigint)::bigint, coalesce(sum((c ->> 5)::bigint), 0)::bigint,
    coalesce(sum((c ->> 6)::bigint), 0)::bigint, coalesce(sum((c ->> 7)::bigint), 0)::bigint,
    coalesce(sum((c ->> 8)::bigint), 0)::bigint
FROM unnest($1::uuid[], $2::timestamptz[]) AS p (participant_id, since)
JOIN actions a ON a.participant_id = p.participant_id AND a.occurred_at >= p.since
    AND a.recorded_at < $3 {_STOOD}
CROSS JOIN LATERAL jsonb_array_elements(a.awards) AS w
CROSS JOIN LATERAL jsonb_array_elements(w -> 'counters') AS c
WHERE c ->> 0 = ANY($4::text[])
GROUP BY 1, 2, 3, 4"""  # noqa: S608 - constant text

_TRIPS = f"""
SELECT a.participant_id, a.id, a.occurred_at, a.ends_at
FROM unnest($1::uuid[], $2::timestamptz[]) AS p (participant_id, since)
JOIN actions a ON a.participant_id = p.participant_id AND a.occurred_at >= p.since
    AND a.recorded_at < $3 {_STOOD}
WHERE a.exclusive AND a.ends_at IS NOT NULL"""  # noqa: S608 - constant text

_DRAWN = """
WITH page AS (
    SELECT participant_id FROM books WHERE participant_id > $1 AND participant_id <= $2
    ORDER BY participant_id LIMIT $3)
SELECT (SELECT count(*) FROM page) AS people,
    (SELECT participant_id FROM page ORDER BY participant_id DESC LIMIT 1) AS after,
    (SELECT coalesce(sum((w ->> 'extra_g')::bigint), 0)::bigint
     FROM page JOIN actions a USING (participant_id)
     CROSS JOIN LATERAL jsonb_array_elements(a.awards) AS w
     WHERE a.kind = 'action' AND a.recorded_at < $4
        AND w ->> 'campaign' = $5 AND w ->> 'budget_seq' IS NOT NULL) AS drawn_g"""
