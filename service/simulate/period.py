"""The period of a simulation: what was recorded from one instant until another."""

import re
from datetime import UTC, date, datetime, time, timedelta

from msgspec import Struct

from service.rules.compile.texts import instant_of
from service.rules.decide.rulebook import Program
from service.rules.told import Told

DEFAULT_DAYS = 30

# Accepted for 60 days at most, parked for 30 before that, and a day for whoever is late with both.
_LATEST = timedelta(days=91)
_EARLIEST = timedelta(minutes=6)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEARS = range(2000, 2200)


class PeriodError(ValueError):
    """No such period. `which` names the end that is wrong: from or to."""

    def __init__(self, which: str, detail: str) -> None:
        """`detail` says what is allowed."""
        super().__init__(f"{which}: {detail}")
        self.which, self.detail = which, detail


class Period(Struct, frozen=True):
    """What was recorded in [starts_at, ends_at) is replayed."""

    starts_at: datetime
    ends_at: datetime

    @property
    def bounds(self) -> tuple[datetime, datetime, datetime, datetime]:
        """As statements take it: recorded from and until, occurred from and until."""
        return (
            self.starts_at,
            self.ends_at,
            self.starts_at - _LATEST,
            self.ends_at + _EARLIEST,
        )


def read_period(program: Program, start: str | None, end: str | None, now: datetime) -> Period:
    """The period between two days of the programme or instants; `end` is exclusive, as `until` is.

    Without an end it ends now, without a start it begins 30 days before the end. Raises
    PeriodError.
    """
    ends_at = now if end is None else _instant(program, "to", end)
    if start is None:
        starts_at = ends_at - timedelta(days=DEFAULT_DAYS)
    else:
        starts_at = _instant(program, "from", start)
    if starts_at >= ends_at:
        if end is None:
            raise PeriodError("from", Told("must be before now, {now:%FT%TZ}", now=now))
        raise PeriodError("to", "must be after from; it is the first day that no longer counts")
    return Period(starts_at, ends_at)


def _instant(program: Program, which: str, text: str) -> datetime:
    try:
        if _DAY.fullmatch(text):
            instant = datetime.combine(date.fromisoformat(text), time(), program.timezone)
        else:
            instant = instant_of(text)
        if instant.tzinfo is not None and instant.year in _YEARS:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # said below, as for a time that cannot be used
    raise PeriodError(
        which,
        "must be a day like 2026-11-21 or a time like 2026-11-21T08:00:00Z, of 2000 to 2199",
    )
