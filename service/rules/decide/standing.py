"""What a person's actions leave behind for those that come after, in one memory.

Counters with the exact sums of days, and the minutes of exclusive trips: for real actions under
their book's lock, for simulated ones and for those of scenarios. Claims and budgets are over all
people and have memories of their own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import add, sub
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from service.rules.decide.evaluate import Award
from service.rules.decide.judge import Judged
from service.rules.decide.rulebook import CounterKey, Used

_DAY_S = 86_400

Uses = Iterable[tuple[CounterKey, Used]]
"""What awards add to counters."""


class Trip(NamedTuple):
    """The minutes that an exclusive action fills: [starts_at, ends_at)."""

    starts_at: dt.datetime
    ends_at: dt.datetime
    action_id: UUID | None = None

    @property
    def day(self) -> int:
        """The day on which it starts; none is longer than a day."""
        return int(self.starts_at.timestamp()) // _DAY_S


class KeptAward(msgspec.Struct):
    """What replays read of an award that is kept; its counters only where they are asked for."""

    rule: str
    saved_g: int
    energy_g: int
    limited_by: str | None
    counters: msgspec.Raw
    failed: bool = False
    campaign: str | None = None
    extra_g: int = 0
    budget_seq: int | None = None

    @property
    def drawn_g(self) -> int:
        """What its campaign's budget paid."""
        return self.extra_g if self.budget_seq is not None else 0


def uses_of(awards: Iterable[Award | KeptAward]) -> list[tuple[CounterKey, Used]]:
    """What these awards use of limits, and add to the sums of their day."""
    uses: list[tuple[CounterKey, Used]] = []
    for award in awards:
        if isinstance(award, KeptAward):
            uses += stored_uses(msgspec.json.decode(award.counters))
            continue
        for key, n, grams in award.counters:
            uses.append((key, Used(n, grams)))
        uses += award.sums
    return uses


def stored_uses(entries: Iterable[Iterable[Any]]) -> Iterator[tuple[CounterKey, Used]]:
    """The same of what awards keep as `counters`: [counter, period, by_key, ...] each."""
    for counter, period, by_key, *used in entries:
        yield CounterKey(counter, period, by_key), Used(*used)


def award_entry(award: Award) -> dict[str, Any]:
    """One award as `actions.awards` keeps it: enough to explain, to audit and to give back."""
    entry: dict[str, Any] = {
        "rule": award.rule,
        "saved_g": award.saved_g,
        "energy_g": award.energy_g,
        "limited_by": award.limited_by,
        "counters": [[*key, n, grams] for key, n, grams in award.counters]
        + [[*key, *used] for key, used in award.sums],
    }
    if any(award.carried_ng):
        entry["carried_ng"] = [*award.carried_ng]
    if not award.is_counted:
        entry["counted"] = False
    if award.failed:
        entry["failed"] = True
    if award.campaign is not None:
        entry["campaign"], entry["extra_g"] = award.campaign, award.extra_g
        entry["budget_seq"] = award.budget_seq
    return entry


def award_of(entry: Mapping[str, Any]) -> Award:
    """The award that was kept; what its campaign's budget paid is known, not in which order."""
    # Of a limit a key, a count and grams are kept; of a day's sum it is more.
    counters, told = entry["counters"], entry.get
    extra_g, budget_seq = told("extra_g", 0), told("budget_seq")
    return Award(
        entry["rule"],
        entry["saved_g"],
        entry["energy_g"],
        entry["limited_by"],
        tuple([(CounterKey(*c[:3]), *c[3:]) for c in counters if not c[5:]]),
        told("failed", False),
        sums=tuple(stored_uses([c for c in counters if c[5:]])),
        carried_ng=tuple(told("carried_ng", (0, 0, 0))),
        is_counted=told("counted", True),
        campaign=told("campaign"),
        extra_g=extra_g,
        drawn_g=extra_g if budget_seq is not None else 0,
        budget_seq=budget_seq,
    )


@dataclass(slots=True)
class Standing:
    """One person's counters and trips."""

    usage: dict[CounterKey, Used] = field(default_factory=dict)
    _trips: dict[int, list[Trip]] = field(default_factory=dict)

    def use(self, uses: Uses) -> None:
        """Add what awards use."""
        usage = self.usage
        for key, more in uses:
            held = usage.get(key)
            usage[key] = more if held is None else Used._make(map(add, held, more))

    def give_back(self, uses: Uses) -> None:
        """Take off what awards used, where it is remembered at all."""
        for key, less in uses:
            if key in self.usage:
                self.usage[key] = Used(*map(sub, self.usage[key], less))

    def met(self, judged: Judged, but: Container[UUID | None] = ()) -> Trip | None:
        """Another trip that fills some of the same minutes, if this action fills them alone.

        None of the actions `but`, which it takes the place of.
        """
        if not judged.exclusive or judged.ends_at is None:
            return None
        day = Trip(judged.candidate.occurred_at, judged.ends_at).day
        near = [trip for at in (day - 1, day, day + 1) for trip in self._trips.get(at, ())]
        met = [trip for trip in near if judged.meets(trip.starts_at, trip.ends_at)]
        return next((trip for trip in met if trip.action_id not in but), None)

    def travel(self, judged: Judged, action_id: UUID | None = None) -> None:
        """Fill the minutes of an action that fills them alone."""
        if judged.exclusive and judged.ends_at is not None:
            self.fill(Trip(judged.candidate.occurred_at, judged.ends_at, action_id))

    def fill(self, trip: Trip) -> None:
        """Fill these minutes."""
        self._trips.setdefault(trip.day, []).append(trip)

    def forget(self, starts_at: dt.datetime, action_id: UUID) -> None:
        """Free the minutes of an action that started then."""
        trips = self._trips.get(Trip(starts_at, starts_at).day, [])
        trips[:] = [trip for trip in trips if trip.action_id != action_id]
