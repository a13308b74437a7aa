"""Parked events are settled as soon as they can be: on a link, on new rules, every minute, by hand.

Whether one came too late is decided by when it came, not by when it is released. Events come
before reversals, so that a reversal which is parked beside its event finds it; events that are
taken back come before the others, which get the limits and claims.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from service.actions.event_rows import named_by_reversals, purge_parked, tell_reasons, waits_for
from service.ledger.refusals import ActionFaultError
from service.participants.links import Subject, purge_codes
from service.partners.events import Content, Event, SourceNotAllowedError, TypeNotGrantedError
from service.partners.keys import Partner
from service.partners.parked import PARKED, Outcome, Reason
from service.partners.receive import Intake, award_events, take_back
from service.platform.beside import pause
from service.platform.errors import SaxaulError

PAGE = 200
_LOOKED_AT = 10_000
_SWEEP_S = 60.0
_LOOK_S = 1.0
_FIRST = b""

_log = structlog.get_logger(__name__)


async def release_new_link(intake: Intake, subject: Subject) -> None:
    """Settle what waited for a link that was just made, then reversals of it."""
    try:
        if await _release_all(intake, _OF_SUBJECT, *subject):
            await _release_all(intake, _DUE_REVERSALS)
    except Exception as error:  # noqa: BLE001 - the link stands, and the sweep releases the rest
        _log.warning("release_put_off", partner_id=subject[0], error=repr(error))


async def release_reversals(intake: Intake, outcomes: Mapping[Event, Outcome]) -> int:
    """Settle reversals that came before these events; the events are taken back already."""
    keys = [event.key for event, outcome in outcomes.items() if outcome.is_undone]
    return await _release_all(intake, _OF_TARGETS, keys) if keys else 0


async def release_due(intake: Intake) -> int:
    """Settle whatever can be settled by now: events first, then reversals."""
    known, pool = list(intake.rulebooks.active.action_types), intake.database.pool
    released, last = 0, ("", _FIRST)
    while looked_at := await pool.fetch(_SUBJECTS, *last, _LOOKED_AT):
        last = looked_at[-1]["partner_id"], looked_at[-1]["subject_key"]
        linked = [row[:2] for row in looked_at if row["is_linked"]]
        if linked:
            released += await _release_all(intake, _DUE_EVENTS, known, *zip(*linked, strict=True))
    return released + await _release_all(intake, _DUE_REVERSALS)


async def release_one(intake: Intake, key: bytes) -> Outcome | None:
    """Try a parked event now; None when there is none."""
    rows = await intake.database.pool.fetch(_ONE, key)
    if not rows:
        return None
    if rows[0]["disabled"]:
        return Outcome("parked", waits_for="partner-disabled")
    outcomes = await _release(intake, rows)
    outcome = next(iter(outcomes.values()), PARKED)
    if outcome.status != "parked":
        return outcome
    return Outcome("parked", waits_for=await waits_for(intake.database.pool, key))


async def keep_releasing(intake: Intake, stop: asyncio.Event) -> None:
    """Release what is due every minute, and at once under new rules; forget what is too old."""
    loop = asyncio.get_running_loop()
    version, due_s = 0, 0.0
    while not stop.is_set():
        active = intake.rulebooks.active.version
        if active != version or loop.time() >= due_s:
            version, due_s = active, loop.time() + _SWEEP_S
            async with intake.database.transaction() as connection:
                await purge_parked(connection, intake.clock.now())
                await purge_codes(connection, intake.clock.real_now())
            released = await release_due(intake)
            if released:
                _log.info("parked_events_released", events=released)
        await pause(stop, _LOOK_S)


async def _release_all(intake: Intake, statement: str, *values: Any) -> int:
    """Settle page after page of what the statement finds, in the order of keys."""
    released, after = 0, _FIRST
    while True:
        rows = await intake.database.pool.fetch(statement, after, PAGE, *values)
        outcomes = await _release(intake, rows)
        released += sum(outcome.status == "accepted" for outcome in outcomes.values())
        if len(rows) < PAGE:
            return released
        after = rows[-1]["event_key"]


async def _release(intake: Intake, rows: Sequence[Any]) -> dict[Event, Outcome]:
    """Settle these rows; what still cannot be decided stays parked, and says what it waits for."""
    events: list[Event] = []
    now_waiting: dict[bytes, str] = {}
    for row in rows:
        event = _event(intake, row)
        if isinstance(event, Event):
            events.append(event)
        elif event is not None:
            now_waiting[row["event_key"]] = event
    outcomes = await _award(intake, [e for e in events if e.target_key is None])
    now_waiting |= {e.key: o.waits_for for e, o in outcomes.items() if o.waits_for}
    taken = await take_back(intake, [e for e in events if e.target_key is not None])
    now_waiting |= {e.key: "event-not-known" for e, o in taken.items() if o.status == "parked"}
    outcomes |= taken
    await _tell(intake, rows, now_waiting)
    for event, outcome in outcomes.items():
        if outcome.error is not None:
            _log.warning(
                "parked_event_refused",
                partner_id=event.ref.partner_id,
                event_id=event.ref.event_id,
                code=outcome.error.code,
            )
            if isinstance(outcome.error, ActionFaultError):
                outcomes[event] = PARKED
    return outcomes


async def _award(intake: Intake, events: Sequence[Event]) -> dict[Event, Outcome]:
    """Award these; first those that parked reversals name, with these reversals."""
    named = await named_by_reversals(intake.database.pool, [event.key for event in events])
    if not named:
        return await award_events(intake, events)
    awarded = await award_events(intake, [event for event in events if event.key in named])
    await _release_all(intake, _OF_TARGETS, list(named))
    return awarded | await award_events(intake, [e for e in events if e.key not in named])


async def _tell(intake: Intake, rows: Sequence[Any], now_waiting: Mapping[bytes, str]) -> None:
    """Write down what these rows wait for now, where that is something else than before."""
    told = {row["event_key"]: row["reason"] for row in rows}
    changed = {key: reason for key, reason in now_waiting.items() if reason != told[key]}
    if changed:
        async with intake.database.transaction() as connection:
            await tell_reasons(connection, changed)


def _event(intake: Intake, row: Any) -> Event | Reason | None:
    """The event of a parked row, or why the partner may no longer send it: it stays parked."""
    try:
        content = msgspec.convert(row["body"], Content)
        event = intake.identifier.event(Partner.of(row), content, is_parked=True)
    except TypeNotGrantedError:
        return "event-type-not-granted"
    except SourceNotAllowedError:
        return "source-not-allowed"
    except SaxaulError:
        return None
    # What came back from the database may be written otherwise; it is the same content.
    event.fingerprint, event.received_at = row["fingerprint"], row["received_at"]
    return event


_ROW = """
SELECT e.event_key, e.partner_id, e.body, e.fingerprint, e.received_at, e.reason, p.source_prefix,
    p.action_types, p.disabled
