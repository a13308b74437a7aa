"""Counters whose period is long over are deleted."""

from datetime import timedelta

from service.platform.clock import Clock
from service.platform.database import Database, row_count
from service.platform.settings import Settings

_KEEP = timedelta(days=120)
_PURGED_MAX = 5_000


async def purge_counters(database: Database, clock: Clock, _settings: Settings) -> int:
    """Delete the next of them."""
    ended_before = (clock.now() - _KEEP).date()
    return row_count(await database.pool.execute(_PURGE, ended_before, _PURGED_MAX))


_PURGE = """
DELETE FROM counters WHERE (participant_id, counter, period, by_key) IN (
    SELECT participant_id, counter, period, by_key FROM counters
    WHERE ends_on < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"""
