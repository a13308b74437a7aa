"""What `ledger audit` compares of people: who is there, and what of those who are erased."""

from service.platform.checks import AnyCheck, Check

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

CHECKS: tuple[AnyCheck, ...] = (
    Check("people", "open books have a person, closed ones none", _PEOPLE),
)
