"""The same of what no book holds: rules, trees, stock, the outbox, the operators' log."""

BEYOND_BOOKS = {
    "published rules were rewritten": (
        'UPDATE rulebooks SET files = \'{"test.yaml": "double"}\'',
        {"rules"},
        "files of version 1",
    ),
    "published rules are gone": (
        "DELETE FROM rulebooks",
        {"facts", "rules"},
        "version 1 of the rules",
    ),
    "more trees for sale": (
        "UPDATE stock SET for_sale = for_sale + 100",
        {"stock"},
        "trees for sale",
    ),
    "promised trees were forgotten": (
        "UPDATE stock SET pledged = pledged - 2",
        {"stock"},
        "trees pledged",
    ),
    "trees stand that were never planted": (
        "UPDATE stock SET planted = planted + 1",
        {"stock"},
        "trees planted",
    ),
    "trees were never looked at": (
        "UPDATE stock SET verified = 0",
        {"stock"},
        "trees verified",
    ),
    "a project without stock": (
        "DELETE FROM stock",
        {"stock"},
        "stock of project",
    ),
    "a tree has a plot without a step": (
        """
        UPDATE trees SET status = 'allocated', plot_id = (SELECT id FROM plots) WHERE status
        = 'pledged'
        """,
        {"lives"},
        "its status",
    ),
    "a tree was verified without a step": (
        "UPDATE trees SET status = 'verified' WHERE status = 'planted'",
        {"lives", "stock"},
        "its status",
    ),
    "a step of a tree is gone": (
        "DELETE FROM tree_steps WHERE step = 3",
        {"lives", "plots"},
        "step 4 of tree",
    ),
    "the steps of the trees are gone": (
        "DELETE FROM tree_steps",
        {"lives", "plots", "times"},
        "its status",
    ),
    "a step of a tree was changed": (
        "UPDATE tree_steps SET status = 'lost' WHERE status = 'allocated'",
        {"lives", "plots"},
        "of tree",
    ),
    "a step of a tree was later": (
        "UPDATE tree_steps SET at = at + interval '1 year' WHERE step = 1",
        {"lives", "times"},
        "of tree",
    ),
    "a tree in another plot": (
        "UPDATE trees SET plot_id = gen_random_uuid() WHERE plot_id IS NOT NULL",
        {"lives"},
        "its plot",
    ),
    "a tree of another project": (
        "UPDATE trees SET project_id = gen_random_uuid() WHERE status = 'pledged'",
        {"lives", "stock"},
        "project of its pledge",
    ),
    "a tree was pledged sooner": (
        "UPDATE trees SET pledged_at = pledged_at - interval '1 year' WHERE status = 'pledged'",
        {"lives"},
        "when it was pledged",
    ),
    "a tree's price was lowered": (
        "UPDATE trees SET price_g = price_g - 1 WHERE status = 'pledged'",
        {"trees"},
        "trees of pledge",
    ),
    "a tree was spent by another transfer": (
        "UPDATE trees SET planted_seq = pledged_seq WHERE planted_seq IS NOT NULL",
        {"lives", "trees"},
        "trees of the plant",
    ),
    "a tree was planted without its grams": (
        "UPDATE trees SET planted_seq = NULL WHERE status = 'replaced'",
        {"lives", "trees"},
        "when its grams were spent",
    ),
    "a tree's number leads to somebody else": (
        "UPDATE tree_numbers SET participant_id = gen_random_uuid()",
        {"lives", "tree numbers"},
        "its owner by its number",
    ),
    "a tree's number is gone": (
        "DELETE FROM tree_numbers WHERE number = (SELECT min(number) FROM trees)",
        {"lives"},
        "its owner by its number",
    ),
    "a number without a tree": (
        "INSERT INTO tree_numbers SELECT 'SX-0', participant_id FROM books",
        {"tree numbers"},
        "number of tree",
    ),
    "a tree came from nowhere": (
        """
        INSERT INTO trees SELECT (jsonb_populate_record(t, '{"number": "SX-1"}')).* FROM
        trees t WHERE status = 'pledged'
        """,
        {"lives", "stock", "trees"},
        "trees of the pledge in transfer",
    ),
    "a tree is gone": (
        "DELETE FROM trees WHERE status = 'pledged'",
        {"lives", "stock", "tree numbers", "trees"},
        "trees of the book",
    ),
    "a pledge is gone": (
        "DELETE FROM pledges WHERE cancelled_at IS NULL",
        {"lives", "trees"},
        "project of its pledge",
    ),
    "a pledge counts more trees": (
        "UPDATE pledges SET trees = trees + 1",
        {"trees"},
        "trees of pledge",
    ),
    "a pledge was cancelled by hand": (
        "UPDATE pledges SET cancelled_at = created_at WHERE cancelled_at IS NULL",
        {"lives"},
        "when it was cancelled",
    ),
    "a cancelled pledge stands again": (
        "UPDATE pledges SET cancelled_at = NULL WHERE cancelled_at IS NOT NULL",
        {"lives"},
        "when it was cancelled",
    ),
    "a row that waits for the boards is gone": (
        "DELETE FROM outbox WHERE position = 2",
        {"outbox"},
        "outbox of lane 0",
    ),
    "rows of the outbox share a position": (
        "UPDATE outbox SET position = 2 WHERE position = 3",
        {"outbox"},
        "outbox of lane 0",
    ),
    "the log was cut at its end": (
        """
        WITH cut AS (DELETE FROM audit_log WHERE seq > 5) UPDATE audit_head SET seq = 5,
        hash = (SELECT hash FROM audit_log WHERE seq = 5)
        """,
        {"plots"},
        "in the operators' log",
    ),
    "the log was emptied": (
        "WITH cut AS (DELETE FROM audit_log) DELETE FROM audit_head",
        {"acts", "plots"},
        "adjustment",
    ),
    "the log tells of what never was": (
        """
        WITH made AS (INSERT INTO audit_log SELECT seq + 1, at, actor, 'participant.adjust',
        object, '{"adjustment": "none"}', request_id, hash FROM audit_log ORDER BY seq DESC
        LIMIT 1) UPDATE audit_head SET seq = seq + 1
        """,
        {"log", "told"},
        "what it tells",
    ),
    "a budget holds more again": (
        "UPDATE campaign_budgets SET left_g = left_g + 1",
        {"budgets"},
        "draws from the budget of double",
    ),
    "a budget was larger": (
        "UPDATE campaign_budgets SET budget_g = budget_g + 1",
        {"budgets"},
        "draws from the budget of double",
    ),
    "a budget was drawn from less often": (
        "UPDATE campaign_budgets SET seq = seq - 1",
        {"budgets"},
        "draws from the budget of double",
    ),
    "a budget is gone": (
        "DELETE FROM campaign_budgets",
        {"budgets"},
        "draws from the budget of double",
    ),
    "two draws have one number": (
        """
        UPDATE actions SET awards = jsonb_set(awards, '{0,budget_seq}', '2') WHERE awards @>
        '[{"budget_seq": 1}]'
        """,
        {"budgets", "facts"},
        "draws from the budget of double",
    ),
    "a draw was moved to another campaign": (
        """
        UPDATE actions SET awards = jsonb_set(awards, '{0,campaign}', '"half"') WHERE awards
        @> '[{"budget_seq": 3}]'
        """,
        {"budgets", "facts"},
        "draws from the budget of half",
    ),
    "an accepted event was forgotten": (
        """
        DELETE FROM partner_events WHERE state = 'bound' AND event_key = (SELECT
        max(event_key) FROM partner_events WHERE state = 'bound')
        """,
        {"events"},
        "accepted events of partners",
    ),
    "an event was given to another action": (
        """
        UPDATE partner_events SET action_id = (SELECT id FROM actions WHERE seq = 1) WHERE
        state = 'reversed'
        """,
        {"bound events", "events"},
        "event ride 1 of metro",
    ),
    "an event was given to another person": (
        "UPDATE partner_events SET participant_id = gen_random_uuid() WHERE state = 'reversed'",
        {"bound events", "events"},
        "event ride 1 of metro",
    ),
    "an event's reversal was invented": (
        "UPDATE partner_events SET state = 'reversed'",
        {"bound events"},
        "event ride 1 of metro",
    ),
    "an accepted event was parked again": (
        "UPDATE partner_events SET state = 'parked', action_id = NULL WHERE state = 'reversed'",
        {"events"},
        "accepted events of partners",
    ),
    "an event has other content": (
        """
        UPDATE partner_events SET fingerprint = decode(repeat('01', 16), 'hex') WHERE state
        = 'bound'
        """,
        {"bound events"},
        "event ride 1 of metro",
    ),
}
