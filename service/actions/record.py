"""THE main job: a batch of reported actions becomes awards, bubbles and transfers, in one go.

One transaction of one lane, a constant number of statements whatever the batch: lock the books;
read what decides; bind claims and lock campaigns' budgets, if any are wanted; write everything.
Judging and evaluating are pure and happen between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from operator import sub
from uuid import UUID

import structlog

from service.actions.budgets import Budgets, EndedCampaigns, lock_budgets
from service.actions.claims import Claims, bind_claims
from service.actions.events import BoundEvents, EventIdReusedError, bind_events
from service.actions.facts import facts_digest
from service.actions.hidden import claim_keys, hide_values
from service.actions.refusals import OverlapError, refusal_error
from service.actions.report import Report
from service.actions.reverse import Undoing, reversal_row, take_back
from service.actions.store import (
    Action,
    Deciding,
    actions_write,
    counters_write,
    read_actions,
    read_deciding,
    reversal_id,
    savings_writes,
)
from service.actions.streak import mark_active, streak_days
from service.energy.bubbles import Bubble, new_bubbles_write
from service.http.keys import KeyReusedError
from service.ledger.accounts import Account
from service.ledger.books import (
    Book,
    BookMissingError,
    book_writes,
    lock_books,
    lock_free_books,
    post,
)
from service.platform.database import Connection, Database, Write, write_all
from service.platform.errors import SaxaulError
from service.platform.metrics import RULES_FAILED
from service.platform.outbox import lane_of
from service.rules.decide.evaluate import Award, Decision, appraise, settle
from service.rules.decide.judge import Judged, Refusal, judge
from service.rules.decide.rulebook import CounterKey, Rulebook, Used
from service.rules.decide.standing import Uses, award_entry, stored_uses, uses_of

_log = structlog.get_logger()


@dataclass(slots=True)
class Recorded:
    """What stands in the ledger for a report."""

    action: Action
    replayed: bool
    reversal: Action | None = None


Outcome = Recorded | SaxaulError


@dataclass(slots=True)
class _Accepted:
    """A report that will be recorded: what its rules give before campaigns, limits and budgets."""

    report: Report
    verdict: Judged
    claim: bytes | None
    region: str
    streak_days: int
    awards: Sequence[Award]


@dataclass(slots=True)
class _Batch:
    """What one transaction gathers before its single write."""

    rulebook: Rulebook
    secret: bytes
    now: datetime
    books: dict[UUID, Book]
    deciding: Deciding
    events: BoundEvents
    accepted: dict[tuple[UUID, UUID], _Accepted] = field(default_factory=dict)
    claims: Claims = field(default_factory=Claims)
    budgets: Budgets = field(default_factory=Budgets)
    actions: dict[tuple[UUID, UUID], Action] = field(default_factory=dict)
    bubbles: list[Bubble] = field(default_factory=list)
    used: dict[tuple[UUID, CounterKey], Used] = field(default_factory=dict)
    ripening: dict[datetime, tuple[datetime, datetime]] = field(default_factory=dict)


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
        if not ready:
            return _missing(reports) if wait else {}
        events = await bind_events(connection, ready, now)
        deciding = await _read(connection, ready, judged)
        batch = _Batch(rulebook, secret, now, books, deciding, events)
        known = await _known(connection, ready, batch)
        batch.claims = await _bind(connection, batch, ready, judged, known)
        outcomes = await _accept(connection, batch, ready, judged, known)
        local_date, lane_of_ = rulebook.program.local_date, partial(lane_of, lanes=lanes)
        undoing = Undoing("", "partner", now, local_date, lane_of_)
        await batch.claims.take_over(connection, books, undoing)
        awards = (award for accepted in batch.accepted.values() for award in accepted.awards)
        batch.budgets = await lock_budgets(
            connection, rulebook, awards, EndedCampaigns() if ended is None else ended
        )
        outcomes |= _settle(batch, ready, outcomes)
        await batch.claims.settle(connection, batch.actions, now)
        await write_all(connection, _writes(batch, lane))
    if wait:
        outcomes.update(_missing([r for r in reports if r.participant_id not in books]))
    return outcomes


def _judge(rulebook: Rulebook, report: Report, now: datetime, secret: bytes) -> Judged | Refusal:
    """Judge a report; no attribute's value may stand in the counters that its awards name."""
    verdict = judge(rulebook, report.candidate, report.received_at or now)
    if isinstance(verdict, Judged):
        hide_values(verdict, report.participant_id, secret)
    return verdict


