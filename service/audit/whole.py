"""What `ledger audit` compares that no single book covers, in bounded parts.

A walk goes along a table by its key; each part is one statement, so that all it reads is of one
moment, and gives only what is off, as the checks of a page do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.audit.pages import ROWS_MAX
from service.platform.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Walk:
    """A comparison along a table: where it begins, how the end of a part is found, what is off.

    `sql` has the keys $1 (not of the part) and $2 (its last); `end` has $1 and a number of rows.
    """

    name: str
    asks: str
    before: Any
    rows: int
    end: str
    sql: str


async def walk_whole(database: Database, add: Callable[[str, Sequence[Any]], None]) -> None:
    """Go all walks; `add` takes up the name of each and what was off."""
    for walk in WALKS:
        after = walk.before
        async with database.pool.acquire() as connection:
            while True:
                last, rows = await _part(connection, walk, after)
                if last is None:
                    break
                add(walk.name, rows)
                after = last


async def _part(connection: Connection, walk: Walk, after: Any) -> tuple[Any, Sequence[Any]]:
    async with connection.transaction(readonly=True):
        await connection.execute(SLOWLY)
        last = await connection.fetchval(walk.end, after, walk.rows)
        if last is None:
            return None, ()
        text = f"SELECT * FROM (\n{walk.sql}\n) AS off (a, b, c, d) ORDER BY b LIMIT {ROWS_MAX}"  # noqa: S608
        return last, await connection.fetch(text, after, last)


SLOWLY = """
SELECT set_config('statement_timeout', '10min', true),
    set_config('plan_cache_mode', 'force_custom_plan', true)"""

_CLAIMS = """
SELECT c.participant_id, 'claim ' || encode(c.claim_key, 'hex'),
    'held by an action that was paid for it', CASE
        WHEN a.id IS NULL THEN 'no action ' || c.action_id
        WHEN r.id IS NOT NULL THEN 'action ' || a.id || ', which is reversed'
        ELSE 'action ' || a.id || ', which has another claim or none' END
FROM claims c
LEFT JOIN actions a ON a.participant_id = c.participant_id AND a.id = c.action_id
    AND a.kind = 'action'
LEFT JOIN actions r ON r.participant_id = a.participant_id AND r.occurred_at = a.occurred_at
    AND r.reverses = a.id
WHERE c.claim_key > $1 AND c.claim_key <= $2
    AND (r.id IS NOT NULL OR a.claim_key IS DISTINCT FROM coalesce(c.of_key, c.claim_key))"""

_NUMBERS = """
SELECT n.participant_id, 'number of tree ' || n.number, 'a tree of this person', 'none'
FROM tree_numbers n
WHERE n.number > $1 AND n.number <= $2 AND NOT EXISTS (
    SELECT FROM trees t WHERE t.participant_id = n.participant_id AND t.number = n.number)"""

_STOCK = """
SELECT NULL::uuid, 'stock of project ' || coalesce(p.id, s.project_id) || ', trees ' || o.what,
    coalesce(o.expected::text, 'no project'), coalesce(o.found::text, 'no stock')
FROM (SELECT * FROM projects WHERE id > $1 AND id <= $2) AS p
FULL JOIN (SELECT * FROM stock WHERE project_id > $1 AND project_id <= $2) AS s
    ON s.project_id = p.id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE status <> 'cancelled') AS pledged,
        count(*) FILTER (WHERE status IN ('planted', 'verified')) AS planted,
        count(*) FILTER (WHERE status = 'verified') AS verified
    FROM trees WHERE project_id = coalesce(p.id, s.project_id)) AS t
CROSS JOIN LATERAL (VALUES
    ('for sale', coalesce(p.funded, p.capacity), s.for_sale), ('pledged', t.pledged, s.pledged),
    ('planted', t.planted, s.planted), ('verified', t.verified, s.verified)
    ) AS o (what, expected, found)
WHERE o.expected IS DISTINCT FROM o.found"""

# By plot, what the operators' log tells against the steps of its trees. A tree that is replaced
# was allocated, too.
_PLOTS = """
SELECT NULL::uuid, 'plot ' || o.plot_id || ', ' || act || ' in the operators'' log',
    coalesce(d.trees, 0) || ' trees', coalesce(l.trees, 0) || ' trees'
FROM (
    SELECT object AS plot_id, act, sum((detail ->> 'trees')::bigint) AS trees FROM audit_log
    WHERE object IN (SELECT id::text FROM plots WHERE id > $1 AND id <= $2)
        AND act IN ('plot.allocate', 'plot.planted', 'plot.verified', 'plot.lost') GROUP BY 1, 2
) AS l
FULL JOIN (
    SELECT plot_id::text, 'plot.' || CASE WHEN status IN ('allocated', 'replaced')
        THEN 'allocate' ELSE status END AS act, count(*) AS trees
    FROM tree_steps WHERE plot_id > $1 AND plot_id <= $2 GROUP BY 1, 2
) AS d USING (plot_id, act)
CROSS JOIN LATERAL (SELECT plot_id) AS o
WHERE d.trees IS DISTINCT FROM l.trees"""

_LOG = """
SELECT NULL::uuid, 'entry ' || l.seq || ' of the operators'' log', 'what it tells, ' || l.act,
    'nothing of it'
