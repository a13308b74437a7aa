"""THE main job: a batch of reported actions becomes awards, bubbles and transfers, in one go.

One transaction of one lane, a constant number of statements whatever the batch: lock the books;
read what decides; bind claims and lock campaigns' budgets, if any are wanted; write everything.
Judging and evaluating are pure and happen between them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from msgspec import Struct

from service.actions.award import Accepted, Batch, award_action, batch_writes
from service.actions.budgets import EndedCampaigns, lock_budgets
from service.actions.claims import bind_claims
from service.actions.events import EventIdReusedError, bind_events
from service.actions.hidden import claim_keys, hide_values
from service.actions.refusals import OverlapError, refusal_error
from service.actions.report import Report
from service.actions.reverse import Undoing
from service.actions.store import Action, Deciding, read_actions, read_deciding, reversal_key
from service.actions.streak import mark_active, streak_days
from service.http.idempotency import KeyReusedError
from service.ledger.books import BookMissingError, lock_books, lock_free_books
from service.platform.database import Connection, Database, write_all
from service.platform.errors import SaxaulError
from service.platform.outbox import lane_of
from service.rules.decide.evaluate import appraise
from service.rules.decide.judge import Judged, Refusal, judge
from service.rules.decide.rulebook import CounterKey, Rulebook


class Recorded(Struct):
    """What stands in the ledger for a report."""

    action: Action
    replayed: bool
    reversal: Action | None = None


Outcome = Recorded | SaxaulError
Verdicts = Mapping[Report, Judged | Refusal]


async def record_actions(
    database: Database,
    reports: Sequence[Report],
    *,
    rulebook: Rulebook,
    now: datetime,
    secret: bytes,
    lane: int,
    lanes: int = 1,
    wait: bool = False,
    ended: EndedCampaigns | None = None,
) -> dict[Report, Outcome]:
    """Record these reports of one lane; each gets its own outcome, a bad one harms no other.

    `ended` is what this process knows of campaigns that are used up; they are not asked again.
    Reports whose book somebody else holds are left out of the answer, unless `wait` is set, and so
    is what rests on how the claim of another one ends. Raises whatever the database raises: then
    nothing, or all (after a lost answer to COMMIT), is stored.
    """
    judged = {report: _judge(rulebook, report, now, secret) for report in reports}
    people = {owner for report in reports for owner in (report.participant_id, *report.rivals)}
    async with database.lane_transaction() as connection:
        lock = lock_books if wait else lock_free_books
        books = await lock(connection, people)
        ready = [report for report in reports if report.participant_id in books]
        outcomes: dict[Report, Outcome] = {}
        if wait:
            gone = [report for report in reports if report.participant_id not in books]
            outcomes = {report: BookMissingError(report.participant_id) for report in gone}
        if not ready:
            return outcomes
        events = await bind_events(connection, ready, now)
        deciding = await _read(connection, ready, judged)
        batch = Batch(rulebook, now, books, deciding, events)
        batch.known = await _known(connection, ready, batch)
        batch.claims = await bind_claims(connection, _wanted(batch, ready, judged, secret), now)
        outcomes |= await _accept(connection, batch, ready, judged)
        local_date, lane_of_ = rulebook.program.local_date, partial(lane_of, lanes=lanes)
        undoing = Undoing("", "partner", now, local_date, lane_of_)
        await batch.claims.take_over(connection, books, undoing)
        awards = (award for accepted in batch.accepted.values() for award in accepted.awards)
        batch.budgets = await lock_budgets(
            connection, rulebook, awards, EndedCampaigns() if ended is None else ended
        )
        outcomes |= _settle(batch, [report for report in ready if report not in outcomes])
        await batch.claims.settle(connection, batch.actions, now)
        await write_all(connection, batch_writes(batch, lane))
    return outcomes


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
    connection: Connection, ready: Sequence[Report], batch: Batch
) -> dict[tuple[UUID, UUID], Action]:
    """The rows of twins that came in earlier transactions, with their reversals."""
    found = {report.row for report in ready} & batch.deciding.twins
    found |= batch.events.actions(ready)
    return await read_actions(connection, found | {*map(reversal_key, found)}) if found else {}


def _wanted(
    batch: Batch, ready: Sequence[Report], judged: Verdicts, secret: bytes
) -> dict[Report, Sequence[bytes]]:
    """What the batch wants to be paid once: bound before it is known who of the batch gets it."""
    wanted: dict[Report, Sequence[bytes]] = {}
    for report in ready:
        verdict = judged[report]
        if not isinstance(verdict, Judged) or not verdict.claims or report.row in batch.known:
            continue
        if _of_event(batch, report) is None:
            wanted[report] = claim_keys(secret, verdict, report.participant_id)
    return wanted


async def _accept(
    connection: Connection, batch: Batch, ready: Sequence[Report], judged: Verdicts
) -> dict[Report, Outcome]:
    """Tell of each report, in order of arrival: a known twin, a refusal, or that it is accepted.

    What is refused leaves nothing behind: no key, no minutes of a trip, no claim. What must wait
    for another's claim is neither.
    """
    outcomes: dict[Report, Outcome] = {}
    claims, standings = batch.claims, batch.deciding.standings
    for report in ready:
        if (of_event := _of_event(batch, report)) is not None:
            outcomes[report] = of_event
            continue
        if report.row in batch.known:
            reversal = batch.known.get(reversal_key(report.row))
            outcomes[report] = _twin(report, batch.known[report.row], reversal)
            continue
        if report.row in batch.accepted:
            continue
        verdict = judged[report]
        refused = _refusal(batch, report, verdict) or claims.refusal(report)
        if refused is not None:
            outcomes[report] = batch.events.refused(report, refused)
        elif isinstance(verdict, Judged) and not claims.must_wait(report, batch.books):
            batch.events.take(report)
            accepted = _appraised(batch, report, verdict)
            if batch.events.reversal_reason(report) is None:
                standings[report.participant_id].travel(verdict)
                if report in claims.keys and any(a.promises for a in accepted.awards):
                    claims.take(report, standings)
            batch.accepted[report.row] = accepted
    await batch.events.settle(connection)
    return outcomes


def _of_event(batch: Batch, report: Report) -> Outcome | None:
    """What is known of a partner's event before it is judged; None when it must be."""
    found = batch.events.outcome(report)
    if not isinstance(found, tuple):
        return found
    action = batch.known[found]
    is_replayed = action.recorded_at != report.written
    return Recorded(action, is_replayed, batch.known.get(reversal_key(found)))


