"""What somebody with all rights could do to books and actions by SQL: the statement, which checks
of the audit notice, and what they name.
"""

OF_BOOKS = {
    "a balance was raised": (
        "UPDATE books SET available = available + 5, issuance = issuance - 5",
        {"balances"},
        "balance of available",
    ),
    "a transfer was made larger": (
        "UPDATE transfers SET amount_g = amount_g + 1 WHERE seq = 1",
        {"awards", "balances", "bubbles", "chain"},
        "transfer 1, hash",
    ),
    "a transfer was moved to another account": (
        "UPDATE transfers SET debit = 1, credit = 8 WHERE cause = 'adjust'",
        {"balances", "chain", "sides", "told"},
        "balance of arrears",
    ),
    "a transfer's time was changed": (
        "UPDATE transfers SET at = at + interval '1 microsecond' WHERE seq = 2",
        {"chain"},
        "transfer 2, hash",
    ),
    "a transfer names another cause": (
        "UPDATE transfers SET cause_id = participant_id WHERE cause = 'collect'",
        {"bubbles", "chain"},
        "bubble",
    ),
    "a transfer in the middle is gone": (
        "DELETE FROM transfers WHERE cause = 'collect'",
        {"balances", "bubbles", "chain"},
        "balance of available",
    ),
    "the last transfer is gone": (
        """
        DELETE FROM transfers t USING books b WHERE b.participant_id = t.participant_id AND
        t.seq = b.seq
        """,
        {"balances", "heads", "lives", "trees"},
        "seq of the book",
    ),
    "a transfer was added": (
        """
        INSERT INTO transfers SELECT participant_id, seq + 1, amount_g, at, cause_id,
        counter_id, debit, credit, 'adjust', hash FROM transfers ORDER BY seq DESC LIMIT 1
        """,
        {"acts", "balances", "chain", "heads", "sides"},
        "seq of the book",
    ),
    "the head was changed": (
        "UPDATE books SET head = sha256(head)",
        {"heads"},
        "head of the chain",
    ),
    "an action's reasons were changed": (
        "UPDATE actions SET facts_digest = sha256(facts_digest) WHERE seq = 1",
        {"chain", "facts"},
        "transfer 1, hash",
    ),
    "an action's energy was raised": (
        "UPDATE actions SET energy_g = energy_g + 1 WHERE seq = 1",
        {"actions", "awards", "facts"},
        "energy of its awards",
    ),
    "an action's savings were raised": (
        "UPDATE actions SET saved_g = saved_g + 1 WHERE seq = 1",
        {"actions", "facts", "saved"},
        "saved_g of the book",
    ),
    "an action is gone": (
        "DELETE FROM actions WHERE seq = 1",
        {"awards", "chain", "counters", "ripening", "saved"},
        "actions of the book",
    ),
    "an action was numbered anew": (
        "UPDATE actions SET seq = 99 WHERE seq = 1",
        {"facts", "saved"},
        "seq of the last action",
    ),
    "a reversal takes less": (
        "UPDATE actions SET energy_g = -1 WHERE kind = 'reversal' AND energy_g = -30",
        {"actions", "awards", "facts", "told"},
        "reversal",
    ),
    "the book's savings were raised": (
        "UPDATE books SET saved_g = saved_g + 1",
        {"saved"},
        "saved_g of the book",
    ),
    "a bubble holds more": (
        "UPDATE bubbles SET remaining_g = 1, collected_g = collected_g - 1 WHERE collected_g > 0",
        {"bubbles"},
        "bubble",
    ),
    "a full bubble is gone": (
        "DELETE FROM bubbles WHERE remaining_g > 0",
        {"bubbles"},
        "bubble",
    ),
    "a bubble came from nowhere": (
        """
        INSERT INTO bubbles (participant_id, id, energy_g, remaining_g, ripens_at,
        expires_at, origin, origin_id) SELECT participant_id, gen_random_uuid(), 9, 9,
        ripens_at, expires_at, 'gift', id FROM bubbles LIMIT 1
        """,
        {"bubbles"},
        "bubble",
    ),
    "a counter forgot": (
        "UPDATE counters SET n = 0, grams = 0 WHERE n > 0",
        {"counters"},
        "counter walk|day",
    ),
    "a counter is gone": (
        "DELETE FROM counters WHERE n > 0",
        {"counters"},
        "counter walk|day",
    ),
    "a claim was freed": (
        "DELETE FROM claims",
        {"claims"},
        "claim of action",
    ),
    "the number of trees was raised": (
        "UPDATE books SET trees = 1",
        {"trees"},
        "trees of the book",
    ),
    "a gift has no other side": (
        "UPDATE transfers SET debit = 7 WHERE cause = 'adjust'",
        {"balances", "chain", "gifts", "pairs", "sides"},
        "counterpart of transfer",
    ),
    "the identity is gone": (
        "DELETE FROM identities",
        {"people"},
        "identity",
    ),
    "the name is gone": (
        "DELETE FROM participants",
        {"people"},
        "name",
    ),
    "the salt is gone": (
        "UPDATE books SET salt = NULL",
        {"people"},
        "salt",
    ),
    "the book was closed by hand": (
        "UPDATE books SET closed = true",
        {"people", "saved"},
        "attributes",
    ),
    "the book is gone": (
        "DELETE FROM books",
        {"budgets", "events", "strangers"},
        "transfers of a participant",
    ),
    "an operator's reason was rewritten": (
        'UPDATE audit_log SET detail = \'{"reason": "none"}\'',
        {"acts", "log", "plots", "told"},
        "hash of entry 1",
    ),
    "an operator's act is gone": (
        "DELETE FROM audit_log WHERE seq = (SELECT seq FROM audit_head)",
        {"acts", "log"},
        "head of the operators' log",
    ),
    "a transfer has a cause of its own": (
        "UPDATE transfers SET cause = 'bonus' WHERE cause = 'adjust'",
        {"chain", "sides", "told"},
        "sides of transfer",
    ),
    "a bubble never expires": (
        "UPDATE bubbles SET expires_at = '2199-01-01' WHERE remaining_g > 0",
        {"ripening"},
        "times of bubble",
    ),
    "a bubble is ripe at once": (
        "UPDATE bubbles SET ripens_at = ripens_at - interval '1 day' WHERE remaining_g > 0",
        {"ripening"},
        "times of bubble",
    ),
    "an action and its bubble never expire": (
        """
        WITH a AS (UPDATE actions SET expires_at = '2199-01-01' WHERE energy_g > 0 RETURNING
        1) UPDATE bubbles SET expires_at = '2199-01-01'
        """,
        {"facts"},
        "facts of action",
    ),
    "an action's minutes are free again": (
        """
        UPDATE actions SET exclusive = true, ends_at = occurred_at + interval '9 h' WHERE
        seq = 1
        """,
        {"facts"},
        "facts of action",
    ),
    "an action was booked in another month": (
        "UPDATE actions SET recorded_at = recorded_at - interval '30 d' WHERE seq = 1",
        {"facts"},
        "facts of action",
    ),
    "an action counts in another region": (
        "UPDATE actions SET region = 'CN-BJ' WHERE seq = 1",
        {"facts"},
        "facts of action",
    ),
    "an action was reported by a partner": (
        "UPDATE actions SET verified = true, source = 'metro' WHERE seq = 1",
        {"facts"},
        "facts of action",
    ),
    "an action of another streak": (
        "UPDATE actions SET streak_days = 99 WHERE seq = 1",
        {"facts"},
        "facts of action",
    ),
    "an action has another fingerprint": (
        "UPDATE actions SET fingerprint = decode(repeat('01', 16), 'hex') WHERE seq = 1",
        {"facts"},
        "facts of action",
    ),
    "an action by other rules": (
        "UPDATE actions SET rulebook_version = 2 WHERE seq = 1",
        {"facts"},
        "facts of action",
    ),
    "an award by another rule": (
        "UPDATE actions SET awards = jsonb_set(awards, '{0,rule}', '\"other\"') WHERE seq = 1",
        {"facts"},
        "facts of action",
    ),
    "an award of 0 g more": (
        """
        UPDATE actions SET awards = awards || '[{"rule": "ghost", "energy_g": 0, "saved_g":
        0, "counters": [], "limited_by": null}]' WHERE seq = 1
        """,
        {"facts"},
        "facts of action",
    ),
    "a limit was never used": (
        """
        WITH c AS (DELETE FROM counters WHERE n > 0) UPDATE actions SET awards =
        jsonb_set(awards, '{0,counters}', '[]') WHERE kind = 'action'
        """,
        {"facts"},
        "facts of action",
    ),
    "a counter ends sooner": (
        "UPDATE counters SET ends_on = ends_on - 300 WHERE n > 0",
        {"counters"},
        "counter walk|day",
    ),
    "a counter's period is no period": (
        """
        UPDATE counters SET period = '2026-99-99' WHERE period = (SELECT max(period) FROM
        counters)
        """,
        {"counters"},
        "counter walk|day",
    ),
    "an action without its claim": (
        """
        WITH c AS (DELETE FROM claims) UPDATE actions SET claim_key = NULL WHERE claim_key
        IS NOT NULL
        """,
        {"facts"},
        "facts of action",
    ),
    "savings were raised throughout": (
        """
        WITH a AS (UPDATE actions SET saved_g = saved_g + 9, awards = jsonb_set(awards,
        '{0,saved_g}', to_jsonb(saved_g + 9)) WHERE seq = 1) UPDATE books SET saved_g =
        saved_g + 9
        """,
        {"facts"},
        "facts of action",
    ),
    "an action of 0 g was copied": (
        """
        WITH c AS (INSERT INTO actions SELECT (jsonb_populate_record(a,
        jsonb_build_object('id', gen_random_uuid(), 'seq', b.action_seq + 1, 'awards',
        jsonb_set(awards, '{0,counters}', '[]')))).* FROM actions a JOIN books b USING
        (participant_id) WHERE a.energy_g = 0 AND kind = 'action') UPDATE books SET
        action_seq = action_seq + 1, saved_g = saved_g + 7
        """,
        {"facts"},
        "facts of action",
    ),
    "attributes were erased by hand": (
        "UPDATE actions SET attributes = NULL WHERE seq = 1",
        {"saved"},
        "attributes of actions",
    ),
    "attributes were changed": (
        "UPDATE actions SET attributes = '{\"steps\": 1}' WHERE seq = 1",
        {"facts"},
        "facts of action",
    ),
    "a claim of nobody": (
        """
        INSERT INTO claims
        SELECT sha256('x'), gen_random_uuid(), gen_random_uuid(), last_at FROM books
        """,
        {"stray claims"},
        "claim ",
    ),
    "a claim of what is reversed": (
        """
        INSERT INTO claims SELECT claim_key, participant_id, id, recorded_at FROM actions a
        WHERE claim_key IS NOT NULL AND EXISTS (SELECT FROM actions r WHERE r.reverses =
        a.id)
        """,
        {"claims", "stray claims"},
        "claim ",
    ),
    "a claim of another action": (
        "UPDATE claims SET action_id = (SELECT id FROM actions WHERE seq = 1)",
        {"claims", "stray claims"},
        "claim ",
    ),
    "a claim of another person": (
        "UPDATE claims SET participant_id = gen_random_uuid()",
        {"claims", "stray claims"},
        "claim of action",
    ),
    "a claim has another value": (
        "UPDATE claims SET claim_key = sha256(claim_key)",
        {"claims", "stray claims"},
        "claim of action",
    ),
    "time went back in the book": (
        "UPDATE books SET last_at = last_at - interval '1 year'",
        {"times"},
        "time of the last booking",
    ),
    "time stands still in the book": (
        "UPDATE books SET last_at = '2199-01-01'",
        {"times"},
        "time of the last booking",
    ),
    "the book was audited before it was written": (
        "UPDATE books SET audited_seq = seq + 1",
        {"heads"},
        "seq that was found clean",
    ),
    "somebody was suspended by hand": (
        "UPDATE books SET suspended = true",
        {"acts"},
        "suspended",
    ),
    "a second identity": (
        """
        INSERT INTO identities SELECT sha256(subject_key), participant_id, created_at FROM
        identities
        """,
        {"people"},
        "identity",
    ),
    "an answer to somebody who was erased is kept": (
        """
        WITH closed AS (UPDATE books SET closed = true RETURNING participant_id, last_at)
        INSERT INTO idempotency_keys
        SELECT participant_id, 'POST /v1/me/pledges', 'a key', sha256(''), 409, '', last_at
        FROM closed
        """,
        {"people", "saved"},
        "stored answers",
    ),
    "a note of an erasure that never was": (
        "INSERT INTO erasures SELECT participant_id, last_at, last_at FROM books",
        {"people"},
        "note of the erasure",
    ),
}
