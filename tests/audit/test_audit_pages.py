"""The audit goes page by page: short transactions, resumable, and never in anybody's way."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from service.audit import audit as auditing
from service.audit.audit import audit
from service.ledger.books import lock_book
from service.platform.checks import Compare
from service.platform.database import open_database
from tests.ledger.histories import START, award, book_of, collect, make_person
from tests.people import settings_for

NOW = START + timedelta(days=7)


@pytest.fixture
async def database(servers, fresh_database_url, tmp_path):
    settings = settings_for(servers, fresh_database_url, tmp_path)
    opened = await open_database(settings, settings.database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def people(database):
    """Seven people in the order of their ids, each with three transfers."""
    people = sorted([await make_person(database) for _ in range(7)])
    for person in people:
        first = await award(database, person, 100)
        await award(database, person, 50)
        await collect(database, person, first, START + timedelta(hours=25))
    return people


async def give_a_gram(database, person):
    await database.pool.execute(
        "UPDATE books SET available = available + 1, issuance = issuance - 1"
        " WHERE participant_id = $1",
        person,
    )


async def audited(database):
    rows = await database.pool.fetch("SELECT audited_seq FROM books ORDER BY participant_id")
    return [row[0] for row in rows]


async def test_pages_of_any_size_look_at_everybody_once(database, people, monkeypatch):
    await give_a_gram(database, people[2])
    await give_a_gram(database, people[6])
    for books, rows in ((1, 9), (2, 9), (3, 9), (7, 9), (100, 9), (100, 100)):
        monkeypatch.setattr(auditing, "BOOKS_MAX", books)
        monkeypatch.setattr(auditing, "ROWS_A_PAGE", rows)
        seen = []
        report = await audit(
            database,
            mode="full",
            now=NOW,
            on_page=lambda report, seen=seen: seen.append(report.part_done),
        )
        assert (report.books, report.transfers, report.actions) == (7, 21, 14)
        assert {d.participant_id for d in report.differences} == {people[2], people[6]}
        assert seen == sorted(seen)
        assert seen[-1] == 1.0


async def test_a_book_without_an_owner_is_found_wherever_it_lies(database, people, monkeypatch):
    monkeypatch.setattr(auditing, "BOOKS_MAX", 2)
    for person in (people[0], people[3], people[6]):
        await database.pool.execute("DELETE FROM books WHERE participant_id = $1", person)
    report = await audit(database, mode="full", now=NOW)
    owners = {d.participant_id for d in report.differences if d.check == "strangers"}
    assert owners == {people[0], people[3], people[6]}


async def test_an_audit_that_ran_out_of_time_goes_on_where_it_stopped(
    database, people, monkeypatch
):
    monkeypatch.setattr(auditing, "BOOKS_MAX", 2)
    await give_a_gram(database, people[5])
    books, after, rounds = 0, UUID(int=0), 0
    found = {}
    while True:
        report = await audit(database, mode="full", now=NOW, after=after, seconds_max=0)
        books, after, rounds = books + report.books, report.after, rounds + 1
        found |= report.found
        if report.complete:
            break
    assert (books, rounds) == (7, 4)
    assert found == {"balances": 2}


async def test_only_what_was_found_clean_is_marked(database, people, monkeypatch):
    monkeypatch.setattr(auditing, "BOOKS_MAX", 1)
    await give_a_gram(database, people[1])
    await audit(database, mode="full", now=NOW)
    assert await audited(database) == [3, 0, 3, 3, 3, 3, 3]
    report = await audit(database, mode="incremental", now=NOW)
    assert (report.books, report.found) == (1, {"balances": 2})


async def test_an_incremental_audit_takes_the_chain_up_where_it_was_left(database, people):
    await audit(database, mode="full", now=NOW)
    await award(database, people[4], 10, now=NOW)
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "UPDATE transfers SET hash = sha256(hash) WHERE participant_id = $1 AND seq = 4",
            people[4],
        )
    report = await audit(database, mode="incremental", now=NOW)
    assert (report.books, report.transfers) == (1, 1)
    assert report.found == {"chain": 1, "heads": 1}


async def test_nobody_waits_for_an_audit_and_it_waits_for_nobody(database, people):
    """A book that somebody holds is audited as it stood, and marked another time."""
    async with database.pool.acquire() as connection, connection.transaction():
        await lock_book(connection, people[3])
        report = await asyncio.wait_for(audit(database, mode="full", now=NOW), 10)
        assert report.is_clean
    assert await audited(database) == [3, 3, 3, 0, 3, 3, 3]
    assert (await book_of(database, people[3])).seq == 3


async def test_an_audit_beside_bookings_sees_no_half_of_any(database, people, monkeypatch):
    """People come and book while it runs; a page is one moment for all of its checks."""
    monkeypatch.setattr(auditing, "BOOKS_MAX", 8)
    ending = False

    async def book_on():
        while not ending:
            person = await make_person(database)
            await award(database, person, 5, now=NOW)
            await award(database, people[3], 5, now=NOW)

    booking = asyncio.create_task(book_on())
    for _ in range(3):
        report = await audit(database, mode="full", now=NOW)
        assert report.differences == []
    ending = True
    await booking


async def test_a_recount_that_takes_its_time_is_not_broken_off(
    servers, fresh_database_url, tmp_path, people
):
    impatient = settings_for(servers, fresh_database_url, tmp_path, statement_timeout_ms=100)
    opened = await open_database(impatient, impatient.database_url)

    async def recount(_connection, _ids, _notes):
        # Not waited for: a machine that is busy, or many digests of one person.
        await asyncio.sleep(0.3)
        return []

    slow = Compare("slow", "nothing is off", recount)
    report = await audit(opened, mode="full", now=NOW, more=[slow])
    await opened.close()
    assert report.is_clean
    assert report.books == 7