def _appraised(batch: Batch, report: Report, verdict: Judged) -> Accepted:
    """Evaluate an acceptable action as far as it rests on nothing but its person and its rules."""
    book, region = (
        batch.books[report.participant_id],
        batch.deciding.regions.get(report.participant_id, ""),
    )
    days = streak_days(book, verdict.local_date)
    mark_active(book, verdict.local_date)
    awards = appraise(batch.rulebook, verdict, region=region, streak_days=days)
    return Accepted(report, verdict, days, awards)


def _settle(batch: Batch, waiting: Sequence[Report]) -> dict[Report, Outcome]:
    """Book what was accepted, in order of arrival; a copy of it in the batch gets its answer."""
    settled: dict[Report, Outcome] = {}
    for report in waiting:
        accepted = batch.accepted.get(report.row)
        if accepted is None:
            continue
        if accepted.report is report:
            action = award_action(batch, accepted)
            taken_back = batch.events.reversal_reason(report) is not None
            reversal = batch.actions[reversal_key(report.row)] if taken_back else None
            settled[report] = Recorded(action, replayed=False, reversal=reversal)
        else:
            settled[report] = _twin(report, batch.actions[report.row], None)
    return settled


def _twin(report: Report, action: Action, reversal: Action | None) -> Outcome:
    if action.fingerprint != report.fingerprint:
        return EventIdReusedError(report.key) if report.event else KeyReusedError(report.key)
    # The row that this very report wrote, whose COMMIT got no answer, is no copy of another.
    return Recorded(action, action.recorded_at != report.written, reversal)


def _refusal(batch: Batch, report: Report, verdict: Judged | Refusal) -> SaxaulError | None:
    if isinstance(verdict, Refusal) and report.event is not None and report.received_at is None:
        # Only valid events wait for a suspended person's return, as for a link.
        return refusal_error(verdict)
    try:
        batch.books[report.participant_id].require_open()
    except SaxaulError as error:
        return error
    if isinstance(verdict, Refusal):
        return refusal_error(verdict)
    beaten = [rival.id for rival in batch.claims.rivals_of(report)]
    trip = batch.deciding.standings[report.participant_id].met(verdict, beaten)
    return OverlapError(trip.starts_at, trip.ends_at) if trip else None
