"""The compiled rules of one version: immutable, safe to share, nothing left to parse."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from service.rules.cel.expression import Expression, Scope
from service.rules.decide.languages import Text
from service.rules.language import schema

Per = Literal["day", "week", "month", "year", "ever"]
PERIODS: tuple[Per, ...] = ("day", "week", "month", "year", "ever")
GRAMS_MAX = 1_000_000
FUTURE_TOLERANCE = dt.timedelta(minutes=5)

_DAYS_MAX = {"day": 1, "week": 7, "month": 31, "year": 366}


# (attributes, what is told of an award, its Reader) -> how it came about, in a sentence
Explain = Callable[[Mapping[str, object], Any, Any], str]


@lru_cache(maxsize=4096)
def period_names(day: dt.date) -> tuple[str, ...]:
    """Name the periods that hold this local day, in the order of PERIODS."""
    year, week, _ = day.isocalendar()
    return (
        day.isoformat(),
        f"{year:04d}-W{week:02d}",
        f"{day.year:04d}-{day.month:02d}",
        f"{day.year:04d}",
        "ever",
    )


@lru_cache(maxsize=4096)
def _local_instant(zone: ZoneInfo, day: dt.date, time: dt.time) -> dt.datetime:
    return dt.datetime.combine(day, time, zone).astimezone(dt.UTC)


class CounterKey(NamedTuple):
    """One counter row of a person. `counter` is the limit's identity and outlives versions."""

    counter: str
    period: str
    by_key: str


class Used(NamedTuple):
    """What was used of a limit, and what a rule's actions of a day came to: a counter's row.

    Exactly, they earned `earned_g` and `earned_rest_ng` (10^-9 g) more or, below 0, less; so with
    savings. The grams are what was awarded before campaigns, limits and budgets.
    """

    n: int = 0
    grams: int = 0
    earned_g: int = 0
    earned_rest_ng: int = 0
    saved_g: int = 0
    saved_rest_ng: int = 0


@dataclass(frozen=True, slots=True)
class Ripening:
    """When energy may be collected: at a time of the next local day, or after a while."""

    next_day_at: dt.time | None
    after: dt.timedelta


@dataclass(frozen=True, slots=True)
class Taking:
    """What friends may take from a ripe bubble."""

    share: float
    max_g: int
    keep_share: float
    per_friend_and_bubble: int
    after_ripening: dt.timedelta


@dataclass(frozen=True, slots=True)
class Shield:
    """How long and how often a forest can be closed to friends."""

    lasts: dt.timedelta
    per_week: int


@dataclass(frozen=True, slots=True)
class Program:
    """What holds for the whole programme. Days, weeks and months are counted in its time zone."""

    name: str
    language: str
    timezone: ZoneInfo
    ripening: Ripening
    expires_after: dt.timedelta
    taking: Taking
    watering: schema.Watering
    shield: Shield

    def local_date(self, instant: dt.datetime) -> dt.date:
        """Tell the programme's day of this instant."""
        return instant.astimezone(self.timezone).date()

    def ripens_at(self, recorded_at: dt.datetime) -> dt.datetime:
        """Tell when energy recorded at this instant can be collected."""
        time = self.ripening.next_day_at
        if time is None:
            return recorded_at + self.ripening.after
        next_day = self.local_date(recorded_at) + dt.timedelta(days=1)
        return _local_instant(self.timezone, next_day, time)

    def expires_at(self, ripens_at: dt.datetime) -> dt.datetime:
        """Tell when energy that ripens at this instant is lost, if nobody collects it."""
        return ripens_at + self.expires_after

    def period_bounds(self, per: Per, day: dt.date) -> tuple[dt.datetime, dt.datetime] | None:
        """Tell the first instant of the period that holds this day and of the next one."""
        if per == "ever":
            return None
        starts = {
            "day": day,
            "week": day - dt.timedelta(days=day.weekday()),
            "month": day.replace(day=1),
            "year": day.replace(month=1, day=1),
        }
        end = starts[per] + dt.timedelta(days=_DAYS_MAX[per])
        if per in {"month", "year"}:
            end = end.replace(day=1)
        start = _local_instant(self.timezone, starts[per], dt.time())
        return start, _local_instant(self.timezone, end, dt.time())


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of an action type; `check` tells what is wrong with a value, or None."""

    name: str
    type: Literal["number", "integer", "string", "boolean"]
    required: bool
    unit: str
    minimum: float | None
    maximum: float | None
    max_length: int | None
    pattern: str | None
    one_of: tuple[str, ...]
    check: Callable[[object], str | None]


@dataclass(frozen=True, slots=True)
class Claim:
    """What is paid once: these attributes' values, per period, over all people."""

    by: tuple[str, ...]
    per: Per
    within_partner: bool
    scope: str
    per_index: int
    ignores_zeros: bool = False


