"""What is paid once, over all people: bound, refused, freed, in any order."""

import asyncio
from uuid import uuid4

import asyncpg

from service.actions.claims import hold_claims
from service.actions.hidden import claim_key
from service.actions.record import Recorded
from service.actions.refusals import AlreadyClaimedError, OverlapError
from service.rules.decide.judge import judge
from tests.actions.reports import (
    MINUTE,
    NOW,
    SECRET,
    blocked_backends,
    box,
    count,
    rental,
)


async def test_a_box_is_paid_once_over_all_people_and_batches(database, person, record):
    one, two, three = [await person() for _ in range(3)]
    first, second = box(one, "X1"), box(two, "X1")
    outcomes = await record([first, second])
    assert isinstance(outcomes[first], Recorded)
    # Whether the first is paid was not known when it was the second one's turn: it comes again.
    assert second not in outcomes
    assert isinstance((await record([second]))[second], AlreadyClaimedError)
    for somebody, actions in ((three, 0), (one, 1)):
        later = box(somebody, "X1")
        assert isinstance((await record([later]))[later], AlreadyClaimedError)
        assert await count(database, "actions", somebody) == actions


async def test_a_claim_that_is_freed_while_it_is_asked_for_is_bound(database, person):
    """Its holder is reversed between the two statements that bind and read."""
    holder, wanting = await person(), await person()
    key, row = bytes(32), (wanting, uuid4())

    class FreedBetween:
        """The connection; after its first statement the claim is free."""

        def __init__(self, connection):
            self.fetch, self._connection, self._is_free = connection.fetch, connection, False

        async def execute(self, *statement):
            await self._connection.execute(*statement)
            if not self._is_free:
                self._is_free = True
                await database.pool.execute("DELETE FROM claims WHERE claim_key = $1", key)

    async with database.transaction() as connection:
        assert not await hold_claims(connection, {key: (holder, uuid4(), None)}, NOW)
    async with database.transaction() as connection:
        assert not await hold_claims(FreedBetween(connection), {key: (*row, None)}, NOW)
    found = await database.pool.fetchrow(
        "SELECT participant_id, action_id FROM claims WHERE claim_key = $1", key
    )
    assert tuple(found) == row


async def test_what_is_refused_leaves_no_minutes_and_no_claim_behind(database, person, record):
    """A refused trip blocks no other trip, and a trip refused for its minutes keeps no claim."""
    one, two = await person(), await person()
    await record([rental(one, at=NOW - 300 * MINUTE, number="R1")])
    claimed = rental(two, at=NOW - 120 * MINUTE, number="R1")
    meets_the_refused = rental(two, at=NOW - 110 * MINUTE, number="R2")
    meets_the_accepted = rental(two, at=NOW - 100 * MINUTE, number="R3")
    outcomes = await record([claimed, meets_the_refused, meets_the_accepted])
    assert isinstance(outcomes[claimed], AlreadyClaimedError)
    assert isinstance(outcomes[meets_the_refused], Recorded)
    assert isinstance(outcomes[meets_the_accepted], OverlapError)
    again = rental(one, at=NOW - 100 * MINUTE, number="R3")
    assert isinstance((await record([again]))[again], Recorded)


async def test_a_claim_refused_to_the_first_goes_to_the_next_of_the_batch(database, person, record):
    one, two = await person(), await person()
    trip = rental(one, at=NOW - 120 * MINUTE, number="R4")
    meets_it = rental(one, at=NOW - 110 * MINUTE, number="R5")
    of_another = rental(two, at=NOW - 110 * MINUTE, number="R5")
    outcomes = await record([trip, meets_it, of_another])
    assert isinstance(outcomes[meets_it], OverlapError)
    assert isinstance(outcomes[of_another], Recorded)
    async with database.pool.acquire() as connection:
        owners = await connection.fetch(
            "SELECT action_id FROM claims WHERE participant_id = $1", two
        )
    assert [row[0] for row in owners] == [of_another.id]
    late = rental(one, at=NOW - 20 * MINUTE, number="R5")
    assert isinstance((await record([late]))[late], AlreadyClaimedError)


async def test_claims_in_opposite_order_do_not_deadlock(
    settings, database, person, record, rulebook
):
    """Two batches want a, middle, b and b, middle, a, while a third transaction holds the middle.

    In order of arrival each would hold what the other wants next once the middle is free.
    """
    one, two = await person(), await person()
    forth = [box(one, code) for code in ("A", "MIDDLE", "B")]
    back = [box(two, code) for code in ("B", "MIDDLE", "A")]
    (claim,) = judge(rulebook, forth[1].candidate, NOW).claims
    middle = claim_key(SECRET, claim, one)
    connection = await asyncpg.connect(settings.database_url)
    holding = connection.transaction()
    await holding.start()
    await connection.execute(
        "INSERT INTO claims (claim_key, participant_id, action_id, bound_at)"
        " VALUES ($1, $2, $2, $3)",
        middle,
        one,
        NOW,
    )
    batches = [asyncio.create_task(record(reports)) for reports in (forth, back)]
    await blocked_backends(settings.database_url, at_least=2)
    await holding.rollback()
    await connection.close()
    outcomes = [outcome for each in await asyncio.gather(*batches) for outcome in each.values()]
    assert sum(isinstance(outcome, Recorded) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, AlreadyClaimedError) for outcome in outcomes) == 3
