"""Reversal: where the grams come from, what is given back, and that it happens once."""

import asyncio
from datetime import timedelta

import pytest

from service.actions.reverse import ActionMissingError, AlreadyReversedError
from service.actions.store import reversal_id
from service.audit.audit import audit
from service.energy.bubbles import BubbleEmptyError
from service.ledger.accounts import Account
from service.ledger.books import ParticipantErasedError
from service.platform.ids import uuid7
from tests.ledger.histories import (
    START,
    adjust_by,
    award,
    book_of,
    bubble_of,
    collect,
    expire,
    make_person,
    reverse,
)

RIPE = START + timedelta(hours=25)
EXPIRED = START + timedelta(hours=97)


async def is_clean(database, person, now=EXPIRED):
    report = await audit(database, mode="full", now=now, participant_id=person)
    return report.differences == []


async def test_a_full_bubble_pays_its_own_reversal(database):
    person = await make_person(database)
    kept = await award(database, person, 50)
    undone = await award(database, person, 160, saved_g=565)
    reversal = await reverse(database, person, undone, RIPE)
    assert reversal.taken == {Account.RIPENING: 160}
    assert (reversal.row.energy_g, reversal.row.saved_g) == (-160, -565)
    book = await book_of(database, person)
    assert (book.issuance, book.ripening, book.saved_g) == (-50, 50, 0)
    assert (await bubble_of(database, person, kept)).remaining_g == 50
    bubble = await bubble_of(database, person, undone)
    assert (bubble.remaining_g, bubble.reversed_g) == (0, 160)
    assert await is_clean(database, person)


async def test_an_expired_bubble_pays_its_own_reversal_not_honest_energy(database):
    person = await make_person(database)
    undone = await award(database, person, 40)
    await expire(database, EXPIRED)
    await adjust_by(database, person, 30, EXPIRED)
    reversal = await reverse(database, person, undone, EXPIRED)
    assert reversal.taken == {Account.EXPIRED: 40}
    book = await book_of(database, person)
    assert (book.available, book.expired, book.arrears) == (30, 0, 0)
    bubble = await bubble_of(database, person, undone)
    assert (bubble.expired_g, bubble.reversed_g) == (0, 40)
    assert await is_clean(database, person)


async def test_an_expired_bubble_that_was_deleted_still_pays_from_expired(database):
    person = await make_person(database)
    undone = await award(database, person, 40)
    await expire(database, EXPIRED)
    await adjust_by(database, person, 30, EXPIRED)
    await database.pool.execute("DELETE FROM bubbles WHERE participant_id = $1", person)
    reversal = await reverse(database, person, undone, EXPIRED)
    assert reversal.taken == {Account.EXPIRED: 40}
    assert (await book_of(database, person)).available == 30
    assert await is_clean(database, person)


async def test_spent_energy_goes_into_arrears_and_the_next_collect_repays_it(database):
    person = await make_person(database)
    undone = await award(database, person, 100)
    await collect(database, person, undone, RIPE)
    await adjust_by(database, person, -70, RIPE)
    reversal = await reverse(database, person, undone, RIPE)
    assert reversal.taken == {Account.AVAILABLE: 30, Account.ARREARS: 70}
    book = await book_of(database, person)
    assert (book.available, book.arrears) == (0, -70)
    later = await award(database, person, 90, now=RIPE)
    await collect(database, person, later, RIPE + timedelta(hours=25))
    book = await book_of(database, person)
    assert (book.available, book.arrears) == (20, 0)
    assert await is_clean(database, person)


async def test_the_second_reversal_changes_nothing_and_says_so(database):
    person = await make_person(database)
    undone = await award(database, person, 100, saved_g=9)
    first = await reverse(database, person, undone, RIPE)
    before = await book_of(database, person)
    with pytest.raises(AlreadyReversedError) as refused:
        await reverse(database, person, undone, RIPE)
    row = refused.value.earlier
    assert (row.id, row.energy_g, row.saved_g) == (first.row.id, -100, -9)
    assert await book_of(database, person) == before