FROM audit_log l
CROSS JOIN LATERAL (
    SELECT CASE WHEN pg_input_is_valid(l.object, 'uuid') THEN l.object::uuid END AS id,
        CASE WHEN pg_input_is_valid(l.detail ->> 'participant_id', 'uuid')
            THEN (l.detail ->> 'participant_id')::uuid END AS owner_id) AS o
WHERE l.seq > $1 AND l.seq <= $2 AND NOT CASE l.act
    WHEN 'participant.adjust' THEN EXISTS (
        SELECT FROM transfers t WHERE t.participant_id = o.id AND t.cause = 'adjust'
            AND t.cause_id::text = l.detail ->> 'adjustment' AND l.detail ->> 'amount_g'
                = (CASE WHEN t.credit = 3 THEN t.amount_g ELSE -t.amount_g END)::text)
    WHEN 'action.reverse' THEN EXISTS (
        SELECT FROM actions r WHERE r.participant_id = o.owner_id AND r.reverses = o.id
            AND r.id::text = l.detail ->> 'reversal'
            AND r.energy_g::text = l.detail ->> 'energy_g')
    WHEN 'project.make' THEN EXISTS (SELECT FROM projects p WHERE p.id = o.id)
    WHEN 'plot.make' THEN EXISTS (SELECT FROM plots p WHERE p.id = o.id)
    ELSE true END"""

# What was given a position and not yet applied stands in the outbox, row by row.
_OUTBOX = """
SELECT NULL::uuid, 'outbox of lane ' || l.lane, l.positioned - l.applied || ' rows to apply',
    (SELECT count(DISTINCT position) FROM outbox o WHERE o.lane = l.lane
        AND o.position > l.applied AND o.position <= l.positioned) || ' rows'
FROM relay_lanes l
WHERE l.lane > $1 AND l.lane <= $2 AND l.positioned - l.applied <> (
    SELECT count(DISTINCT position) FROM outbox o WHERE o.lane = l.lane
        AND o.position > l.applied AND o.position <= l.positioned)"""


_EVENTS = """
SELECT e.participant_id, 'event ' || e.event_id || ' of ' || e.partner_id,
    CASE e.state WHEN 'reversed' THEN 'an action of it that is reversed'
        ELSE 'an action of it' END,
    CASE WHEN a.id IS NULL THEN 'no action' WHEN r.id IS NULL THEN 'an action that stands'
        ELSE 'another action' END
FROM partner_events e
LEFT JOIN actions a ON a.participant_id = e.participant_id AND a.id = e.action_id
LEFT JOIN actions r ON r.participant_id = a.participant_id AND r.occurred_at = a.occurred_at
    AND r.reverses = a.id
WHERE e.event_key > $1 AND e.event_key <= $2 AND e.state IN ('bound', 'reversed')
    AND (a.id IS NULL
        OR (a.kind = 'action' AND a.source <> 'partner:' || e.partner_id)
        OR (a.kind = 'action' AND a.fingerprint <> e.fingerprint)
        OR (e.state = 'reversed' AND r.id IS NULL))"""


def _end(table: str, key: str) -> str:
    return f"""
SELECT {key} FROM (SELECT {key} FROM {table} WHERE {key} > $1 ORDER BY {key} LIMIT $2) AS part
ORDER BY {key} DESC LIMIT 1"""  # noqa: S608 - constant names


_FIRST = UUID(int=0)
_PROJECTS = "(SELECT id FROM projects UNION SELECT project_id FROM stock) AS p"
_ROWS = 1_000
_PROJECTS_MAX = 50

WALKS = (
    Walk("stray claims", "each claim is held by whom it paid", b"", _ROWS,
         _end("claims", "claim_key"), _CLAIMS),
    Walk("tree numbers", "each number names a tree", "", _ROWS,
         _end("tree_numbers", "number"), _NUMBERS),
    Walk("stock", "projects have promised as many trees as there are", _FIRST, _PROJECTS_MAX,
         _end(_PROJECTS, "id"), _STOCK),
    Walk("plots", "each step in a plot stands in the operators' log", _FIRST, 1_000_000,
         _end("plots", "id"), _PLOTS),
    Walk("told", "what the operators' log tells was done", 0, _ROWS,
         _end("audit_log", "seq"), _LOG),
    Walk("bound events", "each accepted event has its action", b"", _ROWS,
         _end("partner_events", "event_key"), _EVENTS),
    Walk("outbox", "what the boards have not seen yet is there", -1, _ROWS,
         _end("relay_lanes", "lane"), _OUTBOX),
)  # fmt: skip
