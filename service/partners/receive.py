"""What becomes of a partner's events: awarded through the writer, parked, taken back, or refused.

Each event is settled on its own, so a bad one never harms its neighbours. Whatever their order
in a request: reversals of events that stand come first, for what corrects an event wants the claim,
the minutes and the limits that it held; then events that the same request takes back, with their
reversals; all others come last.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from service.actions.event_rows import owners_of
from service.actions.events import LinkChangedError, StillParkedError
from service.actions.order import partner_report
from service.actions.record import Recorded
from service.actions.refusals import (
    AlreadyClaimedError,
    OverlapError,
    UnknownActionTypeError,
    refusal_error,
)
from service.actions.report import Report
from service.ledger.books import BookBusyError, BookMissingError, SuspendedError
from service.ledger.lanes import Lanes
from service.ledger.orders import Order
from service.ledger.refusals import ActionFaultError, NotRecordedError
from service.participants.links import read_links
from service.partners.events import Event, EventInvalidError, Identifier
from service.partners.parked import (
    PARKED,
    Outcome,
    park_events,
    standing_events,
    standing_targets,
    waits,
)
from service.partners.reversals import TakeBackOrder, TargetMovedError
from service.platform.clock import Clock
from service.platform.database import Database
from service.platform.errors import SaxaulError, UnavailableError
from service.rulebooks.publish import Rulebooks
from service.rules.decide.judge import Refusal, judge

# What is tried again was linked or bound since it was read, which takes people and partners:
# more often than this while one request waits, it is neither.
_TRIES_MAX = 8
_NOBODY = UUID(int=0)
_NOBODYS = ("not-linked", "before-link")
# What a reversal makes free again.
_FREED = (AlreadyClaimedError, OverlapError)
# What is no refusal, and is seen to here.
_SETTLED = (LinkChangedError, TargetMovedError, ActionFaultError)

Ended = Recorded | Outcome | SaxaulError


@dataclass(frozen=True, slots=True)
class Intake:
    """What events are settled with, in an API process and in a worker."""

    database: Database
    clock: Clock
    rulebooks: Rulebooks
    lanes: Lanes
    identifier: Identifier


async def receive_events(intake: Intake, events: Sequence[Event]) -> dict[Event, Outcome]:
    """Settle what a partner sent. Raises UnavailableError when a part may not be stored."""
    reversals = [event for event in events if event.target_key is not None]
    due = await standing_targets(intake.database, reversals) if reversals else []
    settled = await take_back(intake, due) if due else {}
    if reversals := [event for event in reversals if event not in settled]:
        named = {event.target_key for event in reversals}
        taken = [e for e in events if e.target_key is None and e.key in named]
        settled |= await _settle(intake, taken)
        settled |= await take_back(intake, reversals)
        settled |= await _freed(intake, settled, reversals)
    settled |= await _settle(intake, [event for event in events if event not in settled])
    for event, outcome in settled.items():
        if isinstance(outcome.error, ActionFaultError):
            if not outcome.error.is_of_data:
                # Only now: what came beside it is settled, however often the request comes again.
                raise _not_all()
            settled[event] = Outcome("rejected", error=EventInvalidError(outcome.error.detail))
    return settled


async def _settle(intake: Intake, events: Sequence[Event]) -> dict[Event, Outcome]:
    """Award these, which are no reversals; what cannot be decided yet is parked, or refused."""
    outcomes = await award_events(intake, events)
    waiting = {e: outcome.waits_for for e, outcome in outcomes.items() if outcome.waits_for}
    for event, error in (await _refused(intake, waiting)).items():
        outcomes[event] = Outcome("rejected", error=error)
        del waiting[event]
    if waiting:
        outcomes |= await park_events(intake.database, waiting, intake.clock.now())
    return outcomes


async def award_events(intake: Intake, events: Sequence[Event]) -> dict[Event, Outcome]:
    """Settle events that are no reversals; those that must wait are told why, and not yet parked.

    One that could not be recorded is rejected with ActionFaultError and stays as it was.
    """
    outcomes: dict[Event, Outcome] = {}
    open_ = list(events)
    for _ in range(_TRIES_MAX):
        if not open_:
            break
        links = await read_links(intake.database.pool, [event.ref.subject for event in open_])
        known = intake.rulebooks.active.action_types
        reports: dict[Event, Report] = {}
        for event in open_:
            owner, since = links[event.ref.subject]
            assert event.content.time is not None
            if owner is None:
                outcomes[event] = waits("not-linked")
            elif since is not None and event.content.time < since:
                outcomes[event] = waits("before-link")
            elif event.content.type not in known:
                outcomes[event] = waits("unknown-type")
            else:
                reports[event] = _report(event, owner)
        recorded = await _submit(intake.lanes, [*reports.values()])
        open_ = []
        for event, outcome in zip(reports, recorded, strict=True):
            if isinstance(outcome, LinkChangedError):
                open_.append(event)
            else:
                outcomes[event] = _outcome(outcome)
    if open_:
        raise LinkChangedError
    return outcomes


async def take_back(intake: Intake, reversals: Sequence[Event]) -> dict[Event, Outcome]:
    """Take back what these reversals name, or park them until their event comes."""
    outcomes: dict[Event, Outcome] = {}
    open_ = list(reversals)
    for _ in range(_TRIES_MAX):
        if not open_:
            break
        owners = await owners_of(intake.database.pool, [event.target_key for event in open_])
        orders = [_take_back_order(event, owners.get(event.target_key)) for event in open_]
        try:
            ended = await _submit(intake.lanes, orders)
        except (BookBusyError, NotRecordedError) as error:
            raise TargetMovedError from error.__cause__
        open_ = []
        for order, outcome in zip(orders, ended, strict=True):
            if isinstance(outcome, TargetMovedError):
                open_.append(order.event)
            else:
                outcomes[order.event] = _outcome(outcome)
    if open_:
        raise TargetMovedError
    return outcomes


def _take_back_order(event: Event, owner: UUID | None) -> TakeBackOrder:
    """Copies of a reversal go the same way, whoever's it is."""
    return TakeBackOrder(owner or UUID(bytes=event.key[:16]), event, is_nobodys=owner is None)