async def test_limits_are_given_back_also_when_two_rules_share_one(database):
    person = await make_person(database)
    shared = {("group:tickets|day", "2026-11-21", ""): (2, 80), ("walk|ever", "ever", "a"): (1, 80)}
    await award(database, person, 30, counters={("walk|ever", "ever", "a"): (1, 30)})
    undone = await award(database, person, 80, counters=shared)
    awards = [
        {"rule": rule, "saved_g": 0, "energy_g": 40, "limited_by": None, "counters": counters}
        for rule, counters in (
            (
                "a",
                [["group:tickets|day", "2026-11-21", "", 1, 40], ["walk|ever", "ever", "a", 1, 80]],
            ),
            ("b", [["group:tickets|day", "2026-11-21", "", 1, 40]]),
        )
    ]
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE actions SET awards = $2 WHERE id = $1", undone, awards)
    await reverse(database, person, undone, RIPE)
    rows = await database.pool.fetch(
        "SELECT counter, n, grams FROM counters WHERE participant_id = $1 ORDER BY 1", person
    )
    assert [tuple(row) for row in rows] == [("group:tickets|day", 0, 0), ("walk|ever", 1, 30)]
    assert await is_clean(database, person)


async def test_the_claim_is_free_for_somebody_else(database):
    first, second = await make_person(database), await make_person(database)
    undone = await award(database, first, 10, claim="box 1")
    await reverse(database, first, undone, RIPE)
    await award(database, second, 10, claim="box 1")
    assert await is_clean(database, first)
    assert await is_clean(database, second)


async def test_savings_are_lowered_on_the_board_of_the_day_of_the_reversal(database):
    person = await make_person(database, region="CN-ZJ")
    undone = await award(database, person, 10, saved_g=70)
    await reverse(database, person, undone, RIPE)
    body = await database.pool.fetchval("SELECT body FROM outbox WHERE participant_id = $1", person)
    assert body == {
        "day": RIPE.date().isoformat(),
        "deltas": [[person.hex, "saved", -70, "CN-ZJ"]],
    }


async def test_an_action_without_energy_can_be_reversed(database):
    person = await make_person(database)
    undone = await award(database, person, 0, saved_g=70)
    reversal = await reverse(database, person, undone, RIPE)
    assert (reversal.row.energy_g, reversal.row.saved_g, reversal.taken) == (0, -70, {})
    assert await is_clean(database, person)


async def test_what_is_not_there_cannot_be_reversed(database):
    person, other = await make_person(database), await make_person(database)
    undone = await award(database, person, 10)
    with pytest.raises(ActionMissingError):
        await reverse(database, person, uuid7(START), RIPE)
    with pytest.raises(ActionMissingError):
        await reverse(database, other, undone, RIPE)
    await reverse(database, person, undone, RIPE)
    with pytest.raises(ActionMissingError):
        await reverse(database, person, reversal_id(undone), RIPE)


async def test_nothing_moves_in_the_book_of_somebody_erased(database):
    person = await make_person(database)
    undone = await award(database, person, 10)
    await database.pool.execute("UPDATE books SET closed = true WHERE participant_id = $1", person)
    with pytest.raises(ParticipantErasedError):
        await reverse(database, person, undone, RIPE)
    with pytest.raises(ParticipantErasedError):
        await adjust_by(database, person, 5, RIPE)


async def test_a_reversal_that_races_the_collect_takes_exactly_what_was_given(database):
    """Whoever comes first: nothing is left, nothing is owed, and nothing was paid twice."""
    collected_first = 0
    for _ in range(20):
        person = await make_person(database)
        undone = await award(database, person, 100, saved_g=5)
        results = await asyncio.gather(
            collect(database, person, undone, RIPE),
            reverse(database, person, undone, RIPE),
            reverse(database, person, undone, RIPE),
            return_exceptions=True,
        )
        repeated = sorted(isinstance(result, AlreadyReversedError) for result in results[1:])
        assert repeated == [False, True]
        book = await book_of(database, person)
        held = (book.issuance, book.ripening, book.available, book.arrears, book.saved_g)
        assert held == (0, 0, 0, 0, 0)
        if isinstance(results[0], BubbleEmptyError):
            assert book.seq == 2
        else:
            collected_first += 1
            assert book.seq == 3
        assert await is_clean(database, person)
    assert collected_first
