"""THE main job: the reported actions of a batch become awards, bubbles and transfers, in one go.

A constant number of statements whatever the batch: read what decides; bind events and claims and
lock campaigns' budgets, if any are wanted. Judging and evaluating are pure.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, structs

from service.actions.award import Accepted, Gathered, award_action, awards_writes
from service.actions.budgets import lock_budgets
from service.actions.claims import bind_claims
from service.actions.events import EventIdReusedError, bind_events
from service.actions.hidden import claim_keys, hide_values
from service.actions.refusals import OverlapError, refusal_error
from service.actions.report import Report
from service.actions.reverse import tell_savings
from service.actions.store import Action, Deciding, read_actions, read_deciding, reversal_key
from service.actions.streak import mark_active, streak_days
from service.http.idempotency import KeyReusedError
from service.ledger.orders import Batch, Work
from service.platform.database import Connection, Write
from service.platform.errors import SaxaulError
from service.rules.decide.evaluate import Award, appraise, settle
from service.rules.decide.judge import Judged, Refusal, judge
from service.rules.decide.rulebook import CounterKey, Rulebook
from service.rules.decide.standing import Standing, stored_uses


class Recorded(Struct):
    """What stands in the ledger for a report."""

    action: Action
    replayed: bool
    reversal: Action | None = None
    awards: Sequence[Award] = ()
    """Those of its row, where they were just decided."""


Outcome = Recorded | SaxaulError
Verdicts = Mapping[Report, Judged | Refusal]


class Recording(Work):
    """Decides on the reports of one batch; what is refused leaves nothing behind."""

    rank = 0

    def __init__(self, batch: Batch, orders: Sequence[Report]) -> None:
        """Judge them, which needs no lock."""
        self.batch = batch
        rulebook, now, secret = batch.rulebook, batch.now, batch.secret
        self._judged = {report: _judge(rulebook, report, now, secret) for report in orders}
        self._outcomes: dict[Report, Outcome] = {}

    async def read(self, connection: Connection, orders: Sequence[Report]) -> None:
        """Bind events and claims, read what decides, appraise, lock budgets."""
        batch, judged = self.batch, self._judged
        batch.locking = [report for report in orders if report.event]
        events = await bind_events(connection, orders, batch.now)
        deciding = await _read(connection, orders, judged)
        gathered = Gathered(batch.rulebook, batch.now, batch.books, deciding, events)
        self._gathered = gathered
        gathered.known = await _known(connection, orders, gathered)
        wanted = _wanted(gathered, orders, judged, batch.secret)
        batch.locking = [*wanted]
        gathered.claims = await bind_claims(connection, wanted, batch.now)
        self._outcomes = await _accept(connection, gathered, orders, judged)
        await gathered.claims.take_over(connection, batch)
        awards = (award for accepted in gathered.accepted.values() for award in accepted.awards)
        batch.locking = orders
        gathered.budgets = await lock_budgets(connection, batch.rulebook, awards, batch.ended)

    def decide(self, order: Report) -> Outcome | None:
        """Book what was accepted; a copy of it in the batch gets its answer."""
        gathered, row = self._gathered, order.row
        if (known := self._outcomes.get(order)) is not None:
            return known
        accepted = gathered.accepted.get(row)
        if accepted is None:
            return None
        if accepted.report is not order:
            return _twin(order, gathered.actions[row], None)
        action = award_action(gathered, accepted)
        reversal = gathered.actions.get(reversal_key(row)) if gathered.events.reasons else None
        self.batch.change(order.participant_id)
        return Recorded(action, replayed=False, reversal=reversal, awards=accepted.awards)

    async def finish(self, connection: Connection) -> list[Write]:
        """Settle the claims, tell the boards what was saved, and write the awards."""
        gathered = self._gathered
        await gathered.claims.settle(connection, gathered.actions, self.batch.now)
        for action in gathered.actions.values():
            tell_savings(self.batch, action)
        return awards_writes(gathered)


def _judge(rulebook: Rulebook, report: Report, now: datetime, secret: bytes) -> Judged | Refusal:
    """Judge a report; no attribute's value may stand in the counters that its awards name."""
    verdict = judge(rulebook, report.candidate, report.received_at or now)
    if isinstance(verdict, Judged):
        hide_values(verdict, report.participant_id, secret)
    return verdict


async def _read(connection: Connection, ready: Sequence[Report], judged: Verdicts) -> Deciding:
    counters: dict[tuple[UUID, CounterKey], None] = {}
    trips: list[tuple[UUID, datetime, datetime]] = []
    for report in ready:
        verdict, owner = judged[report], report.participant_id
        if isinstance(verdict, Judged):
            for key in verdict.counters:
                counters[owner, key] = None
            if verdict.exclusive and verdict.ends_at:
                trips.append((owner, report.candidate.occurred_at, verdict.ends_at))
    return await read_deciding(
        connection,
        people=[*{report.participant_id: None for report in ready}],
        keyed=[report.row for report in ready if report.keyed or report.written],
        counters=[*counters],
        trips=trips,
    )


async def _known(
    connection: Connection, ready: Sequence[Report], gathered: Gathered
) -> dict[tuple[UUID, UUID], Action]:
    """The rows of twins that came in earlier transactions, with their reversals."""
    found = {report.row for report in ready} & gathered.deciding.twins
    found |= gathered.events.actions(ready)
    return await read_actions(connection, found | {*map(reversal_key, found)}) if found else {}