FROM partner_events e JOIN partners p ON p.id = e.partner_id
WHERE e.state = 'parked'"""

_ONE = _ROW + " AND e.event_key = $1"

_PAGE = " AND NOT p.disabled AND e.event_key > $1 {condition} ORDER BY e.event_key LIMIT $2"

_OF_SUBJECT = _ROW + _PAGE.format(
    condition="AND e.partner_id = $3 AND e.subject_key = $4 AND e.target_key IS NULL"
)

_OF_TARGETS = _ROW + _PAGE.format(condition="AND e.target_key = ANY($3::bytea[])")

# However many events wait for people whom nobody links, so few are looked at in one statement; the
# rest of a person's come with the first.
_SUBJECTS = """
SELECT e.partner_id, e.subject_key, EXISTS (SELECT FROM links l
    WHERE l.partner_id = e.partner_id AND l.subject_key = e.subject_key
        AND l.ended_at IS NULL) AS is_linked
FROM (SELECT DISTINCT partner_id, subject_key FROM (
    SELECT partner_id, subject_key FROM partner_events
    WHERE state = 'parked' AND (partner_id, subject_key) > ($1, $2::bytea)
    ORDER BY partner_id, subject_key LIMIT $3) AS looked_at) AS e
ORDER BY e.partner_id, e.subject_key"""

_DUE_EVENTS = _ROW + _PAGE.format(
    condition="""AND (e.partner_id, e.subject_key) IN (
        SELECT * FROM unnest($4::text[], $5::bytea[]))
    AND e.target_key IS NULL AND e.body ->> 'type' = ANY($3::text[])
    AND (e.body ->> 'type' = ANY(p.action_types) OR e.reason <> 'event-type-not-granted')
    AND EXISTS (SELECT FROM links l
        WHERE l.partner_id = e.partner_id AND l.subject_key = e.subject_key
            AND l.ended_at IS NULL
            AND (l.since IS NULL OR (e.body ->> 'time')::timestamptz >= l.since))"""
)

_DUE_REVERSALS = _ROW + _PAGE.format(
    condition="""AND e.target_key IS NOT NULL AND EXISTS (SELECT FROM partner_events t
        WHERE t.event_key = e.target_key AND t.state IN ('bound', 'reversed'))"""
)
