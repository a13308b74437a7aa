"""Random histories: balances are what a plain model says, never below a floor, audited clean."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.energy.bubbles import BubbleEmptyError, BubbleExpiredError, BubbleNotRipeError
from service.errors import InsufficientEnergyError
from service.ledger.audit import audit
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

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("award"), st.integers(0, 300), st.integers(0, 900)),
        st.tuples(st.just("collect"), st.integers(0, 9)),
        st.tuples(st.just("collect_all")),
        st.tuples(st.just("expire")),
        st.tuples(st.just("reverse"), st.integers(0, 9)),
        st.tuples(st.just("adjust"), st.integers(-150, 150).filter(bool)),
        st.tuples(st.just("wait"), st.integers(1, 60)),
    ),
    max_size=14,
)


@dataclass
class _Bubble:
    energy_g: int
    saved_g: int
    ripens_at: object
    held: str = "bubble"
    is_reversed: bool = False


@dataclass
class _Model:
    """A person's accounts as a child would keep them."""

    available_g: int = 0
    arrears_g: int = 0
    expired_g: int = 0
    saved_g: int = 0
    bubbles: list = field(default_factory=list)

    @property
    def ripening_g(self):
        return sum(b.energy_g for b in self.bubbles if b.held == "bubble")

    def collect(self, bubble):
        bubble.held = "collected"
        repaid_g = min(self.arrears_g, bubble.energy_g)
        self.arrears_g -= repaid_g
        self.available_g += bubble.energy_g - repaid_g

    def reverse(self, bubble):
        bubble.is_reversed = True
        self.saved_g -= bubble.saved_g
        if bubble.held == "collected":
            taken_g = min(self.available_g, bubble.energy_g)
            self.available_g -= taken_g
            self.arrears_g += bubble.energy_g - taken_g
        elif bubble.held == "expired":
            self.expired_g -= bubble.energy_g
        bubble.held = "reversed"


async def _step(database, person, model, ids, now, step):
    kind, *values = step
    if kind == "award":
        energy_g, saved_g = values
        ids.append(await award(database, person, energy_g, saved_g=saved_g, now=now))
        held = "bubble" if energy_g else "collected"
        model.bubbles.append(_Bubble(energy_g, saved_g, now + RIPENS_AFTER, held))
        model.saved_g += saved_g
    elif kind == "collect" and values[0] < len(ids) and model.bubbles[values[0]].energy_g:
        bubble = model.bubbles[values[0]]
        try:
            await collect(database, person, ids[values[0]], now)
            assert bubble.held == "bubble"
            assert bubble.ripens_at <= now < bubble.ripens_at + EXPIRES_AFTER
            model.collect(bubble)
        except BubbleNotRipeError:
            assert now < bubble.ripens_at
        except BubbleExpiredError:
            assert now >= bubble.ripens_at + EXPIRES_AFTER
        except BubbleEmptyError:
            assert bubble.held in {"collected", "reversed"}
    elif kind == "collect_all":
        await collect_all(database, person, now)
        for bubble in model.bubbles:
            is_ripe = bubble.ripens_at <= now < bubble.ripens_at + EXPIRES_AFTER
            if bubble.held == "bubble" and is_ripe:
                model.collect(bubble)
    elif kind == "expire":
        await expire(database, now)
        for bubble in model.bubbles:
            if bubble.held == "bubble" and now >= bubble.ripens_at + EXPIRES_AFTER:
                bubble.held = "expired"
                model.expired_g += bubble.energy_g
    elif kind == "reverse" and values[0] < len(ids):
        bubble = model.bubbles[values[0]]
        reversal = await reverse(database, person, ids[values[0]], now)
        assert reversal.is_repeated == bubble.is_reversed
        assert (reversal.energy_g, reversal.saved_g) == (-bubble.energy_g, -bubble.saved_g)
        if not bubble.is_reversed:
            model.reverse(bubble)
    elif kind == "adjust":
        try:
            await adjust_by(database, person, values[0], now)
            model.available_g += values[0]
        except InsufficientEnergyError:
            pass
        assert model.available_g >= 0


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
async def test_random_histories_are_exact_and_clean(database, steps):
    person, model, ids, now = await make_person(database), _Model(), [], START
    for step in steps:
        if step[0] == "wait":
            now += timedelta(hours=step[1])
        await _step(database, person, model, ids, now, step)
    book = await book_of(database, person)
    assert (book.available, -book.arrears, book.expired, book.ripening, book.saved_g) == (
        model.available_g,
        model.arrears_g,
        model.expired_g,
        model.ripening_g,
        model.saved_g,
    )
    report = await audit(database, mode="full", now=now, participant_id=person)
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
        except (BubbleEmptyError, InsufficientEnergyError):
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
