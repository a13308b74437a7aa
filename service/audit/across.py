"""What `ledger audit` compares between nouns: times, people, operators' acts, strange rows."""

from service.platform.checks import AnyCheck, Check, Walk

# What was booked last is what moved last: grams, actions, trees, or the person who came or went.
_TIMES = """
WITH moved AS (
    SELECT participant_id, max(at) AS at FROM transfers
    WHERE participant_id = ANY($1::uuid[]) GROUP BY participant_id
), acted AS (
    SELECT participant_id, max(recorded_at) AS at FROM actions
    WHERE participant_id = ANY($1::uuid[]) GROUP BY participant_id
), stepped AS (
    SELECT participant_id, max(at) AS at FROM tree_steps
    WHERE participant_id = ANY($1::uuid[]) GROUP BY participant_id
)
SELECT b.participant_id, 'time of the last booking',
    greatest(m.at, a.at, s.at, p.created_at, e.erased_at)::text, b.last_at::text
FROM books b
LEFT JOIN moved m ON m.participant_id = b.participant_id
LEFT JOIN acted a ON a.participant_id = b.participant_id
LEFT JOIN stepped s ON s.participant_id = b.participant_id
LEFT JOIN participants p ON p.participant_id = b.participant_id
LEFT JOIN erasures e ON e.participant_id = b.participant_id
WHERE b.participant_id = ANY($1::uuid[])
    AND b.last_at <> greatest(m.at, a.at, s.at, p.created_at, e.erased_at)"""

# An open book has one of each, a closed one nothing that tells of a person.
_PEOPLE = """
SELECT b.participant_id, o.what, o.expected::text, o.found::text
FROM books b
CROSS JOIN LATERAL (VALUES
    ('identity', 1 - b.closed::integer,
        (SELECT count(*) FROM identities i WHERE i.participant_id = b.participant_id)),
    ('name', 1 - b.closed::integer,
        (SELECT count(*) FROM participants p WHERE p.participant_id = b.participant_id)),
    ('salt', 1 - b.closed::integer, (b.salt IS NOT NULL)::integer),
    ('note of the erasure', b.closed::integer,
        (SELECT count(*) FROM erasures e WHERE e.participant_id = b.participant_id)),
    ('active days', 0, (b.closed AND (b.active_anchor IS NOT NULL OR b.active_days <> 0
        OR b.active_before <> 0))::integer),
    ('counters of limits', 0, CASE WHEN b.closed THEN
        (SELECT count(*) FROM counters c WHERE c.participant_id = b.participant_id) ELSE 0 END),
    ('stored answers', 0, CASE WHEN b.closed THEN
        (SELECT count(*) FROM idempotency_keys k WHERE k.participant_id = b.participant_id)
        ELSE 0 END),
    ('dedication of a pledge', 0, CASE WHEN b.closed THEN
        (SELECT count(l.dedication) FROM pledges l WHERE l.participant_id = b.participant_id)
        ELSE 0 END)) AS o (what, expected, found)
WHERE b.participant_id = ANY($1::uuid[]) AND o.expected <> o.found"""

# What moved grams by an operator's word, or keeps somebody from moving them, stands in their log.
_ACTS = """
SELECT t.participant_id, 'adjustment ' || t.cause_id, 'an entry in the operators'' log', 'none'
FROM transfers t
WHERE t.participant_id = ANY($1::uuid[]) AND t.cause = 'adjust' AND NOT EXISTS (
    SELECT FROM audit_log l WHERE l.object = t.participant_id::text
        AND l.act = 'participant.adjust' AND l.detail ->> 'adjustment' = t.cause_id::text)
UNION ALL
SELECT r.participant_id, 'reversal ' || r.id, 'an entry in the operators'' log', 'none'
FROM actions r
WHERE r.participant_id = ANY($1::uuid[]) AND r.kind = 'reversal' AND r.source = 'operator'
    AND NOT EXISTS (
        SELECT FROM audit_log l WHERE l.object = r.reverses::text
            AND l.act = 'action.reverse' AND l.detail ->> 'reversal' = r.id::text)
UNION ALL
SELECT b.participant_id, 'suspended', (coalesce(l.act, '') = 'participant.suspend')::text,
    b.suspended::text
FROM books b LEFT JOIN LATERAL (
    SELECT l.act FROM audit_log l WHERE l.object = b.participant_id::text
        AND l.act IN ('participant.suspend', 'participant.resume')
    ORDER BY l.seq DESC LIMIT 1) AS l ON true
WHERE b.participant_id = ANY($1::uuid[])
    AND b.suspended <> (coalesce(l.act, '') = 'participant.suspend')"""

_TOLD = """
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

# Tables whose rows belong to a book, as a difference names them.
_OF_BOOKS = {
    **{name: name for name in (
        "transfers", "actions", "bubbles", "counters", "trees", "tree_steps", "pledges", "takes",
        "erasures")},
    "participants": "the name", "identities": "an identity",
}  # fmt: skip
_ROWS = "\n    UNION ALL ".join(
    f"""SELECT DISTINCT '{shown}' AS name, participant_id FROM {table}
    WHERE participant_id > $2 AND participant_id <= $3"""  # noqa: S608 - constant names
    for table, shown in _OF_BOOKS.items()
)
_STRANGERS = f"""
WITH strangers AS (
    {_ROWS}
)
SELECT participant_id, name || ' of a participant', 'a book', 'none'
FROM strangers s WHERE NOT EXISTS (
    SELECT FROM books b WHERE b.participant_id = s.participant_id
        AND b.participant_id = ANY($1::uuid[]))"""  # noqa: S608 - constant names

STRANGERS = Check("strangers", "no row without a book", _STRANGERS, ("after", "last"))
"""Only where all books are read: it looks between them, too."""
CHECKS: tuple[AnyCheck, ...] = (
    Check("times", "what was booked last is the time of the book", _TIMES),
    Check("people", "open books have a person, closed ones none", _PEOPLE),
    Check("acts", "what operators did stands in their log", _ACTS),
    STRANGERS,
    Walk("told", "what the operators' log tells was done", 0, 1_000, "audit_log", "seq", _TOLD),
)
