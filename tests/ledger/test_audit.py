"""The audit: clean over what the program wrote, and finds every kind of corruption."""

from datetime import timedelta

import pytest

from service.ledger.audit import audit
from tests.ledger.histories import (
    START,
    adjust_by,
    award,
    book_of,
    collect,
    expire,
    make_person,
    reverse,
)

DAY = timedelta(days=1)


TABLES = (
    "actions", "audit_head", "audit_log", "books", "bubbles", "claims", "counters", "erasures",
    "identities", "participants", "pledges", "transfers", "trees",
)  # fmt: skip


@pytest.fixture(scope="module")
async def person(database):
    """Somebody with a bit of everything: collected, expired, reversed, adjusted, ripening."""
    person = await make_person(database)
    collected = await award(database, person, 100, saved_g=500)
    expired = await award(database, person, 40, saved_g=10)
    reversed_id = await award(database, person, 30, claim="box 7", saved_g=5)
    await collect(database, person, collected, START + 1.1 * DAY)
    await expire(database, START + 5 * DAY)
    await reverse(database, person, expired, START + 5 * DAY)
    await reverse(database, person, reversed_id, START + 5 * DAY)
    await adjust_by(database, person, 25, START + 6 * DAY)
    await award(database, person, 60, claim="box 8", now=START + 6 * DAY)
    await award(database, person, 0, saved_g=7, now=START + 6 * DAY)
    await database.pool.execute("CREATE SCHEMA kept")
    for table in TABLES:
        await database.pool.execute(f"CREATE TABLE kept.{table} AS TABLE public.{table}")
    return person


@pytest.fixture
async def corrupt(database, person):
    """Change history as only somebody with all rights can: with the triggers switched off."""

    async def corrupt(statement):
        async with database.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            status = await connection.execute(statement)
            assert status.split()[-1] != "0", "the corruption must hit something"

    yield corrupt
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for table in TABLES:
            await connection.execute(f"DELETE FROM {table}")
            await connection.execute(f"INSERT INTO {table} SELECT * FROM kept.{table}")


async def run_audit(database, **options):
    options = {"mode": "full", "now": START + 7 * DAY, **options}
    return await audit(database, **options)


def told(report):
    return {(d.check, d.what, d.expected, d.found) for d in report.differences}


async def test_a_history_of_everything_is_clean(database, person):
    report = await run_audit(database)
    assert told(report) == set()
    assert report.is_clean
    assert report.complete
    book = await book_of(database, person)
    assert (report.books, report.transfers, report.actions) == (1, book.seq, book.action_seq)
    assert report.log_entries == 1


CORRUPTIONS = {
    "a balance was raised": (
        "UPDATE books SET available = available + 5, issuance = issuance - 5",
        {"balances"},
        "balance of available",
    ),
    "a transfer was made larger": (
        "UPDATE transfers SET amount_g = amount_g + 1 WHERE seq = 1",
        {"balances", "chain", "awards", "bubbles"},
        "transfer 1, hash",
    ),
    "a transfer was moved to another account": (
        "UPDATE transfers SET debit = 1, credit = 8 WHERE cause = 'adjust'",
        {"balances", "chain"},
        "balance of arrears",
    ),
    "a transfer's time was changed": (
        "UPDATE transfers SET at = at + interval '1 microsecond' WHERE seq = 2",
        {"chain"},
        "transfer 2, hash",
    ),
    "a transfer names another cause": (
        "UPDATE transfers SET cause_id = participant_id WHERE cause = 'collect'",
        {"chain", "bubbles"},
        "bubble",
    ),
    "a transfer in the middle is gone": (
        "DELETE FROM transfers WHERE cause = 'collect'",
        {"balances", "chain", "bubbles"},
        "balance of available",
    ),
    "the last transfer is gone": (
        """
        DELETE FROM transfers t USING books b
        WHERE b.participant_id = t.participant_id AND t.seq = b.seq
        """,
        {"balances", "heads", "awards", "bubbles"},
        "seq of the book",
    ),
    "a transfer was added": (
        """
        INSERT INTO transfers SELECT participant_id, seq + 1, amount_g, at, cause_id, counter_id,
        debit, credit, 'adjust', hash FROM transfers ORDER BY seq DESC LIMIT 1
        """,
        {"balances", "heads", "chain", "bubbles"},
        "seq of the book",
    ),
    "the head was changed": (
        "UPDATE books SET head = sha256(head)",
        {"heads"},
        "head of the chain",
    ),
    "an action's reasons were changed": (
        "UPDATE actions SET facts_digest = sha256(facts_digest) WHERE seq = 1",
        {"chain"},
        "transfer 1, hash",
    ),
    "an action's energy was raised": (
        "UPDATE actions SET energy_g = energy_g + 1 WHERE seq = 1",
        {"awards", "actions"},
        "energy of its awards",
    ),
    "an action's savings were raised": (
        "UPDATE actions SET saved_g = saved_g + 1 WHERE seq = 1",
        {"actions", "saved"},
        "saved_g of the book",
    ),
    "an action is gone": (
        "DELETE FROM actions WHERE seq = 1",
        {"awards", "chain", "saved", "counters"},
        "actions of the book",
    ),
    "an action was numbered anew": (
        "UPDATE actions SET seq = 99 WHERE seq = 1",
        {"saved"},
        "seq of the last action",
    ),
    "a reversal takes less": (
        "UPDATE actions SET energy_g = -1 WHERE kind = 'reversal' AND energy_g = -30",
        {"awards", "actions"},
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
        INSERT INTO bubbles (participant_id, id, energy_g, remaining_g, ripens_at, expires_at,
        origin, origin_id) SELECT participant_id, gen_random_uuid(), 9, 9, ripens_at,
        expires_at, 'gift', id FROM bubbles LIMIT 1
        """,
        {"bubbles"},
        "bubble",
    ),
    "a counter forgot": (
        "UPDATE counters SET n = 0, grams = 0 WHERE n > 0",
        {"counters"},
        "counter walk|day",
    ),
    "a counter is gone": ("DELETE FROM counters WHERE n > 0", {"counters"}, "counter walk|day"),
    "a claim was freed": ("DELETE FROM claims", {"claims"}, "claim of action"),
    "the number of trees was raised": (
        "UPDATE books SET trees = 1",
        {"trees"},
        "trees of the book",
    ),
    "a gift has no other side": (
        "UPDATE transfers SET debit = 7 WHERE cause = 'adjust'",
        {"balances", "chain", "pairs", "gifts"},
        "counterpart of transfer",
    ),
    "the identity is gone": ("DELETE FROM identities", {"people"}, "identity"),
    "the name is gone": ("DELETE FROM participants", {"people"}, "name"),
    "the salt is gone": ("UPDATE books SET salt = NULL", {"people"}, "salt"),
    "the book was closed by hand": ("UPDATE books SET closed = true", {"people"}, "attributes"),
    "the book is gone": (
        "DELETE FROM books",
        {"strangers", "awards", "bubbles", "counters"},
        "transfers of a participant",
    ),
    "an operator's reason was rewritten": (
        'UPDATE audit_log SET detail = \'{"reason": "none"}\'',
        {"log"},
        "hash of entry 1",
    ),
    "an operator's act is gone": ("DELETE FROM audit_log", {"log"}, "head of the operators' log"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
async def test_corruption_is_found(database, corrupt, name):
    statement, checks, what = CORRUPTIONS[name]
    await corrupt(statement)
    report = await run_audit(database)
    assert not report.is_clean
    assert set(report.found) <= checks
    assert any(what in difference.what for difference in report.differences), told(report)
