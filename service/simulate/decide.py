"""What a person's recorded actions would have given under other rules, one by one as they came.

Judges and evaluates by the very functions of the main job, on what the ledger says was known then:
who reported, how verified, which region, how long a streak, in which order. Pure but for notes:
what needs an order over all people is noted in runs, and comes back as cuts and refusals in the
next pass.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from service.actions.hidden import claim_keys, hide_values
from service.actions.report import partner_of
from service.rules.decide.evaluate import Award, Decision, Usage, appraise, budgets_wanted, settle
from service.rules.decide.judge import Candidate, Judged, Refusal, judge
from service.rules.decide.rulebook import Rulebook
from service.rules.decide.standing import KeptAward, Standing, uses_of
from service.simulate.claims import CLAIMS, Refused, Want, claim_record
from service.simulate.draws import DENIED, DREW, NEW, Cut, draw_key, draw_record
from service.simulate.runs import RunLog

OVERLAP, ALREADY_CLAIMED, TOO_LATE = "overlap", "already-claimed", "too-late"

_ENOUGH_G = 10**18
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)

Awards = Sequence[Award | KeptAward]
decode_awards = msgspec.json.Decoder(list[KeptAward]).decode


class Row(msgspec.Struct):
    """A row of `actions`, as far as it is needed; attributes and awards are JSON."""

    participant_id: UUID
    id: UUID
    seq: int
    kind: str
    type: str
    occurred_at: datetime
    ends_at: datetime | None
    exclusive: bool
    recorded_at: datetime
    saved_g: int
    energy_g: int
    rulebook_version: int
    streak_days: int
    verified: bool
    source: str
    reporter: str
    region: str
    reverses: UUID | None
    claim_key: bytes | None
    attributes: str | None
    awards: str

    @property
    def recorded_us(self) -> int:
        """When it was recorded, in whole microseconds."""
        return (self.recorded_at - _EPOCH) // _MICROSECOND


class Given(msgspec.Struct):
    """What an action gives under the draft; with a reason it is refused and gives nothing."""

    energy_g: int = 0
    saved_g: int = 0
    awards: Awards = ()
    reason: str | None = None
    claims: Sequence[bytes] = ()
    claim_seq: int = 0


class Start(msgspec.Struct):
    """How a person stood when the period began, by the actions before it."""

    standing: Standing = msgspec.field(default_factory=Standing)
    # What was recorded before the period and is reversed in it.
    given: dict[UUID, tuple[Sequence[KeptAward], Given]] = msgspec.field(default_factory=dict)
    # What is recorded and reversed in it.
    reversed_within: set[UUID] = msgspec.field(default_factory=set)


class VersionMissingError(Exception):
    """The version that decided on the action is not loaded yet; nothing was counted."""


class Draft(msgspec.Struct):
    """The rules of a pass. Without a rulebook each action is decided by its own version."""

    rulebook: Rulebook | None
    versions: dict[int, Rulebook]
    secret: bytes
    cuts: Mapping[str, Cut]
    refused: Refused
    # Types whose claim under the draft is another one than then.
    contested: frozenset[str]
    # What was noted as wanted of each budget, in this pass.
    wanted_g: dict[str, int] = msgspec.field(default_factory=dict)

    def version(self, number: int) -> Rulebook:
        """A published version. Raises VersionMissingError."""
        try:
            return self.versions[number]
        except KeyError:
            raise VersionMissingError from None


class Person:
    """One person on the way through the period."""

    def __init__(self, participant_id: UUID, start: Start, draft: Draft, log: RunLog) -> None:
        """Stand where the person stood at the start."""
        self.id = participant_id
        self.standing = start.standing
        self.given = start.given
        self._reversed_within = start.reversed_within
        self._draft = draft
        self._log = log

    def live(self, row: Row) -> tuple[Sequence[KeptAward], Given]:
        """What the person's next action gave, and gives; of a reversal, what it takes back.

        Raises VersionMissingError.
        """
        if row.reverses is not None:
            return self._reverse(row, row.reverses)
        past = decode_awards(row.awards)
        given = self._carried(row, past) if row.attributes is None else self._decided(row, past)
        if row.id in self._reversed_within:
            self.given[row.id] = past, given
        return past, given

    def _reverse(self, row: Row, reversed_id: UUID) -> tuple[Sequence[KeptAward], Given]:
        past, given = self.given.pop(reversed_id)
        self.standing.give_back(uses_of(given.awards))
        self.standing.forget(row.occurred_at, reversed_id)
        for claim in given.claims:
            freed = claim_record(claim, row.recorded_us, self.id, given.claim_seq)
            self._log.add(CLAIMS, 0, freed)
        return past, given

    def _carried(self, row: Row, past: Sequence[KeptAward]) -> Given:
        """Keep what was erased as it was: all of a person is, so only budgets go on from it.

        It is given whatever the draft says, so it comes off a budget before all else.
        """
        for award in past:
            if award.campaign is not None and award.budget_seq is not None:
                key = draw_key(0, 0, self.id, row.seq)
                self._note(award.campaign, DREW, key, award.extra_g)
        return Given(row.energy_g, row.saved_g, past)

    def _decided(self, row: Row, past: Sequence[KeptAward]) -> Given:
        draft = self._draft
        rulebook = draft.rulebook or draft.version(row.rulebook_version)
        verdict = self._judged(rulebook, row)
        if isinstance(verdict, Refusal):
            return Given(reason=verdict.reason or verdict.code)
        if self.standing.met(verdict):
            return Given(reason=OVERLAP)
        awards = appraise(rulebook, verdict, region=row.region, streak_days=row.streak_days)
        places: dict[str, tuple[int, bytes]] = {}
        if rulebook.campaigns and (names := budgets_wanted(awards)):
            places = {name: self._place(row, past, verdict, name) for name in names}
        budgets = self._budgets(places)
        usage: Usage = self.standing.usage
        if alone := draft.rulebook is None and _was_rounded_alone(past):
            usage = {key: usage[key][:2] for key in verdict.counters if key in usage}
        decision = settle(rulebook, verdict, awards, usage=usage, budgets=budgets)
        for award in decision.awards if alone else ():
            award.sums = ()
        given = Given(decision.energy_g, decision.saved_g, decision.awards)
        if verdict.claims and row.type in draft.contested:
            given.claims, given.claim_seq = self._want(row, verdict, decision), row.seq
            if (self.id, row.seq) in draft.refused:
                return Given(reason=ALREADY_CLAIMED)
        if places:
            self._note_draws(rulebook, row, verdict, decision.awards, places)
        self.standing.use(uses_of(decision.awards))
        self.standing.travel(verdict, row.id)
        return given

    def _judged(self, rulebook: Rulebook, row: Row) -> Judged | Refusal:
        """Judge at the time of recording.

        Was it accepted later than its own version allows, it had come in time and waited for us.
        """
        assert row.attributes is not None
        attributes = msgspec.json.decode(row.attributes)
        candidate = Candidate(
            row.type,
            attributes,
            row.occurred_at,
            row.reporter,
            row.verified,
            partner_of(row.source),
        )
        verdict = judge(rulebook, candidate, row.recorded_at)
        if isinstance(verdict, Refusal) and verdict.reason == TOO_LATE:
            then = self._draft.version(row.rulebook_version).action_types[row.type]
            now = min(row.recorded_at, row.occurred_at + then.accepted_for)
            verdict = judge(rulebook, candidate, now)
        if isinstance(verdict, Judged):
            hide_values(verdict, self.id, self._draft.secret)
        return verdict

    def _want(self, row: Row, verdict: Judged, decision: Decision) -> Sequence[bytes]:
        keys = claim_keys(self._draft.secret, verdict, self.id)
        for place, key in enumerate(keys):
            want = Want.VERIFIED if row.verified else Want(0)
            want |= Want.HELD_THEN if key == row.claim_key else Want(0)
            want |= Want.BESIDE if place else Want(0)
            want |= Want(0) if decision.gives else Want.NOTHING
            self._log.add(CLAIMS, 0, claim_record(key, row.recorded_us, self.id, row.seq, want))
        return keys

    def _budgets(self, places: Mapping[str, tuple[int, bytes]]) -> dict[str, int]:
        """What an action at these places finds left of each budget."""
        cuts = self._draft.cuts
        budgets = {}
        for name, place in places.items():
            left_g = cuts[name].left(*place) if name in cuts else None
            budgets[name] = _ENOUGH_G if left_g is None else left_g
        return budgets

    def _note_draws(
        self,
        rulebook: Rulebook,
        row: Row,
        verdict: Judged,
        awards: Sequence[Award],
        places: Mapping[str, tuple[int, bytes]],
    ) -> None:
        """Note what an action draws; where a budget ends, what it would have drawn with more."""
        cuts = self._draft.cuts
        budgets = self._budgets(places)
        for name, (stream, key) in places.items():
            wanted = awards
            if name in cuts and cuts[name].is_at(stream, key):
                wanted = appraise(rulebook, verdict, region=row.region, streak_days=row.streak_days)
                more = {**budgets, name: _ENOUGH_G}
                settle(rulebook, verdict, wanted, usage=self.standing.usage, budgets=more)
            # Also who draws nothing is noted, for the place in the order.
            grams = sum(award.drawn_g for award in wanted if award.campaign == name)
            self._note(name, stream, key, grams)

    def _note(self, campaign: str, stream: int, key: bytes, grams: int) -> None:
        self._log.add(campaign, stream, draw_record(key, grams))
        wanted_g = self._draft.wanted_g
        wanted_g[campaign] = wanted_g.get(campaign, 0) + grams

    def _place(
        self, row: Row, past: Sequence[KeptAward], verdict: Judged, name: str
    ) -> tuple[int, bytes]:
        """Where this action stands among those that draw from a campaign."""
        drew = [
            award.budget_seq
            for award in past
            if award.campaign == name and award.budget_seq is not None
        ]
        if drew:
            return DREW, draw_key(min(drew), row.recorded_us, self.id, row.seq)
        then = self._draft.version(row.rulebook_version)
        campaign = then.campaigns.get(name)
        was_offered = campaign is not None and campaign.holds(verdict.local_date, row.region)
        stream = DENIED if was_offered and _covers(then, row.type, name) else NEW
        return stream, draw_key(row.recorded_us, row.recorded_us, self.id, row.seq)


def _was_rounded_alone(past: Sequence[KeptAward]) -> bool:
    """Whether an action came before there were sums of days."""
    return any(award.energy_g or award.saved_g for award in past) and all(
        used.n for _, used in uses_of(past)
    )


def _covers(rulebook: Rulebook, type_: str, name: str) -> bool:
    """Whether this campaign may multiply awards of this type."""
    known = rulebook.action_types.get(type_)
    return known is not None and any(
        campaign.id == name for offers in known.campaigns.values() for campaign in offers
    )
