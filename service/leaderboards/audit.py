"""What `ledger audit` compares of the way to the boards."""

from service.platform.checks import AnyCheck, Walk

# What was given a position and not yet applied stands in the outbox, row by row.
_OUTBOX = """
SELECT NULL::uuid, 'outbox of lane ' || l.lane, l.positioned - l.applied || ' rows to apply',
    (SELECT count(DISTINCT position) FROM outbox o WHERE o.lane = l.lane
        AND o.position > l.applied AND o.position <= l.positioned) || ' rows'
FROM relay_lanes l
WHERE l.lane > $1 AND l.lane <= $2 AND l.positioned - l.applied <> (
    SELECT count(DISTINCT position) FROM outbox o WHERE o.lane = l.lane
        AND o.position > l.applied AND o.position <= l.positioned)"""

CHECKS: tuple[AnyCheck, ...] = (
    Walk("outbox", "what the boards have not seen yet is there", -1, 1_000, "relay_lanes", "lane",
         _OUTBOX),
)  # fmt: skip
