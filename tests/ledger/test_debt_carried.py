"""The migration by which whoever has grams and owes grams repays: by transfers that the audit
follows, in pages, and nobody else's balance changes.
"""

import importlib.util
from contextlib import asynccontextmanager

import asyncpg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.ext.asyncio import create_async_engine

from service.audit.audit import audit
from service.audit.checks import COMPARES, WHOLE
from service.instance.migrate import _FOLDER
from service.platform.database import open_database, sqlalchemy_url
from tests.ledger.histories import (
    RIPENS_AFTER,
    START,
    adjust_by,
    award,
    book_of,
    collect,
    make_person,
    publish_rules,
    reverse,
)
from tests.people import settings_for
from tests.planting.forestry import cancel, open_project, pledge

LATER = START + RIPENS_AFTER
CONSTRAINT = "ck_books_debt_is_repaid_first"


@pytest.fixture
async def database(servers, fresh_database_url, tmp_path):
    """A database of the version before, which let somebody have and owe."""
    opened = await open_database(
        settings_for(servers, fresh_database_url, tmp_path), fresh_database_url
    )
    await opened.pool.execute(f"ALTER TABLE books DROP CONSTRAINT {CONSTRAINT}")
    await publish_rules(opened)
    yield opened
    await opened.close()


def migration(books_max):
    path = _FOLDER / "versions" / "20261130_debt_is_repaid_first.py"
    spec = importlib.util.spec_from_file_location("debt_is_repaid_first", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module._BOOKS_MAX = books_max
    return module


async def upgrade(url, books_max=2):
    def run(connection):
        with Operations.context(MigrationContext.configure(connection)):
            migration(books_max).upgrade()

    engine = create_async_engine(sqlalchemy_url(url))
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


async def debtor(database, project, trees):
    """Somebody who owes what the trees cost, and their pledge."""
    person = await make_person(database)
    earned = await award(database, person, 280)
    await collect(database, person, earned, LATER)
    made = await pledge(database, person, project, trees, now=LATER)
    await reverse(database, person, earned, LATER)
    return person, made


@asynccontextmanager
async def as_before(database, person):
    """What is done here repays nothing: the debt stands aside meanwhile."""
    change = "UPDATE books SET arrears = arrears + $2, issuance = issuance - $2"
    change += " WHERE participant_id = $1"
    owed_g = -(await book_of(database, person)).arrears
    await database.pool.execute(change, person, owed_g)
    yield
    await database.pool.execute(change, person, -owed_g)


async def balances(database, people):
    books = [await book_of(database, person) for person in people]
    return [(b.available, b.pledged, b.arrears, b.issuance) for b in books]


async def test_who_has_and_owes_repays_and_nobody_else(database, fresh_database_url):
    project = await open_project(database, price_g=50)
    debtors = [await debtor(database, project, trees) for trees in (5, 4, 3, 2, 1)]
    people = [person for person, _ in debtors]
    for person, made in debtors[:2]:
        async with as_before(database, person):
            await cancel(database, person, made.id, LATER)
    for person, amount_g in zip(people[2:4], (30, 130), strict=True):
        async with as_before(database, person):
            await adjust_by(database, person, amount_g, LATER)
    rich = await make_person(database)
    await adjust_by(database, rich, 70, START)
    everybody = [*people, rich]
    assert await balances(database, everybody) == [
        (250, 0, -250, 0),
        (200, 0, -200, 0),
        (30, 150, -150, -30),
        (130, 100, -100, -130),
        (0, 50, -50, 0),
        (70, 0, 0, -70),
    ]
    untouched = [await book_of(database, person) for person in everybody[4:]]
    await upgrade(fresh_database_url)
    assert await balances(database, everybody) == [
        (0, 0, 0, 0),
        (0, 0, 0, 0),
        (0, 150, -120, -30),
        (30, 100, 0, -130),
        (0, 50, -50, 0),
        (70, 0, 0, -70),
    ]
    assert [await book_of(database, person) for person in everybody[4:]] == untouched
    report = await audit(database, mode="full", now=LATER, more=COMPARES, whole=WHOLE)
    assert report.differences == []
    rows = await database.pool.fetch(
        "SELECT participant_id, cause_id FROM transfers WHERE cause = 'arrears'"
    )
    assert {row["participant_id"] for row in rows} == {*people[:4]}
    assert {made.id for _, made in debtors[:2]} <= {row["cause_id"] for row in rows}
    with pytest.raises(asyncpg.CheckViolationError):
        await database.pool.execute("UPDATE books SET available = 1, issuance = 0, arrears = -1")
