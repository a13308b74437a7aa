"""Counts one part of the people: what each action gave, and would have given."""

from collections.abc import Sequence
from datetime import date

from service.rules.decide.evaluate import Award
from service.rules.decide.rulebook import Program
from service.simulate.decide import Given, PastAward, Person, Row
from service.simulate.tally import (
    Amounts,
    ChangedActionAnswer,
    Drawn,
    PersonSides,
    Tally,
    largest,
)

_CHANGES_KEPT_MAX = 1_000


class Count:
    """Takes one person after the other; `finish` gives the sums."""

    def __init__(self, program: Program) -> None:
        """Days are the programme's."""
        self._program = program
        self._tally = Tally()
        self._days: dict[date, Amounts] = {}
        self._changes: list[PersonSides] = []
        self._person: Person | None = None
        self._before_g = self._after_g = 0
        self._top: ChangedActionAnswer | None = None
        self._top_weight = 0

    def begin(self, person: Person) -> None:
        """The next person."""
        self.end()
        self._person = person

    def action(self, row: Row, past: Sequence[PastAward], given: Given) -> None:
        """An action: as it was, and under the draft."""
        tally = self._tally
        tally.actions += 1
        version = row.rulebook_version
        tally.versions[version] = tally.versions.get(version, 0) + 1
        if row.attributes is None:
            tally.erased += 1
            tally.erased_g += row.energy_g
        if given.reason is not None:
            refused = tally.refused.setdefault(given.reason, Amounts())
            refused.before_n += 1
            refused.before_g += row.energy_g
        if row.energy_g != given.energy_g:
            self._differs(row, given)
        self._sums(row, past, given, 1)

    def reversal(self, row: Row, past: Sequence[PastAward], given: Given) -> None:
        """A reversal: takes back what the action gave, as it was and under the draft."""
        self._tally.reversals += 1
        self._sums(row, past, given, -1)

    def end(self) -> None:
        """The person is done."""
        if self._person is None:
            return
        tally, before_g, after_g = self._tally, self._before_g, self._after_g
        tally.people += 1
        tally.gaining += after_g > before_g
        tally.losing += after_g < before_g
        if after_g != before_g:
            self._changes.append(PersonSides(self._person.id, before_g, after_g, self._top))
            if len(self._changes) > _CHANGES_KEPT_MAX:
                self._changes = largest(self._changes)
        self._person, self._before_g, self._after_g = None, 0, 0
        self._top, self._top_weight = None, 0

    def finish(self) -> Tally:
        """The sums of all people."""
        self.end()
        self._tally.changes = largest(self._changes)
        self._tally.days = {day.isoformat(): amounts for day, amounts in self._days.items()}
        return self._tally

    def _differs(self, row: Row, given: Given) -> None:
        self._tally.differing += 1
        weight = abs(given.energy_g - row.energy_g)
        if weight > self._top_weight:
            self._top_weight = weight
            self._top = ChangedActionAnswer(
                row.id, row.type, row.occurred_at, row.energy_g, given.energy_g
            )

    def _sums(self, row: Row, past: Sequence[PastAward], given: Given, sign: int) -> None:
        """Add it to the person, the total, its day, its rules, limits and campaigns."""
        after_g, after_saved_g = sign * given.energy_g, sign * given.saved_g
        self._before_g += row.energy_g
        self._after_g += after_g
        day = self._program.local_date(row.recorded_at)
        on_day = self._days.get(day)
        if on_day is None:
            on_day = self._days[day] = Amounts()
        for amounts in (self._tally.total, on_day):
            amounts.before_n += 1
            amounts.before_g += row.energy_g
            amounts.before_saved_g += row.saved_g
            amounts.after_g += after_g
            amounts.after_saved_g += after_saved_g
        for award in past:
            amounts = self._rule(award)
            amounts.before_n += sign
            amounts.before_g += sign * award.energy_g
            amounts.before_saved_g += sign * award.saved_g
            self._tally.failed.before_n += award.failed and sign > 0
            if award.limited_by is not None and sign > 0:
                self._limit(award).before_n += 1
            if award.campaign is not None and sign > 0:
                drawn = self._tally.campaigns.setdefault(award.campaign, Drawn())
                drawn.before_g += award.extra_g
                drawn.drew_g += award.drawn_g
        for made in given.awards:
            amounts = self._rule(made)
            amounts.after_n += sign
            amounts.after_g += sign * made.energy_g
            amounts.after_saved_g += sign * made.saved_g
            self._tally.failed.after_n += made.failed and sign > 0
            if made.limited_by is not None and sign > 0:
                self._limit(made).after_n += 1
            if made.campaign is not None and sign > 0:
                drawn = self._tally.campaigns.setdefault(made.campaign, Drawn())
                drawn.after_g += made.extra_g

    def _rule(self, award: Award | PastAward) -> Amounts:
        amounts = self._tally.rules.get(award.rule)
        if amounts is None:
            amounts = self._tally.rules[award.rule] = Amounts()
        return amounts

    def _limit(self, award: Award | PastAward) -> Amounts:
        return self._tally.limits.setdefault(f"{award.rule}\t{award.limited_by}", Amounts())
