"""Rows of actions and counters: read under the books' locks, written in one statement."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from operator import add
from typing import Any
from uuid import UUID

from msgspec import Struct

from service.platform.arrays import Columns, times, uuids
from service.platform.database import Connection, Write
from service.platform.ids import derived_uuid
from service.platform.reads import Reads
from service.rules.decide.rulebook import CounterKey, Used
from service.rules.decide.standing import Standing, Trip

RowKey = tuple[UUID, UUID]
"""A row of `actions`: the participant's id and the action's."""


class Action(Struct):
    """A row of `actions`; an answer is rendered from it alone."""

    participant_id: UUID
    id: UUID
    seq: int
    kind: str
    type: str
    occurred_at: datetime
    recorded_at: datetime
    saved_g: int
    energy_g: int
    rulebook_version: int
    streak_days: int
    verified: bool
    source: str
    reporter: str
    region: str
    fingerprint: bytes
    attributes: Mapping[str, Any] | None
    ends_at: datetime | None = None
    exclusive: bool = False
    ripens_at: datetime | None = None
    expires_at: datetime | None = None
    reverses: UUID | None = None
    facts_digest: bytes = b""
    claim_key: bytes | None = None
    awards: Sequence[Mapping[str, Any]] = ()

    @property
    def key(self) -> RowKey:
        """Its primary key."""
        return self.participant_id, self.id


@dataclass(slots=True)
class Deciding:
    """What decides on a batch, read after its books were locked."""

    twins: set[RowKey]
    standings: dict[UUID, Standing]
    regions: dict[UUID, str]
    # What counters from before values had a normal form hold: it counts, and stays in their rows.
    before: dict[tuple[UUID, CounterKey], Used] = field(default_factory=dict)


def reversal_id(action_id: UUID) -> UUID:
    """The id of the row that reverses this action: one action, one reversal."""
    return derived_uuid(b"reversal", action_id.bytes)


def reversal_key(key: RowKey) -> RowKey:
    """The primary key of that row."""
    return key[0], reversal_id(key[1])


async def read_deciding(
    connection: Connection,
    *,
    people: Sequence[UUID],
    keyed: Sequence[RowKey],
    counters: Sequence[tuple[UUID, CounterKey]],
    trips: Sequence[tuple[UUID, datetime, datetime]],
) -> Deciding:
    """Twins, counters, exclusive trips in reach and regions, in one statement."""
    rows = await connection.fetch(
        _READ,
        uuids(people),
        uuids([owner for owner, _ in keyed]),
        uuids([action_id for _, action_id in keyed]),
        uuids([owner for owner, _ in counters]),
        [key.counter for _, key in counters],
        [key.period for _, key in counters],
        [key.by_key for _, key in counters],
        uuids([owner for owner, _, _ in trips]),
        times([starts_at for _, starts_at, _ in trips]),
        times([ends_at for _, _, ends_at in trips]),
    )
    deciding = Deciding(set(), {owner: Standing() for owner in people}, {})
    for kind, owner, action_id, first, second, third, starts_at, ends_at, *used in rows:
        if kind in {_COUNTER, _BEFORE}:
            key, held = CounterKey(first, second, third), Used._make(used)
            deciding.standings[owner].use(((key, held),))
            if kind == _BEFORE:
                earlier = deciding.before.get((owner, key), Used())
                deciding.before[owner, key] = Used(*map(add, earlier, held))
        elif kind == _REGION:
            deciding.regions[owner] = first
        elif kind == _TWIN:
            deciding.twins.add((owner, action_id))
        else:
            deciding.standings[owner].fill(Trip(starts_at, ends_at, action_id))
    return deciding


async def read_actions(
    connection: Connection | Reads, keys: Collection[RowKey]
) -> dict[RowKey, Action]:
    """These actions and reversals, by participant and id; what is not there is left out."""
    owners, ids = zip(*keys, strict=True) if keys else ((), ())
    rows = await connection.fetch(_READ_ROWS, owners, ids)
    return {action.key: action for row in rows for action in [Action(*row)]}


def actions_write(actions: Sequence[Action]) -> Write:
    """Insert these rows."""
    return Write(_ADD_ACTIONS, _ACTIONS.values_of(actions))


def counters_write(used: Mapping[tuple[UUID, CounterKey], Used]) -> Write:
    """Store the totals of these counters, as computed under their books' locks."""
    rows = [(owner, *key, last_day(key.period), *now) for (owner, key), now in used.items()]
    return Write(_SET_COUNTERS, _COUNTERS.values(rows))


