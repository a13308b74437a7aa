"""What people ask about their actions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from service.platform.reads import Reads, Row
from service.rules.decide.rulebook import CounterKey

_FROM_THE_LAST = datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1)


async def list_actions(
    reads: Reads, participant_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Row]:
    """A person's actions, the latest to have happened first, each with whether it is reversed.

    Reversals are not listed.
    """
    return await reads.fetch(_LIST, participant_id, *(before or _FROM_THE_LAST), limit)


class Situation(NamedTuple):
    """What decides on what a person can still do: limits used, campaigns' grams left, a region."""

    usage: dict[CounterKey, tuple[int, int]]
    left: dict[str, int]
    region: str


async def read_situation(
    reads: Reads, participant_id: UUID, keys: Sequence[CounterKey], campaigns: Sequence[str]
) -> Situation:
    """A person's situation, as far as these limits and campaigns go."""
    counters, periods = [key.counter for key in keys], [key.period for key in keys]
    rows = await reads.fetch(_SITUATION, participant_id, counters, periods, campaigns)
    usage = {CounterKey(row[1], row[2], ""): (row[3], row[4]) for row in rows if row[0] == "used"}
    left = {row[1]: row[3] for row in rows if row[0] == "left"}
    return Situation(usage, left, next((row[1] for row in rows if row[0] == "lives"), ""))


_LIST = """
SELECT occurred_at, id, id IN (
    SELECT reverses FROM actions WHERE participant_id = $1 AND kind = 'reversal') AS is_reversed
FROM actions WHERE participant_id = $1 AND kind = 'action' AND (occurred_at, id) < ($2, $3)
ORDER BY occurred_at DESC, id DESC LIMIT $4"""

# These limits count for all values of an attribute together: `by_key` is empty.
_SITUATION = """
SELECT 'used', counter, period, n, grams
FROM unnest($2::text[], $3::text[]) AS k (counter, period)
JOIN counters c USING (counter, period) WHERE c.participant_id = $1 AND c.by_key = ''
UNION ALL
SELECT 'left', campaign, NULL, left_g, NULL FROM campaign_budgets WHERE campaign = ANY ($4)
UNION ALL
SELECT 'lives', region, NULL, NULL, NULL FROM participants
WHERE participant_id = $1 AND region IS NOT NULL"""
