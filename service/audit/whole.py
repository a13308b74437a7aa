"""What `ledger audit` compares that no single book covers, in bounded parts."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from service.audit.checks import WALKS
from service.platform.acts import earlier_zeros, entry_digest
from service.platform.checks import ROWS_MAX
from service.platform.database import Connection

Add = Callable[[str, Sequence[Any]], None]
"""Takes up the name of a check and what was off."""
_ROWS_MAX = 1_000


def limited(sql: str, order: str) -> str:
    """The first differences that a check finds."""
    return f"SELECT * FROM (\n{sql}\n) AS off (a, b, c, d) ORDER BY {order} LIMIT {ROWS_MAX}"  # noqa: S608


async def walk_whole(connection: Connection, add: Add) -> None:
    """Go all walks."""
    for walk in WALKS:
        after, end = walk.before, _END.format(table=walk.table, key=walk.key)
        while after is not None:
            async with connection.transaction(readonly=True):
                await connection.execute(SLOWLY)
                last = await connection.fetchval(end, after, walk.rows)
                if last is not None:
                    add(walk.name, await connection.fetch(limited(walk.sql, "b"), after, last))
            after = last


async def read_log(connection: Connection, add: Add, notes: Counter[str]) -> int:
    """Recompute the chain of the operators' acts, a thousand at a time, up to its present head.

    Gives how many entries there are; those in a form of earlier versions are noted.
    """
    head = await connection.fetchrow(_LOG_HEAD)
    seq, digest, entries = 0, bytes(32), 0
    while True:
        rows = await connection.fetch(_LOG_ENTRIES, seq, head["seq"] if head else _EVERY)
        for entry in rows:
            seq += 1
            if entry["seq"] != seq:
                what = f"entry {seq} of the operators' log"
                add("log", [(None, what, "there", "missing")])
                seq = entry["seq"]
            *facts, found = entry
            expected = entry_digest(digest, facts)
            if expected != found:
                signed = earlier_zeros(digest, facts, found)
                if signed is None:
                    what = f"hash of entry {seq} of the operators' log"
                    add("log", [(None, what, expected.hex(), found.hex())])
                elif signed:
                    notes["log"] += 1
            digest = found
        entries += len(rows)
        if len(rows) < _ROWS_MAX:
            break
    ends = (seq, digest.hex())
    found_head = (head["seq"], head["hash"].hex()) if head else (0, bytes(32).hex())
    if ends != found_head:
        add("log", [(None, "head of the operators' log", f"{ends}", f"{found_head}")])
    return entries


SLOWLY = """
SELECT set_config('statement_timeout', '10min', true),
    set_config('idle_in_transaction_session_timeout', '10min', true),
    set_config('plan_cache_mode', 'force_custom_plan', true)"""

_END = """
SELECT {key} FROM (SELECT {key} FROM {table} WHERE {key} > $1 ORDER BY {key} LIMIT $2) AS part
ORDER BY {key} DESC LIMIT 1"""

_EVERY = 2**63 - 1
_LOG_HEAD = "SELECT seq, hash FROM audit_head WHERE id = 1"

_LOG_ENTRIES = """
SELECT seq, at, actor, act, object, detail, request_id, hash FROM audit_log
WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT 1000"""
