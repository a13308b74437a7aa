"""The world of a scenario: what the steps so far have left behind for those that come after."""

import datetime as dt
from collections import defaultdict
from itertools import count, takewhile
from uuid import UUID

from msgspec import Struct, field

from service.rules.compile.texts import instant_of
from service.rules.decide.evaluate import Decision, appraise, settle, untouched_budgets
from service.rules.decide.judge import Candidate, Claimed, Judged, Refusal, judge
from service.rules.decide.rulebook import CounterKey, Rulebook, Used
from service.rules.decide.standing import Standing, uses_of
from service.rules.language.scenario_schema import Step
from service.rules.trial.coverage import Seen
from service.rules.trial.examples import unverified_reporter


class _Person(Struct):
    """What has to be remembered of somebody."""

    region: str = ""
    standing: Standing = field(default_factory=Standing)
    active_days: set[dt.date] = field(default_factory=set)


class _Holder(Struct, frozen=True):
    """Whose action holds a claim, and what it left behind."""

    participant: str
    is_verified: bool
    occurred_at: dt.datetime
    action_id: UUID
    uses: tuple[tuple[CounterKey, Used], ...]


class World:
    """What the steps so far have left behind."""

    def __init__(self, rulebook: Rulebook, seen: Seen) -> None:
        self._rulebook = rulebook
        self._seen = seen
        self._people: dict[str, _Person] = defaultdict(_Person)
        self._claims: dict[tuple[Claimed, str], _Holder] = {}
        self._actions = 0
        self._budgets = untouched_budgets(rulebook)

    def report(self, step: Step, at: dt.datetime, time: int = 1) -> Refusal | Decision:
        """Decide on a step, in the order in which a real action is refused or paid."""
        person = self._people[step.participant]
        if step.context.region is not None:
            person.region = step.context.region
        judged = judge(self._rulebook, candidate(step, at, time, self._rulebook), at)
        if isinstance(judged, Refusal):
            return judged
        who = step.participant
        if refusal := self._refusal(who, judged):
            return refusal
        days = streak_before(person.active_days, judged.local_date)
        awards = appraise(self._rulebook, judged, region=person.region, streak_days=days)
        if any(award.promises for award in awards):
            for holder in self._rivals(who, judged):
                self._take_back(holder)
        usage = person.standing.usage
        decision = settle(self._rulebook, judged, awards, usage=usage, budgets=self._budgets)
        self._remember(who, judged, decision)
        return decision

    def _keys(self, who: str, judged: Judged) -> list[tuple[Claimed, str]]:
        return [(claim, who if claim.is_own else "") for claim in judged.claims]

    def _rivals(self, who: str, judged: Judged) -> list[_Holder]:
        """What nobody verified and this partner's report takes the claims from."""
        if not judged.candidate.verified:
            return []
        held = [self._claims[key] for key in self._keys(who, judged) if key in self._claims]
        return [holder for holder in held if not holder.is_verified]

    def _take_back(self, holder: _Holder) -> None:
        self._claims = {key: held for key, held in self._claims.items() if held is not holder}
        standing = self._people[holder.participant].standing
        standing.give_back(holder.uses)
        standing.forget(holder.occurred_at, holder.action_id)

    def _refusal(self, who: str, judged: Judged) -> Refusal | None:
        rivals = self._rivals(who, judged)
        beaten = [rival.action_id for rival in rivals]
        if trip := self._people[who].standing.met(judged, beaten):
            times = f"{trip.starts_at:%m-%d %H:%M} to {trip.ends_at:%m-%d %H:%M}"
            return Refusal("action-refused", "overlap", f"It meets the trip of {times}.")
        held = [self._claims.get(key) for key in self._keys(who, judged)[:1]]
        if any(holder is not None and holder not in rivals for holder in held):
            return Refusal("action-refused", "already-claimed", "It was paid before.")
        return None

    def _remember(self, who: str, judged: Judged, decision: Decision) -> None:
        self._actions += 1
        person, uses = self._people[who], tuple(uses_of(decision.awards))
        action_id = UUID(int=self._actions)
        person.standing.travel(judged, action_id)
        person.standing.use(uses)
        if decision.gives:
            of = judged.candidate
            holder = _Holder(who, of.verified, of.occurred_at, action_id, uses)
            for claim in self._keys(who, judged):
                self._claims.setdefault(claim, holder)
        for award in decision.awards:
            if award.campaign is not None and award.drawn_g:
                self._budgets[award.campaign] -= award.drawn_g
        person.active_days.add(judged.local_date)
        awards = {award.rule: award for award in decision.awards}
        for rule in self._rulebook.action_types[judged.candidate.type].rules:
            if rule.is_on(judged.local_date):
                self._seen.note(rule, awards.get(rule.id))


def candidate(step: Step, at: dt.datetime, time: int, rulebook: Rulebook) -> Candidate:
    """The action that a step tells of, this time of its times."""
    context, zone = step.context, rulebook.program.timezone
    reporter = context.reporter or _reporter(step, rulebook)
    verified = reporter == "partner" if context.verified is None else context.verified
    return Candidate(
        type=step.action,
        attributes={
            name: value.replace("{n}", str(time)) if isinstance(value, str) else value
            for name, value in step.attributes.items()
        },
        occurred_at=at if context.occurred_at is None else instant_of(context.occurred_at, zone),
        reporter=reporter,
        verified=verified,
        partner_id=context.partner or ("partner" if reporter == "partner" else None),
    )


def _reporter(step: Step, rulebook: Rulebook) -> str:
    """Who reports a step that does not say: the partner where it is his, or nobody else may."""
    context, kind = step.context, rulebook.action_types.get(step.action)
    is_partners = bool(context.partner) if context.verified is None else context.verified
    allowed = kind.reported_by if kind else frozenset({"participant"})
    return "partner" if is_partners else unverified_reporter(allowed)


def streak_before(active: set[dt.date], day: dt.date) -> int:
    """How many active days in a row end the day before."""
    days = (day - dt.timedelta(days=back) for back in count(1))
    return sum(1 for _ in takewhile(active.__contains__, days))
