"""Counts one part of the people: what each action gave, and would have given."""

from collections.abc import Sequence

from service.rules.decide.rulebook import Program
from service.rules.decide.standing import KeptAward
from service.simulate.decide import Given, Person, Row
from service.simulate.tally import ChangedActionAnswer, PersonSides, Tally, largest

_CHANGES_KEPT_MAX = 1_000


class Count:
    """Takes one person after the other; `finish` gives the sums."""

    def __init__(self, program: Program) -> None:
        """Days are the programme's."""
        self._program = program
        self._tally = Tally()
        self._changes: list[PersonSides] = []
        self._person: Person | None = None
        self._before_g = self._after_g = 0
        self._top: ChangedActionAnswer | None = None
        self._top_weight = 0

    def begin(self, person: Person) -> None:
        """The next person."""
        self.end()
        self._person = person

    def add(self, row: Row, past: Sequence[KeptAward], given: Given) -> None:
        """An action: as it was, and under the draft; or what its reversal takes back of both."""
        if row.kind == "reversal":
            sign = -1
            self._tally.reversals += 1
        else:
            sign = 1
            self._action(row, given)
        self._before_g += row.energy_g
        self._after_g += sign * given.energy_g
        day = self._program.local_date(row.recorded_at)
        # The row of a reversal has the sign in its grams already.
        was = sign * row.energy_g, sign * row.saved_g
        self._tally.before.add(day, *was, past, sign)
        self._tally.after.add(day, given.energy_g, given.saved_g, given.awards, sign)

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
        return self._tally

    def _action(self, row: Row, given: Given) -> None:
        tally = self._tally
        tally.actions += 1
        tally.versions[row.rulebook_version] += 1
        if row.attributes is None:
            tally.erased += 1
            tally.erased_g += row.energy_g
        if given.reason is not None:
            tally.refused[given.reason].add(1, row.energy_g, row.saved_g)
        weight = abs(given.energy_g - row.energy_g)
        tally.differing += weight > 0
        if weight > self._top_weight:
            self._top_weight = weight
            self._top = ChangedActionAnswer(
                row.id, row.type, row.occurred_at, row.energy_g, given.energy_g
            )