@lru_cache(maxsize=4096)
def last_day(period: str) -> date | None:
    """The last local day of a period such as 2026-11-21, 2026-W47, 2026-11 or 2026; None: ever."""
    if period == "ever":
        return None
    if "W" in period:
        return date.fromisoformat(f"{period}-7")
    parts = [int(part) for part in period.split("-")]
    if len(parts) == 3:
        return date(*parts)
    year, month = parts[0], parts[1] if len(parts) > 1 else 12
    following = date(year + month // 12, month % 12 + 1, 1)
    return following - timedelta(days=1)


_REGION, _COUNTER, _TWIN, _BEFORE = 0, 1, 2, 4

# No trip is longer than a day.
_READ = """
SELECT 0, p.participant_id, NULL::uuid, coalesce(p.region, ''), NULL, NULL,
    NULL::timestamptz, NULL::timestamptz, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
    NULL::bigint, NULL::bigint
FROM participants p WHERE p.participant_id = ANY($1::text::uuid[])
UNION ALL
SELECT 1, c.participant_id, NULL, c.counter, c.period, c.by_key, NULL, NULL, c.n, c.grams,
    c.earned_g, c.earned_rest_ng, c.saved_g, c.saved_rest_ng
FROM unnest($4::text::uuid[], $5::text[], $6::text[], $7::text[])
    AS k (participant_id, counter, period, by_key)
JOIN counters c ON c.participant_id = k.participant_id AND c.counter = k.counter
    AND c.period = k.period AND c.by_key = k.by_key
UNION ALL
SELECT 4, c.participant_id, NULL, c.counter, c.period, c.counts_as, NULL, NULL, c.n, c.grams,
    c.earned_g, c.earned_rest_ng, c.saved_g, c.saved_rest_ng
FROM unnest($4::text::uuid[], $5::text[], $6::text[], $7::text[])
    AS k (participant_id, counter, period, by_key)
JOIN counters c ON c.participant_id = k.participant_id AND c.counts_as = k.by_key
    AND c.counter = k.counter AND c.period = k.period
WHERE k.by_key <> ''
UNION ALL
SELECT 2, a.participant_id, a.id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM unnest($2::text::uuid[], $3::text::uuid[]) AS k (participant_id, id)
JOIN actions a ON a.participant_id = k.participant_id AND a.id = k.id
UNION ALL
SELECT 3, a.participant_id, a.id, NULL, NULL, NULL, a.occurred_at, a.ends_at,
    NULL, NULL, NULL, NULL, NULL, NULL
FROM unnest($8::text::uuid[], $9::text::timestamptz[], $10::text::timestamptz[])
    AS t (participant_id, starts_at, ends_at)
JOIN actions a ON a.participant_id = t.participant_id
    AND a.occurred_at >= t.starts_at - interval '24 hours' AND a.occurred_at < t.ends_at
WHERE a.exclusive AND a.kind = 'action' AND a.ends_at > t.starts_at
    AND NOT EXISTS (
        SELECT FROM actions r WHERE r.participant_id = a.participant_id
            AND r.occurred_at = a.occurred_at AND r.reverses = a.id)"""

_COLUMNS = ", ".join(Action.__struct_fields__)

_READ_ROWS = f"""
SELECT {_COLUMNS} FROM actions
JOIN unnest($1::uuid[], $2::uuid[]) AS k (participant_id, id) USING (participant_id, id)"""  # noqa: S608

_ACTIONS = Columns(
    "participant_id uuid, id uuid, seq bigint, kind text, type text, occurred_at timestamptz,"
    "ends_at timestamptz, exclusive boolean, recorded_at timestamptz, ripens_at timestamptz,"
    "expires_at timestamptz, saved_g bigint, energy_g bigint, rulebook_version integer,"
    "streak_days integer, verified boolean, source text, reporter text, region text,"
    "reverses uuid, fingerprint bytea, facts_digest bytea, claim_key bytea, attributes jsonb,"
    "awards jsonb"
)

_ADD_ACTIONS = f"INSERT INTO actions ({_ACTIONS.names}) SELECT * FROM {_ACTIONS.rows}"  # noqa: S608

_COUNTERS = Columns(
    "participant_id uuid, counter text, period text, by_key text, ends_on date, n bigint,"
    "grams bigint, earned_g bigint, earned_rest_ng bigint, saved_g bigint, saved_rest_ng bigint"
)

_SET_COUNTERS = f"""
INSERT INTO counters ({_COUNTERS.names}) SELECT * FROM {_COUNTERS.rows}
ON CONFLICT (participant_id, counter, period, by_key)
DO UPDATE SET n = excluded.n, grams = excluded.grams, earned_g = excluded.earned_g,
    earned_rest_ng = excluded.earned_rest_ng, saved_g = excluded.saved_g,
    saved_rest_ng = excluded.saved_rest_ng"""  # noqa: S608 - constant columns
