"""What `ledger audit` compares of trees: their lives, and what their pledges and transfers say."""

from uuid import UUID

from service.platform.checks import AnyCheck, Check, Walk

_PLEDGES = """
WITH standing AS (
    SELECT participant_id, count(*) FILTER (WHERE status <> 'cancelled') AS trees
    FROM trees WHERE participant_id = ANY($1::uuid[]) GROUP BY participant_id
), paid AS (
    SELECT participant_id, pledged_seq AS seq, 'pledge' AS cause, pledge_id,
        sum(price_g) AS grams
    FROM trees WHERE participant_id = ANY($1::uuid[]) GROUP BY 1, 2, 4
    UNION ALL
    SELECT participant_id, planted_seq, 'plant', pledge_id, sum(price_g)
    FROM trees WHERE participant_id = ANY($1::uuid[]) AND planted_seq IS NOT NULL GROUP BY 1, 2, 4
), moved AS (
    SELECT participant_id, seq, cause, cause_id AS pledge_id, amount_g FROM transfers
    WHERE participant_id = ANY($1::uuid[]) AND cause IN ('pledge', 'plant', 'release')
), released AS (
    SELECT participant_id, pledge_id, sum(amount_g) AS grams FROM moved
    WHERE cause = 'release' GROUP BY 1, 2
), promised AS (
    SELECT participant_id, pledge_id, count(*) AS trees, sum(price_g) AS grams,
        coalesce(sum(price_g) FILTER (WHERE status = 'cancelled'), 0) AS released_g
    FROM trees WHERE participant_id = ANY($1::uuid[]) GROUP BY 1, 2
)
SELECT b.participant_id, 'trees of the book', coalesce(s.trees, 0) || ' trees',
    b.trees || ' trees'
FROM books b LEFT JOIN standing s ON s.participant_id = b.participant_id
WHERE b.participant_id = ANY($1::uuid[]) AND b.trees <> coalesce(s.trees, 0)
UNION ALL
SELECT participant_id, 'trees of the ' || cause || ' in transfer ' || seq,
    coalesce(m.amount_g, 0) || ' g', coalesce(p.grams, 0) || ' g'
FROM paid p FULL JOIN (SELECT * FROM moved WHERE cause <> 'release') m
    USING (participant_id, seq, cause, pledge_id)
WHERE p.grams IS DISTINCT FROM m.amount_g
UNION ALL
SELECT participant_id, 'grams of cancelled trees of pledge ' || pledge_id,
    coalesce(t.released_g, 0) || ' g', coalesce(r.grams, 0) || ' g released'
FROM promised t FULL JOIN released r USING (participant_id, pledge_id)
WHERE coalesce(t.released_g, 0) <> coalesce(r.grams, 0)
UNION ALL
SELECT participant_id, 'trees of pledge ' || coalesce(l.id, t.pledge_id),
    coalesce(format('%s trees, %s g', l.trees, l.amount_g), 'no such pledge'),
    format('%s trees, %s g', coalesce(t.trees, 0), coalesce(t.grams, 0))
FROM (SELECT * FROM pledges WHERE participant_id = ANY($1::uuid[])) l
FULL JOIN (SELECT *, pledge_id AS id FROM promised) t USING (participant_id, id)
WHERE (l.trees, l.amount_g) IS DISTINCT FROM (t.trees, t.grams)"""