def _missing(reports: Sequence[Report]) -> dict[Report, Outcome]:
    return {report: BookMissingError(report.participant_id) for report in reports}


async def _read(
    connection: Connection, ready: Sequence[Report], judged: dict[Report, Judged | Refusal]
) -> Deciding:
    counters: dict[tuple[UUID, CounterKey], None] = {}
    trips: list[tuple[UUID, datetime, datetime]] = []
    for report in ready:
        verdict = judged[report]
        if isinstance(verdict, Judged):
            for key in verdict.counters:
                counters[report.participant_id, key] = None
            if verdict.exclusive and verdict.ends_at:
                starts_at = report.candidate.occurred_at
                trips.append((report.participant_id, starts_at, verdict.ends_at))
    return await read_deciding(
        connection,
        people=[*{report.participant_id: None for report in ready}],
        keyed=[(r.participant_id, r.id) for r in ready if r.keyed or r.written],
        counters=[*counters],
        trips=trips,
    )


async def _known(
    connection: Connection, ready: Sequence[Report], batch: _Batch
) -> dict[tuple[UUID, UUID], Action]:
    """The rows of twins that came in earlier transactions, with their reversals."""
    twins = {(r.participant_id, r.id) for r in ready} & batch.deciding.twins
    reversals = {(owner, reversal_id(action_id)) for owner, action_id in twins}
    wanted = twins | reversals | batch.events.actions(ready)
    return await read_actions(connection, wanted) if wanted else {}


async def _accept(
    connection: Connection,
    batch: _Batch,
    ready: Sequence[Report],
    judged: dict[Report, Judged | Refusal],
    known: dict[tuple[UUID, UUID], Action],
) -> dict[Report, Outcome]:
    """Tell of each report, in order of arrival: a known twin, a refusal, or that it is accepted.

    What is refused leaves nothing behind: no key, no minutes of a trip, no claim. What must wait
    for another's claim is neither.
    """
    outcomes: dict[Report, Outcome] = {}
    claims, standings = batch.claims, batch.deciding.standings
    for report in ready:
        row_key = report.row
        if (of_event := _of_event(batch, report, known)) is not None:
            outcomes[report] = of_event
            continue
        if row_key in known:
            outcomes[report] = _twin(report, known[row_key], known)
            continue
        if row_key in batch.accepted:
            continue
        verdict = judged[report]
        refused = _refusal(batch, report, verdict) or claims.refusal(report)
        if refused is not None:
            outcomes[report] = batch.events.refused(report, refused)
        elif isinstance(verdict, Judged) and not claims.must_wait(report, batch.books):
            batch.events.take(report)
            claim = next(iter(claims.keys.get(report, ())), None)
            accepted = _appraised(batch, report, verdict, claim)
            if batch.events.reversal_reason(report) is None:
                standings[report.participant_id].travel(verdict)
                if any(award.promises for award in accepted.awards):
                    claims.take(report, standings)
            batch.accepted[row_key] = accepted
    await batch.events.settle(connection)
    return outcomes


def _of_event(
    batch: _Batch, report: Report, known: dict[tuple[UUID, UUID], Action]
) -> Outcome | None:
    """What is known of a partner's event before it is judged; None when it must be."""
    found = batch.events.outcome(report, known)
    if not isinstance(found, tuple):
        return found
    action, reversal = found
    return Recorded(action, action.recorded_at != report.written, reversal)


