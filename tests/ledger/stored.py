"""What is stored of a person, to see that it stays, and what their transfers add up to."""

from service.ledger.accounts import Account


async def stored(pool, participant_id):
    """Their rows of each table but that of first answers; all stock; how many acts were told."""
    texts = [
        f"SELECT '{table}', coalesce(jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t)::text), '[]')"
        f" FROM {table} t WHERE participant_id = $1"
        for (table,) in await pool.fetch(_TABLES)
    ]
    texts.append("SELECT 'stock', jsonb_agg(to_jsonb(t)) FROM stock t")
    texts += [f"SELECT '{name}', to_jsonb(count(*)) FROM {name}" for name in _COUNTED]
    return dict(await pool.fetch(" UNION ALL ".join(texts), participant_id))


async def posted(pool, participant_id):
    """The balance of each account by the transfers alone, and how many they are."""
    sides = await pool.fetch(_SIDES, participant_id)
    moved = {row["account"]: row["grams"] for row in sides}
    # Each transfer has two sides.
    number = sum(row["number"] for row in sides) // 2
    return {account: moved.get(account, 0) for account in Account}, number


_COUNTED = ("outbox", "audit_log")

_TABLES = """
SELECT table_name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name = 'participant_id'
    AND table_name NOT IN ('idempotency_keys', 'outbox')"""

_SIDES = """
SELECT account, sum(grams) AS grams, count(*) AS number FROM (
    SELECT credit AS account, amount_g AS grams FROM transfers WHERE participant_id = $1
    UNION ALL SELECT debit, -amount_g FROM transfers WHERE participant_id = $1
) AS sides GROUP BY account"""
