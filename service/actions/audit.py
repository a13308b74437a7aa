"""What `ledger audit` compares of actions and what follows from them: bubbles, limits, claims."""

from service.actions.audit_facts import FACTS, STREAKS
from service.actions.audit_sums import Budgets, Events
from service.platform.checks import AnyCheck, Check, Walk

# The canonical bytes of chain.transfer_hash, in SQL.
_CHAIN = """
WITH page AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS p (participant_id, since)
), chained AS (
    SELECT t.participant_id, t.seq, t.hash, p.since,
        coalesce(lag(t.seq) OVER book, p.since) + 1 AS next_seq, t.at,
        lag(t.at) OVER book AS earlier_at,
        sha256(
            coalesce(lag(t.hash) OVER book,
                sha256('saxaul book '::bytea || uuid_send(t.participant_id)))
            || uuid_send(t.participant_id) || int8send(t.seq)
            || int2send(t.debit) || int2send(t.credit) || int8send(t.amount_g)
            || uuid_send(t.cause_id)
            || coalesce(uuid_send(t.counter_id), decode(repeat('00', 16), 'hex'))
            || int8send((extract(epoch FROM t.at) * 1000000)::bigint)
            || convert_to(t.cause, 'UTF8') || decode('00', 'hex')
            || coalesce(a.facts_digest, ''::bytea)) AS expected
    FROM page p
    JOIN transfers t ON t.participant_id = p.participant_id AND t.seq >= p.since
    LEFT JOIN actions a ON a.participant_id = t.participant_id
        AND a.id = CASE WHEN t.cause IN ('action', 'reverse') THEN t.cause_id END
    WINDOW book AS (PARTITION BY t.participant_id ORDER BY t.seq)
)
SELECT participant_id, 'transfer ' || seq || ', seq', next_seq::text, seq::text
FROM chained WHERE seq > since AND seq <> next_seq
UNION ALL
SELECT participant_id, 'transfer ' || seq || ', hash', encode(expected, 'hex'),
    encode(hash, 'hex')
FROM chained WHERE seq > since AND seq = next_seq AND hash <> expected
UNION ALL
SELECT participant_id, 'transfer ' || seq || ', time', 'not before ' || earlier_at, at::text
FROM chained WHERE seq > since AND at < earlier_at"""

_AWARDS = """
WITH moved AS (
    SELECT participant_id, cause_id,
        CASE cause WHEN 'action' THEN cause ELSE 'reversal' END AS kind,
        sum(CASE WHEN debit = 1 THEN amount_g WHEN credit = 1 THEN -amount_g ELSE 0 END) AS grams
    FROM transfers
    WHERE participant_id = ANY($1::uuid[]) AND cause IN ('action', 'reverse') GROUP BY 1, 2, 3
), told AS (
    SELECT participant_id, id, kind, energy_g FROM actions WHERE participant_id = ANY($1::uuid[])
)
SELECT coalesce(a.participant_id, m.participant_id),
    'transfers of ' || coalesce(a.kind, m.kind) || ' ' || coalesce(a.id, m.cause_id),
    coalesce(a.energy_g || ' g', 'no such action'), coalesce(m.grams, 0) || ' g'
FROM told a FULL JOIN moved m
    ON m.participant_id = a.participant_id AND m.cause_id = a.id AND m.kind = a.kind
WHERE a.energy_g IS DISTINCT FROM coalesce(m.grams, 0)"""

_ACTIONS = """
SELECT a.participant_id, 'action ' || a.id || ', ' || o.what, o.expected || ' g', o.found || ' g'
FROM actions a
CROSS JOIN LATERAL (
    SELECT coalesce(sum((w ->> 'energy_g')::bigint), 0) AS energy_g,
        coalesce(max((w ->> 'saved_g')::bigint) FILTER (WHERE NOT w ? 'counted'), 0) AS saved_g
    FROM jsonb_array_elements(a.awards) AS w) AS w
CROSS JOIN LATERAL (VALUES
    ('energy of its awards', w.energy_g, a.energy_g),
    ('savings of its awards', w.saved_g, a.saved_g)) AS o (what, expected, found)
WHERE a.participant_id = ANY($1::uuid[]) AND a.kind = 'action' AND o.expected <> o.found
UNION ALL
SELECT r.participant_id, 'reversal ' || r.id, coalesce(
        format('%s g energy, %s g saved', -a.energy_g, -a.saved_g), 'the action ' || r.reverses),
    CASE WHEN a.id IS NULL THEN 'none'
        ELSE format('%s g energy, %s g saved', r.energy_g, r.saved_g) END
FROM actions r LEFT JOIN actions a
    ON a.participant_id = r.participant_id AND a.id = r.reverses AND a.kind = 'action'
WHERE r.participant_id = ANY($1::uuid[]) AND r.kind = 'reversal'
    AND (a.id IS NULL OR r.energy_g <> -a.energy_g OR r.saved_g <> -a.saved_g)"""

