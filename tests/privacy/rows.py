"""Where a person is still named."""

# What the ledger keeps of who was erased: a nameless book, and what it was paid for.
LEDGER = {
    "actions", "books", "bubbles", "erasures", "outbox", "pledges", "transfers", "tree_numbers",
    "tree_steps", "trees",
}  # fmt: skip


async def rows_of(database, participant_id):
    """How many rows of each table still name this person."""
    tables = await database.pool.fetch(
        "SELECT table_name FROM information_schema.columns"
        " WHERE column_name = 'participant_id' AND table_schema = 'public'"
    )
    counts = {}
    for (table,) in tables:
        counts[table] = await database.pool.fetchval(
            f"SELECT count(*) FROM {table} WHERE participant_id = $1", participant_id
        )
    return {table: n for table, n in counts.items() if n}