def _wanted(
    gathered: Gathered, ready: Sequence[Report], judged: Verdicts, secret: bytes
) -> dict[Report, Sequence[bytes]]:
    """What the batch wants to be paid once: bound before it is known who of the batch gets it."""
    wanted: dict[Report, Sequence[bytes]] = {}
    for report in ready:
        verdict = judged[report]
        if not isinstance(verdict, Judged) or not verdict.claims or report.row in gathered.known:
            continue
        if _of_event(gathered, report) is None:
            wanted[report] = claim_keys(secret, verdict, report.participant_id)
    return wanted


async def _accept(
    connection: Connection, gathered: Gathered, ready: Sequence[Report], judged: Verdicts
) -> dict[Report, Outcome]:
    """Tell of each report, in order of arrival: a known twin, a refusal, or that it is accepted.

    What is refused leaves nothing behind: no key, no minutes of a trip, no claim. What must wait
    for another's claim is neither.
    """
    outcomes: dict[Report, Outcome] = {}
    claims, standings = gathered.claims, gathered.deciding.standings
    for report in ready:
        row = report.row
        if report.event is not None and (of_event := _of_event(gathered, report)) is not None:
            outcomes[report] = of_event
            continue
        if row in gathered.known:
            reversal = gathered.known.get(reversal_key(row))
            outcomes[report] = _twin(report, gathered.known[row], reversal)
            continue
        if row in gathered.accepted:
            continue
        verdict = judged[report]
        refused = _refusal(gathered, report, verdict) or claims.refusal(report)
        if refused is not None:
            outcomes[report] = gathered.events.refused(report, refused)
        elif isinstance(verdict, Judged) and not _must_wait(gathered, report):
            gathered.events.take(report)
            accepted = _appraised(gathered, report, verdict)
            if gathered.events.reversal_reason(report) is None:
                if verdict.exclusive:
                    standings[report.participant_id].travel(verdict)
                if report in claims.keys and _is_paid(gathered, accepted):
                    claims.take(report, standings)
            gathered.accepted[row] = accepted
    await gathered.events.settle(connection)
    return outcomes


def _of_event(gathered: Gathered, report: Report) -> Outcome | None:
    """What is known of a partner's event before it is judged; None when it must be."""
    found = gathered.events.outcome(report)
    if not isinstance(found, tuple):
        return found
    action = gathered.known[found]
    is_replayed = action.recorded_at != report.written
    return Recorded(action, is_replayed, gathered.known.get(reversal_key(found)))


def _appraised(gathered: Gathered, report: Report, verdict: Judged) -> Accepted:
    """Evaluate an acceptable action as far as it rests on nothing but its person and its rules."""
    owner = report.participant_id
    book, region = gathered.books[owner], gathered.deciding.regions.get(owner, "")
    days = streak_days(book, verdict.local_date)
    mark_active(book, verdict.local_date)
    awards = appraise(gathered.rulebook, verdict, region=region, streak_days=days)
    return Accepted(report, verdict, days, awards)


def _must_wait(gathered: Gathered, report: Report) -> bool:
    """Whether it rests on another transaction, or on limits that its batch has not settled yet."""
    claims, owner = gathered.claims, report.participant_id
    return claims.must_wait(report, gathered.books) or (
        bool(claims.rivals_of(report))
        and any(each.report.participant_id == owner for each in gathered.accepted.values())
    )


def _is_paid(gathered: Gathered, accepted: Accepted) -> bool:
    """Whether its rules give it anything: after limits, where that takes something from a rival."""
    report, verdict = accepted.report, accepted.verdict
    rivals = gathered.claims.rivals_of(report)
    if not rivals:
        return any(award.promises for award in accepted.awards)
    standing = Standing({**gathered.deciding.standings[report.participant_id].usage})
    for rival in rivals:
        if rival.participant_id == report.participant_id:
            for award in rival.awards:
                standing.give_back(stored_uses(award["counters"]))
    awards = [structs.replace(award) for award in accepted.awards]
    return settle(gathered.rulebook, verdict, awards, usage=standing.usage).gives


def _twin(report: Report, action: Action, reversal: Action | None) -> Outcome:
    if action.fingerprint != report.fingerprint:
        return EventIdReusedError(report.key) if report.event else KeyReusedError(report.key)
    # The row that this very report wrote, whose COMMIT got no answer, is no copy of another.
    return Recorded(action, action.recorded_at != report.written, reversal)


def _refusal(gathered: Gathered, report: Report, verdict: Judged | Refusal) -> SaxaulError | None:
    if isinstance(verdict, Refusal) and report.event is not None and report.received_at is None:
        # Only valid events wait for a suspended person's return, as for a link.
        return refusal_error(verdict)
    try:
        gathered.books[report.participant_id].require_open()
    except SaxaulError as error:
        return error
    if isinstance(verdict, Refusal):
        return refusal_error(verdict)
    if not verdict.exclusive:
        return None
    beaten = [rival.id for rival in gathered.claims.rivals_of(report)]
    trip = gathered.deciding.standings[report.participant_id].met(verdict, beaten)
    return OverlapError(trip.starts_at, trip.ends_at) if trip else None
