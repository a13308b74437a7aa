"""What a simulation counts: sums that add up, so that each part of it counts for itself."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from service.simulate.decide import Awards

CHANGES_MAX = 10


class ChangedActionAnswer(Struct, frozen=True):
    """An action that comes out otherwise."""

    id: UUID
    type: str
    occurred_at: Annotated[datetime, Meta(tz=True)]
    energy_before_g: int
    energy_after_g: int


class PersonSides(Struct, frozen=True):
    """A person whom the draft changes much, with the action that it changes most."""

    participant_id: UUID
    energy_before_g: int
    energy_after_g: int
    most_changed_action: ChangedActionAnswer | None

    def weight(self) -> tuple[int, int]:
        """The largest change first, whichever way; then by person, for a fixed order."""
        return abs(self.energy_after_g - self.energy_before_g), -self.participant_id.int


class Sums(Struct):
    """How many, and what they gave; reversals taken off."""

    n: int = 0
    g: int = 0
    saved_g: int = 0

    def add(self, n: int, g: int, saved_g: int) -> None:
        """So many more."""
        self.n += n
        self.g += g
        self.saved_g += saved_g


class Side(Struct):
    """One side: as it was, or under the draft. A campaign's extra grams, and those of its budget.

    Limits, failures and campaigns are counted when they happen, whatever is reversed.
    """

    failed: int = 0
    total: Sums = msgspec.field(default_factory=Sums)
    days: defaultdict[date, Sums] = msgspec.field(default_factory=lambda: defaultdict(Sums))
    rules: defaultdict[str, Sums] = msgspec.field(default_factory=lambda: defaultdict(Sums))
    limits: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    extra_g: Counter[str] = msgspec.field(default_factory=Counter)
    drawn_g: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, day: date, g: int, saved_g: int, awards: Awards, sign: int) -> None:
        """An action, or with the sign -1 what its reversal takes back."""
        for sums in (self.total, self.days[day]):
            sums.add(sign, sign * g, sign * saved_g)
        for award in awards:
            self.rules[award.rule].add(sign, sign * award.energy_g, sign * award.saved_g)
            if sign < 0:
                continue
            self.failed += award.failed
            if award.limited_by is not None:
                self.limits[award.rule, award.limited_by] += 1
            if award.campaign is not None:
                self.extra_g[award.campaign] += award.extra_g
                self.drawn_g[award.campaign] += award.drawn_g


class Tally(Struct):
    """Everything a simulation reports, of any part of the people."""

    actions: int = 0
    reversals: int = 0
    erased: int = 0
    erased_g: int = 0
    differing: int = 0
    people: int = 0
    gaining: int = 0
    losing: int = 0
    before: Side = msgspec.field(default_factory=Side)
    after: Side = msgspec.field(default_factory=Side)
    # What had been given for what the draft refuses, by the reason.
    refused: defaultdict[str, Sums] = msgspec.field(default_factory=lambda: defaultdict(Sums))
    versions: Counter[int] = msgspec.field(default_factory=Counter)
    changes: list[PersonSides] = msgspec.field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take up what another part counted."""
        _add(self, other)
        self.changes = largest(self.changes)


def _add(mine: Any, theirs: Any) -> Any:
    """Numbers and lists are added up, and by name those in structs and tables."""
    if isinstance(mine, Struct):
        for name in mine.__struct_fields__:
            setattr(mine, name, _add(getattr(mine, name), getattr(theirs, name)))
    elif isinstance(mine, dict):
        for name, value in theirs.items():
            mine[name] = _add(mine[name], value)
    else:
        mine += theirs
    return mine


def largest(changes: Iterable[PersonSides]) -> list[PersonSides]:
    """The largest changes, the first one first."""
    return heapq.nlargest(CHANGES_MAX, changes, key=PersonSides.weight)