# Which step may follow which; the first one follows nothing.
_LIVES = """
WITH steps AS (
    SELECT participant_id, number, step, status, at, plot_id,
        coalesce(lag(step) OVER life, 0) AS earlier_step,
        coalesce(lag(status) OVER life, 'nothing') AS earlier, lag(at) OVER life AS earlier_at
    FROM tree_steps WHERE participant_id = ANY($1::uuid[])
    WINDOW life AS (PARTITION BY participant_id, number ORDER BY step)
), lives AS (
    SELECT participant_id, number, max(step) AS step,
        (array_agg(status ORDER BY step DESC))[1] AS status,
        (array_agg(plot_id ORDER BY step DESC))[1] AS plot_id, min(at) AS pledged_at,
        min(at) FILTER (WHERE status = 'planted') AS planted_at,
        min(at) FILTER (WHERE status = 'cancelled') AS cancelled_at
    FROM steps GROUP BY participant_id, number
), standing AS (
    SELECT t.*, l.created_at, l.cancelled_at, l.project_id AS pledge_project_id,
        o.project_id AS plot_project_id, r.at AS reserved_at, s.at AS spent_at,
        n.participant_id AS owner_id
    FROM trees t
    LEFT JOIN pledges l ON l.participant_id = t.participant_id AND l.id = t.pledge_id
        AND l.participant_id = ANY($1::uuid[])
    LEFT JOIN plots o ON o.id = t.plot_id
    LEFT JOIN transfers r ON r.participant_id = t.participant_id AND r.seq = t.pledged_seq
        AND r.participant_id = ANY($1::uuid[])
    LEFT JOIN transfers s ON s.participant_id = t.participant_id AND s.seq = t.planted_seq
        AND s.participant_id = ANY($1::uuid[])
    LEFT JOIN tree_numbers n ON n.number = t.number
    WHERE t.participant_id = ANY($1::uuid[])
)
SELECT participant_id, 'step ' || step || ' of tree ' || number,
    'what may follow ' || earlier || ' in step ' || earlier_step,
    status || ' at ' || at
FROM steps
WHERE step <> earlier_step + 1 OR at < earlier_at OR (earlier, status) NOT IN (
    VALUES ('nothing', 'pledged'), ('pledged', 'allocated'), ('pledged', 'cancelled'),
        ('allocated', 'planted'), ('replaced', 'planted'), ('planted', 'verified'),
        ('allocated', 'lost'), ('replaced', 'lost'), ('planted', 'lost'), ('verified', 'lost'),
        ('lost', 'replaced'))
UNION ALL
SELECT participant_id, 'tree ' || number || ', ' || o.what, coalesce(o.expected, 'none'),
    coalesce(o.found, 'none')
FROM standing t FULL JOIN lives l USING (participant_id, number)
CROSS JOIN LATERAL (VALUES
    ('its status', l.status, t.status),
    ('its steps', l.step::text, t.step::text),
    ('its plot', l.plot_id::text, t.plot_id::text),
    ('when it was pledged', l.pledged_at::text, t.pledged_at::text),
    ('when its pledge was made', t.created_at::text, t.pledged_at::text),
    ('when its grams were reserved', t.reserved_at::text, t.pledged_at::text),
    ('when its grams were spent', t.spent_at::text, l.planted_at::text),
    ('when it was cancelled', t.cancelled_at::text, l.cancelled_at::text),
    ('project of its pledge', t.pledge_project_id::text, t.project_id::text),
    ('project of its plot', t.plot_project_id::text,
        CASE WHEN t.plot_id IS NOT NULL THEN t.project_id END::text),
    ('its owner by its number', t.participant_id::text, t.owner_id::text)
    ) AS o (what, expected, found)
WHERE o.expected IS DISTINCT FROM o.found"""

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

_FIRST = UUID(int=0)
_PROJECTS = "(SELECT id FROM projects UNION SELECT project_id FROM stock) AS p"

CHECKS: tuple[AnyCheck, ...] = (
    Check("trees", "pledges and trees are what their transfers paid", _PLEDGES),
    Check("lives", "each tree stands where its steps led it", _LIVES),
    Walk("tree numbers", "each number names a tree", "", 1_000, "tree_numbers", "number",
         _NUMBERS),
    Walk("stock", "projects have promised as many trees as there are", _FIRST, 50, _PROJECTS, "id",
         _STOCK),
    Walk("plots", "each step in a plot stands in the operators' log", _FIRST, 1_000_000, "plots",
         "id", _PLOTS),
)  # fmt: skip
