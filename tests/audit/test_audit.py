"""The audit: clean over what the program wrote, and finds every kind of corruption."""

from datetime import timedelta

import pytest

from service.audit.audit import audit
from service.audit.checks import COMPARES, WHOLE
from service.participants.operate import set_suspended
from service.planting.trees import Status
from tests.audit.corruptions import OF_BOOKS
from tests.audit.corruptions_beyond import BEYOND_BOOKS
from tests.ledger.histories import (
    START,
    adjust_by,
    award,
    book_of,
    by_operator,
    collect,
    expire,
    make_person,
    publish_rules,
    reverse,
)
from tests.planting.forestry import (
    advance,
    allocate,
    cancel,
    open_plot,
    open_project,
    pledge,
)

DAY = timedelta(days=1)


TABLES = (
    "actions", "active_rulebook", "audit_head", "audit_log", "books", "bubbles",
    "campaign_budgets", "claims", "counters", "erasures", "identities", "outbox",
    "participants", "partner_events", "pledges", "projects", "relay_lanes", "rulebooks",
    "stock", "transfers", "tree_numbers", "tree_steps", "trees",
)  # fmt: skip


@pytest.fixture(scope="module")
async def person(database):
    """Somebody with a bit of everything: collected, expired, reversed, adjusted, ripening, trees
    at every stage of their lives.
    """
    await publish_rules(database)
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
    await database.pool.execute("INSERT INTO campaign_budgets VALUES ('double', 500, 500)")
    for draw_g in (5, 7, 9):
        await award(database, person, 20, draw_g=draw_g, partner="metro", now=START + 6 * DAY)
    await database.pool.execute(
        "UPDATE partner_events SET state = 'reversed' WHERE action_id = $1",
        await _reverse_last(database, person),
    )
    await _plant(database, person)
    await _suspend_and_resume(database, person)
    await _relay(database)
    await database.pool.execute("CREATE SCHEMA kept")
    for table in TABLES:
        await database.pool.execute(f"CREATE TABLE kept.{table} AS TABLE public.{table}")
    return person


async def _reverse_last(database, person):
    last = await database.pool.fetchval("SELECT id FROM actions ORDER BY seq DESC LIMIT 1")
    await reverse(database, person, last, START + 6 * DAY)
    return last


async def _plant(database, person):
    project = await open_project(database, price_g=10, capacity=20)
    plot = await open_plot(database, project)
    undone = await pledge(database, person, project, 2, now=START + 6 * DAY)
    await cancel(database, person, undone.id, now=START + 6 * DAY)
    await pledge(database, person, project, 6, now=START + 6 * DAY)
    planted = (await allocate(database, plot, 5, now=START + 6.1 * DAY)).trees[:4]
    for status, numbers in ((Status.PLANTED, planted), (Status.LOST, planted[:2])):
        await advance(database, plot, status, numbers=numbers, now=START + 6.2 * DAY)
    await allocate(database, plot, 1, now=START + 6.3 * DAY)
    await advance(database, plot, Status.VERIFIED, numbers=planted[2:3], now=START + 6.4 * DAY)


async def _suspend_and_resume(database, person):
    for suspended in (True, False):
        await set_suspended(
            database,
            person,
            suspended=suspended,
            reason="?",
            act=by_operator(START + 6.5 * DAY),
        )


async def _relay(database):
    """Give all but the last row of the outbox its position; the first one was applied."""
    await database.pool.execute(
        "UPDATE outbox SET position = p.position FROM ("
        " SELECT id, row_number() OVER (ORDER BY id) AS position FROM outbox) AS p"
        " WHERE p.id = outbox.id AND p.position < (SELECT count(*) FROM outbox)"
    )
    await database.pool.execute(
        "INSERT INTO relay_lanes (lane, positioned, applied) SELECT 0, max(position), 1 FROM outbox"
    )


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
    options = {"mode": "full", "now": START + 7 * DAY, "more": COMPARES, "whole": WHOLE, **options}
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
    acts = await database.pool.fetchval("SELECT count(*) FROM audit_log")
    assert report.log_entries == acts >= 10


CORRUPTIONS = OF_BOOKS | BEYOND_BOOKS


@pytest.mark.parametrize("name", CORRUPTIONS)
async def test_corruption_is_found(database, corrupt, name):
    statement, checks, what = CORRUPTIONS[name]
    await corrupt(statement)
    report = await run_audit(database)
    assert not report.is_clean
    assert set(report.found) == checks, told(report)
    assert any(what in f"{d.what}, expected {d.expected}" for d in report.differences), told(report)