_SAVED = """
WITH told AS (
    SELECT participant_id, sum(saved_g) AS saved_g, count(*) AS n, count(attributes) AS told,
        CASE WHEN count(DISTINCT seq) = count(*) AND min(seq) = 1 THEN max(seq) END AS last_seq
    FROM actions WHERE participant_id = ANY($1::uuid[]) GROUP BY participant_id
)
SELECT b.participant_id, o.what, o.expected, o.found
FROM books b LEFT JOIN told t ON t.participant_id = b.participant_id
CROSS JOIN LATERAL (VALUES
    ('saved_g of the book', coalesce(t.saved_g, 0) || ' g', b.saved_g || ' g'),
    ('attributes of actions',
        CASE WHEN b.closed THEN 0 ELSE coalesce(t.n, 0) END || ' actions',
        coalesce(t.told, 0) || ' actions'),
    ('actions of the book', coalesce(t.n, 0) || ' actions', b.action_seq || ' actions'),
    ('seq of the last action', coalesce(t.n, 0)::text,
        CASE WHEN t.n IS NULL THEN '0' ELSE coalesce(t.last_seq::text, 'a gap') END)
    ) AS o (what, expected, found)
WHERE b.participant_id = ANY($1::uuid[]) AND o.expected <> o.found"""

_TOLD = """CASE WHEN {0}.id IS NULL THEN 'no bubble' ELSE concat_ws(', ', {0}.energy_g || ' g',
        {0}.remaining_g || ' remaining', {0}.collected_g || ' collected', {0}.taken_g || ' taken',
        {0}.expired_g || ' expired', {0}.reversed_g || ' reversed') END"""

# What left a bubble, by cause. A reversal names its own row, which names the bubble's action.
_BUBBLES = f"""
WITH parts AS (
    SELECT t.participant_id, coalesce(r.reverses, t.cause_id) AS id,
        sum(CASE WHEN t.credit = 2 THEN t.amount_g ELSE 0 END) AS energy_g,
        sum(CASE WHEN t.debit = 2 AND t.cause = 'collect' THEN t.amount_g ELSE 0 END)
            AS collected_g,
        sum(CASE WHEN t.debit = 2 AND t.cause = 'take' THEN t.amount_g ELSE 0 END) AS taken_g,
        sum(CASE WHEN t.credit = 6 THEN t.amount_g WHEN t.debit = 6 THEN -t.amount_g ELSE 0 END)
            AS expired_g,
        sum(CASE WHEN t.cause = 'reverse' AND t.debit IN (2, 6) THEN t.amount_g ELSE 0 END)
            AS reversed_g,
        sum(CASE WHEN t.credit = 2 THEN t.amount_g WHEN t.debit = 2 THEN -t.amount_g ELSE 0 END)
            AS remaining_g
    FROM transfers t LEFT JOIN actions r ON r.participant_id = t.participant_id
        AND r.id = CASE WHEN t.cause = 'reverse' THEN t.cause_id END
    WHERE t.participant_id = ANY($1::uuid[]) AND (t.credit IN (2, 6) OR t.debit IN (2, 6))
    GROUP BY 1, 2
), stored AS (
    SELECT * FROM bubbles WHERE participant_id = ANY($1::uuid[])
)
SELECT coalesce(t.participant_id, s.participant_id), 'bubble ' || coalesce(t.id, s.id),
    o.expected, o.found
FROM parts t FULL JOIN stored s ON s.participant_id = t.participant_id AND s.id = t.id
CROSS JOIN LATERAL (SELECT {_TOLD.format("t")} AS expected, {_TOLD.format("s")} AS found) AS o
WHERE CASE WHEN s.id IS NULL THEN t.remaining_g <> 0 ELSE o.expected <> o.found END"""  # noqa: S608

# A bubble says for itself when it can be collected and when it is lost; its action decided that.
_RIPENING = """
SELECT s.participant_id, 'times of bubble ' || s.id,
    coalesce(a.ripens_at || ' to ' || a.expires_at, 'none, nothing was awarded'),
    s.ripens_at || ' to ' || s.expires_at
FROM bubbles s LEFT JOIN actions a
    ON a.participant_id = s.participant_id AND a.id = s.origin_id AND a.id = s.id
    AND a.participant_id = ANY($1::uuid[])
WHERE s.participant_id = ANY($1::uuid[]) AND s.origin = 'action'
    AND (a.ripens_at, a.expires_at) IS DISTINCT FROM (s.ripens_at, s.expires_at)"""