def _report(event: Event, owner: UUID) -> Report:
    content = event.content
    assert content.time is not None
    return partner_report(
        owner,
        event.ref,
        type_=content.type,
        occurred_at=content.time,
        attributes=content.data,
        fingerprint=event.fingerprint,
        received_at=event.received_at,
    )


async def _refused(intake: Intake, waiting: Mapping[Event, str]) -> dict[Event, SaxaulError]:
    """What the catalogue refuses whoever it was: only valid events wait for a link.

    An event that is known with this content stays what it is, whatever the rules say by now.
    """
    rulebook, now = intake.rulebooks.active, intake.clock.now()
    refused: dict[Event, SaxaulError] = {}
    for event, reason in waiting.items():
        if reason in _NOBODYS and event.content.type in rulebook.action_types:
            verdict = judge(rulebook, _report(event, _NOBODY).candidate, now)
            if isinstance(verdict, Refusal):
                refused[event] = refusal_error(verdict)
    if not refused:
        return {}
    standing = await standing_events(intake.database, list(refused))
    return {event: error for event, error in refused.items() if event not in standing}


async def _freed(
    intake: Intake, settled: Mapping[Event, Outcome], reversals: Sequence[Event]
) -> dict[Event, Outcome]:
    """What was refused for an event that these reversals took back out of the same request."""
    refused = [e for e, outcome in settled.items() if isinstance(outcome.error, _FREED)]
    if not refused or all(settled[event].action is None for event in reversals):
        return {}
    outcomes = await award_events(intake, refused)
    return {e: outcome for e, outcome in outcomes.items() if not outcome.waits_for}


async def _ended(futures: Sequence[asyncio.Future[Ended]]) -> list[Ended]:
    """What became of all. They end in one go, so one after another is as fast, and costs less."""
    ended: list[Ended] = []
    try:
        for future in futures:
            try:
                ended.append(await future)
            except SaxaulError as error:
                ended.append(error)
    finally:
        for future in futures[len(ended) :]:
            future.cancel()
    return ended


async def _submit(lanes: Lanes, orders: Sequence[Order]) -> list[Ended]:
    """Let the lanes settle all of these. Raises what is no refusal, when all have ended."""
    futures: list[asyncio.Future[Ended]] = []
    full: UnavailableError | None = None
    for order in orders:
        try:
            futures.append(lanes.submit(order))
        except UnavailableError as error:
            full = error
            break
    ended = await _ended(futures)
    if full is not None:
        raise full
    for outcome in ended:
        if not isinstance(outcome, SaxaulError) or isinstance(outcome, _SETTLED):
            continue
        if isinstance(outcome, UnavailableError):
            raise outcome
        if isinstance(outcome, BookMissingError) or outcome.status >= 500:
            # A fault of ours: the sender repeats all of them.
            raise _not_all()
    return ended


def _not_all() -> UnavailableError:
    return UnavailableError("Not every event could be recorded; send them again.")


def _outcome(outcome: Ended) -> Outcome:
    if isinstance(outcome, Outcome):
        return outcome
    if isinstance(outcome, Recorded):
        if outcome.replayed:
            return Outcome("duplicate", outcome.action)
        return Outcome("accepted", outcome.action, is_undone=outcome.reversal is not None)
    if isinstance(outcome, UnknownActionTypeError):
        return waits("unknown-type")
    if isinstance(outcome, SuspendedError):
        return waits("on-hold")
    if isinstance(outcome, StillParkedError):
        return PARKED
    return Outcome("rejected", error=outcome)
