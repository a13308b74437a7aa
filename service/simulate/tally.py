"""What a simulation counts: sums that add up, so that each part of it counts for itself."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

CHANGES_MAX = 10


class Amounts(Struct, array_like=True):
    """Numbers that are added one by one: as it was, and under the draft."""

    before_n: int = 0
    after_n: int = 0
    before_g: int = 0
    after_g: int = 0
    before_saved_g: int = 0
    after_saved_g: int = 0

    def add(self, other: Amounts) -> None:
        """Take up what another part counted."""
        self.before_n += other.before_n
        self.after_n += other.after_n
        self.before_g += other.before_g
        self.after_g += other.after_g
        self.before_saved_g += other.before_saved_g
        self.after_saved_g += other.after_saved_g


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


class Drawn(Struct, array_like=True):
    """A campaign's extra grams: as it was, of that out of its budget, and under the draft."""

    before_g: int = 0
    drew_g: int = 0
    after_g: int = 0

    def add(self, other: Drawn) -> None:
        """Take up what another part counted."""
        self.before_g += other.before_g
        self.drew_g += other.drew_g
        self.after_g += other.after_g


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
    failed: Amounts = msgspec.field(default_factory=Amounts)
    total: Amounts = msgspec.field(default_factory=Amounts)
    days: dict[str, Amounts] = msgspec.field(default_factory=dict)
    rules: dict[str, Amounts] = msgspec.field(default_factory=dict)
    limits: dict[str, Amounts] = msgspec.field(default_factory=dict)
    refused: dict[str, Amounts] = msgspec.field(default_factory=dict)
    campaigns: dict[str, Drawn] = msgspec.field(default_factory=dict)
    versions: dict[int, int] = msgspec.field(default_factory=dict)
    changes: list[PersonSides] = msgspec.field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take up what another part counted."""
        self.actions += other.actions
        self.reversals += other.reversals
        self.erased += other.erased
        self.erased_g += other.erased_g
        self.differing += other.differing
        self.people += other.people
        self.gaining += other.gaining
        self.losing += other.losing
        self.failed.add(other.failed)
        self.total.add(other.total)
        for mine, theirs in (
            (self.days, other.days),
            (self.rules, other.rules),
            (self.limits, other.limits),
            (self.refused, other.refused),
        ):
            for name, amounts in theirs.items():
                mine.setdefault(name, Amounts()).add(amounts)
        for campaign, drawn in other.campaigns.items():
            self.campaigns.setdefault(campaign, Drawn()).add(drawn)
        for version, actions in other.versions.items():
            self.versions[version] = self.versions.get(version, 0) + actions
        self.changes = largest([*self.changes, *other.changes])


def largest(changes: Iterable[PersonSides]) -> list[PersonSides]:
    """The largest changes, the first one first."""
    return heapq.nlargest(CHANGES_MAX, changes, key=PersonSides.weight)