# A counter that is no longer there may have been deleted 120 days after its period ($2: today).
_COUNTERS = """
WITH used AS (
    SELECT a.participant_id, c ->> 0 AS counter, c ->> 1 AS period, c ->> 2 AS by_key,
        sum((c ->> 3)::bigint) AS n, sum((c ->> 4)::bigint) AS grams, ARRAY[
            coalesce(sum((c ->> 5)::bigint), 0), coalesce(sum((c ->> 6)::bigint), 0),
            coalesce(sum((c ->> 7)::bigint), 0), coalesce(sum((c ->> 8)::bigint), 0)] AS sums
    FROM actions a
    CROSS JOIN LATERAL jsonb_array_elements(a.awards) AS w
    CROSS JOIN LATERAL jsonb_array_elements(w -> 'counters') AS c
    WHERE a.participant_id = ANY($1::uuid[]) AND a.kind = 'action' AND NOT EXISTS (
        SELECT FROM actions r WHERE r.participant_id = ANY($1::uuid[])
            AND r.participant_id = a.participant_id AND r.reverses = a.id)
    GROUP BY 1, 2, 3, 4
), kept AS (
    SELECT participant_id, counter, period, by_key, n, grams, ends_on,
        ARRAY[earned_g, earned_rest_ng, saved_g, saved_rest_ng]::numeric[] AS sums FROM counters
    WHERE participant_id = ANY($1::uuid[])
), compared AS (
    SELECT participant_id, counter, period, by_key, coalesce(u.n, 0) AS used_n,
        coalesce(u.grams, 0) AS used_g, k.n AS kept_n, k.grams AS kept_g, k.ends_on,
        coalesce(u.sums, ARRAY[0, 0, 0, 0]::numeric[]) AS used_sums,
        coalesce(k.sums, ARRAY[0, 0, 0, 0]::numeric[]) AS kept_sums,
        CASE
            WHEN period = 'ever' THEN 'infinity'
            WHEN period ~ '^[0-9]{4}-W[0-5][0-9]$' THEN to_date(period, 'IYYY-"W"IW') + 6
            WHEN NOT pg_input_is_valid(rpad(period, 10, '-01-01'), 'date') THEN NULL
            WHEN length(period) = 10 THEN period::date
            WHEN length(period) = 7 THEN ((period || '-01')::date + interval '1 month')::date - 1
            ELSE (period || '-12-31')::date END AS last_day
    FROM used u FULL JOIN kept k USING (participant_id, counter, period, by_key)
)
SELECT participant_id, concat_ws(' ', 'counter', counter, period, nullif(by_key, '')),
    format('%s times, %s g, until %s', used_n, used_g, last_day)
        || CASE WHEN used_sums <> kept_sums THEN format(', sums %s', used_sums) ELSE '' END,
    format('%s times, %s g, until %s', coalesce(kept_n, 0), coalesce(kept_g, 0),
        coalesce(ends_on, 'infinity'))
        || CASE WHEN used_sums <> kept_sums THEN format(', sums %s', kept_sums) ELSE '' END
FROM compared JOIN books b USING (participant_id)
WHERE NOT b.closed AND CASE
    WHEN kept_n IS NULL THEN (used_n + used_g > 0 OR used_sums <> kept_sums)
        AND last_day >= $2::date - 120
    ELSE (used_n, used_g, used_sums, last_day) IS DISTINCT FROM
        (kept_n, kept_g, kept_sums, coalesce(ends_on, 'infinity')) END"""

# What an erased person had typed may be claimed by whom a partner verifies: nothing moves there.
_CLAIMS = """
SELECT a.participant_id, 'claim of action ' || a.id,
    CASE WHEN r.id IS NULL THEN 'bound' ELSE 'free, it is reversed' END,
    CASE WHEN c.claim_key IS NULL THEN 'free' ELSE 'bound' END
FROM actions a
LEFT JOIN actions r ON r.participant_id = a.participant_id AND r.reverses = a.id
    AND r.participant_id = ANY($1::uuid[])
LEFT JOIN claims c ON c.claim_key = a.claim_key AND c.participant_id = a.participant_id
    AND c.action_id = a.id
JOIN books b ON b.participant_id = a.participant_id
WHERE a.participant_id = ANY($1::uuid[]) AND a.kind = 'action' AND a.claim_key IS NOT NULL
    AND (r.id IS NULL) <> (c.claim_key IS NOT NULL) AND NOT (b.closed AND c.claim_key IS NULL)"""

_STRAY_CLAIMS = """
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

_BOUND = """
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

CHECKS: tuple[AnyCheck, ...] = (
    Check("chain", "each transfer's hash follows from the one before", _CHAIN, ("since",)),
    Check("awards", "transfers move what actions and reversals say", _AWARDS),
    Check("actions", "each action is the sum of its awards", _ACTIONS),
    Check("saved", "savings and number of actions", _SAVED),
    Check("bubbles", "each bubble is what its transfers left of it", _BUBBLES),
    Check("ripening", "bubbles ripen and expire when their actions say", _RIPENING),
    Check("counters", "each limit and sum counts what its awards used", _COUNTERS, ("today",)),
    Check("claims", "what is paid once is bound to who was paid", _CLAIMS),
    FACTS,
    STREAKS,
    Budgets,
    Events,
    Walk("bound events", "each accepted event has its action", b"", 1_000, "partner_events",
         "event_key", _BOUND),
    Walk("stray claims", "each claim is held by whom it paid", b"", 1_000, "claims", "claim_key",
         _STRAY_CLAIMS),
)  # fmt: skip