def _appraised(batch: _Batch, report: Report, verdict: Judged, claim: bytes | None) -> _Accepted:
    """Evaluate an acceptable action as far as it rests on nothing but its person and its rules."""
    book = batch.books[report.participant_id]
    region = batch.deciding.regions.get(book.participant_id, "")
    days = streak_days(book, verdict.local_date)
    mark_active(book, verdict.local_date)
    awards = appraise(batch.rulebook, verdict, region=region, streak_days=days)
    return _Accepted(report, verdict, claim, region, days, awards)


def _settle(
    batch: _Batch, ready: Sequence[Report], outcomes: Mapping[Report, Outcome]
) -> dict[Report, Outcome]:
    """Book what was accepted, in order of arrival; a copy of it in the batch gets its answer."""
    settled: dict[Report, Outcome] = {}
    for report in ready:
        accepted = batch.accepted.get(report.row)
        if report in outcomes or accepted is None:
            continue
        if accepted.report is report:
            action = _award(batch, accepted)
            reversal = batch.actions.get((action.participant_id, reversal_id(action.id)))
            settled[report] = Recorded(action, replayed=False, reversal=reversal)
        else:
            settled[report] = _twin(report, batch.actions[report.row], {})
    return settled


def _twin(report: Report, action: Action, known: dict[tuple[UUID, UUID], Action]) -> Outcome:
    if action.fingerprint != report.fingerprint:
        return EventIdReusedError(report.key) if report.event else KeyReusedError(report.key)
    reversal = known.get((report.participant_id, reversal_id(action.id)))
    # The row that this very report wrote, whose COMMIT got no answer, is no copy of another.
    return Recorded(action, action.recorded_at != report.written, reversal)


def _refusal(batch: _Batch, report: Report, verdict: Judged | Refusal) -> SaxaulError | None:
    book = batch.books[report.participant_id]
    if isinstance(verdict, Refusal) and report.event is not None and report.received_at is None:
        # Only valid events wait for a suspended person's return, as for a link.
        return refusal_error(verdict)
    try:
        book.require_open()
    except SaxaulError as error:
        return error
    if isinstance(verdict, Refusal):
        return refusal_error(verdict)
    beaten = [rival.id for rival in batch.claims.rivals_of(report)]
    trip = batch.deciding.standings[report.participant_id].met(verdict, beaten)
    return OverlapError(trip.starts_at, trip.ends_at) if trip else None


async def _bind(
    connection: Connection,
    batch: _Batch,
    ready: Sequence[Report],
    judged: dict[Report, Judged | Refusal],
    known: dict[tuple[UUID, UUID], Action],
) -> Claims:
    """Bind what the batch wants to be paid once, before it is known who of the batch gets it."""
    wanted = {}
    for report in ready:
        verdict = judged[report]
        if not isinstance(verdict, Judged) or not verdict.claims or report.row in known:
            continue
        if _of_event(batch, report, known) is None:
            wanted[report] = claim_keys(batch.secret, verdict, report.participant_id)
    return await bind_claims(connection, wanted, batch.now)


def _award(batch: _Batch, accepted: _Accepted) -> Action:
    """Settle what one accepted action earns, and post it."""
    report, verdict = accepted.report, accepted.verdict
    book = batch.books[report.participant_id]
    usage, budgets = batch.deciding.standings[book.participant_id].usage, batch.budgets
    decision = settle(batch.rulebook, verdict, accepted.awards, usage=usage, budgets=budgets.left)
    for award in decision.awards:
        budgets.draw(award)
    action = _row(batch, report, verdict, decision, book)
    action.region, action.streak_days = accepted.region, accepted.streak_days
    action.claim_key = accepted.claim if decision.gives else None
    action.facts_digest = facts_digest(
        book.salt or b"", report.canonical, batch.rulebook.sha256, action
    )
    _tell_failures(decision, report, batch.rulebook.version)
    _use(batch, book.participant_id, list(uses_of(decision.awards)))
    if decision.energy_g:
        post(
            book,
            Account.ISSUANCE,
            Account.RIPENING,
            decision.energy_g,
            cause="action",
            cause_id=action.id,
            at=action.recorded_at,
            facts_digest=action.facts_digest,
        )
    book.saved_g += decision.saved_g
    batch.actions[action.participant_id, action.id] = action
    if (reason := batch.events.reversal_reason(report)) is not None:
        _undo(batch, action, reason)
    elif decision.energy_g:
        batch.bubbles.append(bubble_from(action))
    report.written = action.recorded_at
    return action