class CounterSource(NamedTuple):
    """How a counter's key is made for an action of this type."""

    counter: str
    per_index: int
    by: str | None


@dataclass(frozen=True, slots=True)
class Limit:
    """A cap on the energy of a rule or group: by count, or by grams when count is None."""

    source: CounterSource
    per: Per
    count: int | None
    grams: int
    group: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `saves` and `earns` are grams, constant or computed. None earns what it saves.

    A constant is an integer exactly where it is whole.
    """

    id: str
    action: str
    title: Text
    starts_on: dt.date | None
    ends_before: dt.date | None
    when: Expression | None
    saves: float | Expression
    earns: float | Expression | None
    limits: tuple[Limit, ...]
    explain: Explain

    @property
    def is_whole(self) -> bool:
        """Whether it gives the same whole grams each time, so that nothing is ever rounded."""
        return isinstance(self.saves, int) and (self.earns is None or isinstance(self.earns, int))

    def is_on(self, day: dt.date) -> bool:
        """Whether its dates hold this day of the programme."""
        has_begun = self.starts_on is None or day >= self.starts_on
        return has_begun and (self.ends_before is None or day < self.ends_before)


@dataclass(frozen=True, slots=True)
class Campaign:
    """A time in which the energy of some rules counts several times; with a budget, while it lasts.

    `budget_g` is the extra grams over all people; `text` is how a cut by it is named.
    """

    id: str
    title: Text
    starts_on: dt.date
    ends_before: dt.date
    times: Fraction
    rules: tuple[str, ...]
    categories: tuple[str, ...]
    regions: frozenset[str]
    budget_g: int | None
    text: str

    def holds(self, day: dt.date, region: str) -> bool:
        """Whether it is on for an action of this local day, by somebody of this region."""
        return self.starts_on <= day < self.ends_before and self.covers(region)

    def covers(self, region: str) -> bool:
        """Whether it is for people of this region; a country stands for all regions of it."""
        regions = self.regions
        return not regions or region in regions or region.partition("-")[0] in regions


@dataclass(frozen=True, slots=True)
class Badge:
    """A mark of honour: so many actions of a type, green days in a row, or trees."""

    id: str
    title: Text
    kind: Literal["actions", "streak_days", "trees"]
    action: str | None
    count: int


@dataclass(frozen=True, slots=True)
class ActionType:
    """One kind of action with everything that judging and evaluating it needs."""

    name: str
    title: Text
    category: str
    hint: Text | None
    reported_by: frozenset[str]
    attributes: Mapping[str, Attribute]
    accepted_for: dt.timedelta
    plausible: Expression | None
    lasts: str | None
    lasts_unit: dt.timedelta
    exclusive: bool
    claim: Claim | None
    rules: tuple[Rule, ...]
    # Every counter that a rule of this type uses, and by rule which of them its limits use.
    counters: tuple[CounterSource, ...]
    slots: Mapping[str, tuple[int, ...]]
    # By rule, which counter holds the exact sum of a day, where amounts need not be whole grams;
    # and that of what campaigns made of it, where one's times are not whole.
    sums: Mapping[str, int]
    multiplied: Mapping[str, int]
    # By rule, the campaigns that may multiply it, the one that gives most first; mostly empty.
    campaigns: Mapping[str, tuple[Campaign, ...]]
    scope: Scope
    # What its expressions use, so that nothing else is bound: attributes, `has` of attributes,
    # names of the context.
    used_names: frozenset[str]
    presence_names: tuple[str, ...]
    used_context: frozenset[str]
    needs_person: bool


@dataclass(frozen=True, slots=True, eq=False)
class Rulebook:
    """All rules of one published version (0: a draft that nobody published)."""

    version: int
    sha256: str
    program: Program
    factors: Mapping[str, schema.Factor]
    action_types: Mapping[str, ActionType]
    rules: Mapping[str, Rule]
    campaigns: Mapping[str, Campaign]
    badges: Mapping[str, Badge]
