"""What `ledger audit` compares between nouns: times, operators' acts, rows without a book."""

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
    Check("acts", "what operators did stands in their log", _ACTS),
    STRANGERS,
    Walk("told", "what the operators' log tells was done", 0, 1_000, "audit_log", "seq", _TOLD),
)
