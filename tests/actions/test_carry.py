"""A database that the version before filled: its claims and counters are found by the normal form.

Three boxes that are one, a meal that only a person told of and one that a partner told of, shoes in
two spellings. Nobody's balance changes, the audit is clean, and nothing of it is paid anew.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from service.actions.carry import WrongSecretError, steps_of
from service.actions.order import participant_report, partner_report
from service.actions.record import Recorded
from service.actions.refusals import AlreadyClaimedError
from service.actions.report import EventRef
from service.audit.audit import audit
from service.audit.checks import COMPARES
from service.instance.migrate import check_migrated, finish_migrations, migrate
from service.platform.database import DatabaseUnusableError, open_database
from service.platform.ids import derived_uuid
from service.rulebooks.publish import Rulebooks
from tests.actions.histories import SECRET
from tests.orders import reverse, settle

LEFT = json.loads((Path(__file__).parent / "before_normal_form.json").read_text("utf-8"))
NOW = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)


@pytest.fixture
async def filled_url(empty_database_url):
    """As the version before left it, and migrated but for what needs the secret."""
    await migrate(empty_database_url, "0006")
    connection = await asyncpg.connect(empty_database_url)
    for table, rows in LEFT.items():
        if isinstance(rows, list):
            await connection.execute(f"DELETE FROM {table}")
            await connection.execute(
                f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, $1)",
                json.dumps(rows),
            )
    await connection.close()
    await migrate(empty_database_url)
    return empty_database_url


@pytest.fixture
async def carried(filled_url, settings):
    await finish_migrations(filled_url, lambda: steps_of(SECRET.decode()))
    opened = await open_database(settings, filled_url)
    yield opened
    report = await audit(opened, mode="full", now=NOW + timedelta(hours=1), more=COMPARES)
    assert report.is_clean, report.differences
    await opened.close()


@pytest.fixture
async def tell(carried):
    rulebook = await Rulebooks(carried).get(1)
    people = {name: UUID(text) for name, text in LEFT["people"].items()}

    async def record(who, type_, partner=None, **attributes):
        content = {"type_": type_, "occurred_at": NOW, "attributes": attributes}
        if partner is None:
            report = participant_report(
                people[who], reporter="participant", key=None, now=NOW, **content
            )
        else:
            key = derived_uuid(partner.encode(), json.dumps(attributes).encode()).bytes
            ref = EventRef(key, "meals", "urn:meals", partner, people["ann"].bytes * 2)
            report = partner_report(people[who], ref, fingerprint=key, **content)
        outcomes = await settle(carried, [report], rulebook=rulebook, now=NOW, secret=SECRET)
        return outcomes[report]

    return record


async def books_of(database):
    rows = await database.pool.fetch("SELECT * FROM books ORDER BY participant_id")
    return [dict(row) for row in rows]


async def test_nobodys_balance_changes_and_no_row_but_the_new_keys(carried):
    kept = {row["participant_id"]: row for row in LEFT["books"]}
    for book in await books_of(carried):
        before = kept[str(book["participant_id"])]
        assert book["ripening"] == before["ripening"]
        assert book["head"].hex() == before["head"].removeprefix("\\x")
    assert await carried.pool.fetchval("SELECT count(*) FROM actions") == len(LEFT["actions"])
    old = await carried.pool.fetchval("SELECT count(*) FROM claims WHERE of_key IS NULL")
    assert old == len(LEFT["claims"])
    assert not await carried.pool.fetchval("SELECT count(*) FROM unfinished_migrations")


async def test_nothing_is_paid_anew_in_any_spelling(tell):
    for code in ("BX-1", "bx-1", "BX-1\u200b", "bx-2", "BX-2", "BX-2\t", "bx-3", "\uff22\uff38-3"):
        assert isinstance(await tell("chen", "box", code=code), AlreadyClaimedError), code
    assert isinstance(await tell("chen", "box", code="bx-9"), Recorded)
    assert isinstance(await tell("bo", "meal", no="el-42"), AlreadyClaimedError)
    # Another person's order of this number is another one; what a partner told is its person's too.
    assert isinstance(await tell("chen", "meal", no="EL-42"), Recorded)
    assert isinstance(await tell("ann", "meal", no="0042"), AlreadyClaimedError)


async def test_the_first_bound_has_the_normal_form_and_a_partner_takes_it_over(tell, carried):
    told = await tell("ann", "box", partner="e-7", code="Bx-2")
    assert told.action.energy_g == 37
    reversed_ = await carried.pool.fetch(
        "SELECT a.attributes ->> 'code' FROM actions r JOIN actions a ON a.id = r.reverses"
        " WHERE r.recorded_at = $1",
        NOW,
    )
    assert [row[0] for row in reversed_] == ["BX-2\t"]


async def test_a_reversal_frees_all_that_its_action_held(tell, carried):
    rulebook = await Rulebooks(carried).get(1)
    (row,) = await carried.pool.fetch(
        "SELECT participant_id, id FROM actions WHERE attributes ->> 'code' = 'BX-2\t'"
    )
    await reverse(carried, *row, now=NOW, rulebook=rulebook)
    assert isinstance(await tell("bo", "box", code="BX-2\t"), Recorded)


async def test_what_a_limit_counts_by_goes_on_being_counted(tell):
    assert [(await tell("chen", "walk", shoe="Left")).action.energy_g] == [0]
    given = [(await tell("chen", "walk", shoe="right")).action.energy_g for _ in range(2)]
    assert given == [11, 0]


async def test_half_done_nobody_works_with_it_and_it_goes_on(filled_url, settings, monkeypatch):
    connection = await asyncpg.connect(filled_url)
    with pytest.raises(DatabaseUnusableError, match="older version"):
        await check_migrated(connection, "it")
    monkeypatch.setattr("service.actions.carry._CLAIMS_A_PAGE", 2)
    steps, pages = steps_of(SECRET.decode()), []

    async def breaks(connection, after):
        if len(pages) == 2:
            raise ConnectionError("the line was cut")
        pages.append(after)
        return await steps["claims"](connection, after)

    with pytest.raises(ConnectionError):
        await finish_migrations(filled_url, lambda: {"claims": breaks})
    with pytest.raises(DatabaseUnusableError, match="older version"):
        await check_migrated(connection, "it")
    await finish_migrations(filled_url, lambda: steps)
    await check_migrated(connection, "it")
    once = await connection.fetch("SELECT * FROM claims ORDER BY 1")
    await connection.execute(
        "INSERT INTO unfinished_migrations (step, after) VALUES ('claims', '')"
    )
    await finish_migrations(filled_url, lambda: steps)
    assert await connection.fetch("SELECT * FROM claims ORDER BY 1") == once
    await connection.close()


async def test_another_secret_is_told_and_nothing_is_carried(filled_url):
    with pytest.raises(WrongSecretError, match="SAXAUL_SECRET_KEY"):
        await finish_migrations(filled_url, lambda: steps_of("another key of the tests, as long"))
    connection = await asyncpg.connect(filled_url)
    assert not await connection.fetchval("SELECT count(*) FROM claims WHERE of_key IS NOT NULL")
    await connection.close()
