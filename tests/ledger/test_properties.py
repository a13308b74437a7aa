"""Random histories: balances are what a plain model says, never below a floor, audited clean."""

import asyncio
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from service.actions.reverse import AlreadyReversedError
from service.audit.audit import audit
from service.energy.bubbles import BubbleEmptyError, BubbleExpiredError, BubbleNotRipeError
from service.platform.errors import InsufficientEnergyError
from tests.ledger.histories import (
    EXPIRES_AFTER,
    RIPENS_AFTER,
    START,
    adjust_by,
    award,
    book_of,
    collect,
    collect_all,
    expire,
    make_person,
    reverse,
)
from tests.ledger.model import Model
from tests.planting.forestry import cancel, open_project, pledge

# Somebody spent what was taken back later: 120 g earned, 80 g pledged, 80 g owed.
DEBT = [("award", 120, 0), ("wait", 30), ("collect_all",), ("pledge", 2), ("reverse", 0)]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("award"), st.integers(0, 300), st.integers(0, 900)),
        st.tuples(st.just("collect"), st.integers(0, 9)),
        st.tuples(st.just("collect_all")),
        st.tuples(st.just("expire")),
        st.tuples(st.just("reverse"), st.integers(0, 9)),
        st.tuples(st.just("adjust"), st.integers(-150, 150).filter(bool)),
        st.tuples(st.just("pledge"), st.integers(1, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(1, 60)),
    ),
    min_size=4,
    max_size=14,
)
PRICE_G = 40


class _History:
    """One person's life, step by step, in the database and in the model."""

    def __init__(self, database, person, project):
        self.database, self.person, self.project = database, person, project
        self.pledges = []
        self.model, self.ids, self.now = Model(), [], START

    async def wait(self, hours):
        self.now += timedelta(hours=hours)

    async def award(self, energy_g, saved_g):
        self.ids.append(
            await award(self.database, self.person, energy_g, saved_g=saved_g, now=self.now)
        )
        ripens_at = self.now + RIPENS_AFTER
        self.model.award(energy_g, saved_g, ripens_at, ripens_at + EXPIRES_AFTER)

    async def collect(self, number):
        if number >= len(self.ids) or not self.model.bubbles[number].energy_g:
            return
        bubble = self.model.bubbles[number]
        try:
            await collect(self.database, self.person, self.ids[number], self.now)
            assert bubble.held == "bubble"
            assert bubble.is_ripe(self.now)
            self.model.collect(bubble)
        except BubbleNotRipeError:
            assert self.now < bubble.ripens_at
        except BubbleExpiredError:
            assert bubble.is_over(self.now)
        except BubbleEmptyError:
            assert bubble.held in {"collected", "reversed"}

    async def collect_all(self):
        await collect_all(self.database, self.person, self.now)
        self.model.collect_all(self.now)

    async def expire(self):
        await expire(self.database, self.now)
        self.model.expire(self.now)

    async def reverse(self, number):
        if number >= len(self.ids):
            return
        bubble = self.model.bubbles[number]
        try:
            row = (await reverse(self.database, self.person, self.ids[number], self.now)).row
        except AlreadyReversedError as error:
            assert bubble.is_reversed
            row = error.earlier
        else:
            assert not bubble.is_reversed
            self.model.reverse(bubble)
        assert (row.energy_g, row.saved_g) == (-bubble.energy_g, -bubble.saved_g)

    async def adjust(self, amount_g):
        try:
            await adjust_by(self.database, self.person, amount_g, self.now)
            self.model.adjust(amount_g)
        except InsufficientEnergyError:
            assert self.model.available_g < -amount_g

    async def pledge(self, trees):
        try:
            made = await pledge(self.database, self.person, self.project, trees, now=self.now)
        except InsufficientEnergyError:
            assert self.model.available_g < PRICE_G * trees
            return
        self.pledges.append(made)
        self.model.pledge(made.amount_g)

    async def cancel(self, number):
        if number < len(self.pledges):
            made = self.pledges.pop(number)
            await cancel(self.database, self.person, made.id, now=self.now)
            self.model.cancel(made.amount_g)


@settings(
    max_examples=25,
)
@given(begun=st.sampled_from([[], DEBT]), steps=STEPS)
async def test_random_histories_are_exact_and_clean(database, begun, steps):
    person = await make_person(database)
    history = _History(database, person, await open_project(database, price_g=PRICE_G))
    for kind, *values in begun + steps:
        await getattr(history, kind)(*values)
    book, model = await book_of(database, person), history.model
    assert {name: getattr(book, name) for name in model.accounts} == model.accounts
    report = await audit(database, mode="full", now=history.now, participant_id=person)
    assert report.differences == []
    assert report.transfers == book.seq


async def test_everything_at_once_loses_no_gram(database):
    """One person's awards, collects, reversals, adjustments and expiry, all racing each other."""
    person = await make_person(database)
    early = [await award(database, person, 10 + n, saved_g=n, now=START) for n in range(12)]
    now = START + timedelta(hours=30)

    async def calmly(effect):
        try:
            await effect
        except (AlreadyReversedError, BubbleEmptyError, InsufficientEnergyError):
            return

    work = [collect(database, person, action_id, now) for action_id in early]
    work += [reverse(database, person, action_id, now) for action_id in early[::2]]
    work += [reverse(database, person, action_id, now) for action_id in early[::2]]
    work += [adjust_by(database, person, amount_g, now) for amount_g in (5, -5, 9, -9)]
    work += [award(database, person, 3, now=now) for _ in range(5)]
    work += [collect_all(database, person, now), expire(database, now)]
    await asyncio.gather(*(calmly(effect) for effect in work))
    report = await audit(database, mode="full", now=now, participant_id=person)
    assert report.differences == []
    book = await book_of(database, person)
    kept_g = sum(10 + n for n in range(1, 12, 2))
    adjusted_g = await database.pool.fetchval(
        "SELECT coalesce(sum(CASE credit WHEN 3 THEN amount_g ELSE -amount_g END), 0)"
        " FROM transfers WHERE participant_id = $1 AND cause = 'adjust'",
        person,
    )
    assert book.available + book.ripening + book.arrears == kept_g + 15 + adjusted_g
    assert book.saved_g == sum(range(1, 12, 2))