def _use(batch: _Batch, owner: UUID, uses: Uses, *, is_back: bool = False) -> None:
    """Remember what is used, or given back, and that it is to be written."""
    standing = batch.deciding.standings[owner]
    (standing.give_back if is_back else standing.use)(uses)
    for key, _ in uses:
        before = batch.deciding.before.get((owner, key), Used())
        batch.used[owner, key] = Used(*map(sub, standing.usage[key], before))


def _undo(batch: _Batch, action: Action, reason: str) -> None:
    """Take back at once what a partner reversed before it came: no bubble is left of it."""
    owner = action.participant_id
    book = batch.books[owner]
    row = reversal_row(
        book, action, reason, source=action.source, reporter=action.reporter, now=batch.now
    )
    take_back(book, row, remaining_g=action.energy_g, expired_g=0)
    for award in action.awards:
        _use(batch, owner, list(stored_uses(award["counters"])), is_back=True)
    batch.actions[owner, row.id] = row


def _row(batch: _Batch, report: Report, verdict: Judged, decision: Decision, book: Book) -> Action:
    at = book.tick(batch.now)
    book.action_seq += 1
    ripens_at, expires_at = _times(batch, at)
    return Action(
        report.participant_id,
        report.id,
        book.action_seq,
        "action",
        report.candidate.type,
        report.candidate.occurred_at,
        verdict.ends_at,
        verdict.exclusive,
        at,
        ripens_at if decision.energy_g else None,
        expires_at if decision.energy_g else None,
        decision.saved_g,
        decision.energy_g,
        batch.rulebook.version,
        0,
        report.candidate.verified,
        report.source,
        report.candidate.reporter,
        "",
        None,
        report.fingerprint,
        b"",
        None,
        report.candidate.attributes,
        [award_entry(award) for award in decision.awards],
    )


def _tell_failures(decision: Decision, report: Report, version: int) -> None:
    """Count and log rules that failed on an action: they never pay, and operators must know."""
    for award in decision.awards:
        if award.failed:
            RULES_FAILED.labels(award.rule, version).inc()
            _log.warning(
                "rule_failed",
                rule=award.rule,
                rulebook_version=version,
                action_id=str(report.id),
                participant_id=str(report.participant_id),
            )


def _times(batch: _Batch, at: datetime) -> tuple[datetime, datetime]:
    """When energy booked at this time ripens and expires; mostly one a batch."""
    known = batch.ripening.get(at)
    if known is None:
        program = batch.rulebook.program
        ripens_at = program.ripens_at(at)
        known = (ripens_at, program.expires_at(ripens_at))
        batch.ripening[at] = known
    return known


def bubble_from(action: Action) -> Bubble:
    """The bubble of an action that earned energy, as yet untouched."""
    assert action.ripens_at is not None
    assert action.expires_at is not None
    return Bubble(
        action.participant_id,
        action.id,
        action.energy_g,
        action.energy_g,
        0,
        0,
        0,
        0,
        action.ripens_at,
        action.expires_at,
        "action",
        action.id,
    )


def _writes(batch: _Batch, lane: int) -> list[Write]:
    """All that this batch changes, as the parts of one statement."""
    if not batch.actions:
        return []
    changed = {owner: batch.books[owner] for owner, _ in batch.actions}
    writes = [actions_write([*batch.actions.values()]), *book_writes([*changed.values()])]
    if batch.bubbles:
        writes.append(new_bubbles_write(batch.bubbles))
    if batch.used:
        writes.append(counters_write(batch.used))
    if batch.budgets.changed:
        writes.append(batch.budgets.write())
    local_date = batch.rulebook.program.local_date
    return writes + savings_writes(
        batch.actions.values(), at=batch.now, local_date=local_date, lane_of=lambda _: lane
    )
