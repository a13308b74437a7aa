"""Periods are named by days of the programme or by moments, as requests name them."""

from datetime import UTC, datetime

import pytest

from service.simulate.period import PeriodError, read_period
from tests.rules.sets import NOW, shipped_rulebook

PROGRAM = shipped_rulebook().program


@pytest.mark.parametrize("text", ["2026-10-31T23:59:60Z", "2026-11-01T07:59:60+08:00"])
def test_a_period_may_begin_in_a_leap_second(text):
    period = read_period(PROGRAM, text, None, NOW)
    assert period.starts_at == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-11-01T00:59:60Z", "2026-10-31T23:59:60", "9999-12-31T23:59:60Z"]
)
def test_what_is_no_leap_second_is_no_moment(text):
    with pytest.raises(PeriodError):
        read_period(PROGRAM, text, None, NOW)
