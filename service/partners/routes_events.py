"""Partners' events over HTTP: CloudEvents one by one or in a list, or plain Standard Webhooks."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, get_args

import msgspec
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from service.actions.refusals import InvalidAttributesError
from service.http.access import Request, post
from service.http.answer import JsonAnswer, read_by
from service.http.decode import Time, parse
from service.http.faults import (
    fault,
    halves_as_nul,
    has_names_twice,
    malformed,
    plain_json,
    refuse_deep,
)
from service.http.problems import ItemProblem, item_problem, reader_of
from service.http.shared import shared
from service.http.times import has_finer_times
from service.partners.events import REVERSAL, Content, Event, EventInvalidError
from service.partners.parked import Outcome, Status
from service.partners.receive import Intake, receive_events
from service.partners.release import release_reversals
from service.partners.routes_signed import Signed, signed
from service.platform.errors import FieldError, InvalidRequestError, SaxaulError
from service.rules.decide.languages import Reader
from service.rules.told import Told

SINGLE, BATCH, PLAIN = (
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/json",
)
EVENTS_MAX = 500
_YEARS = range(2000, 2200)

Text = Annotated[str, Meta(min_length=1, max_length=256)]
TypeName = Annotated[str, Meta(min_length=1, max_length=128)]
Value = str | bool | int | float
Data = Annotated[dict[Annotated[str, Meta(max_length=128)], Value], Meta(max_length=64)]


class CloudEvent(Struct, frozen=True):
    """A CloudEvents 1.0 event; attributes that are not named here are ignored.

    `type` is the action's, `subject` the partner's own reference of the person, `time` when it
    began, `data` its attributes.
    """

    specversion: Literal["1.0"]
    id: Text
    source: Text
    type: TypeName
    subject: Text | None = None
    time: Time | None = None
    data: Data = {}
    datacontenttype: Annotated[str, Meta(max_length=256)] | None = None
    data_base64: Any | UnsetType = UNSET


CloudEvents = Annotated[list[CloudEvent], Meta(min_length=1, max_length=EVENTS_MAX)]


class WebhookEvent(Struct, frozen=True):
    """A plain Standard Webhooks body: `data.subject` is the partner's reference of the person."""

    type: TypeName
    timestamp: Time
    data: Data


class EventResult(Struct, frozen=True, omit_defaults=True):
    """What became of one event; `id` is its own."""

    index: int
    id: str | None
    status: Status
    action_id: str | UnsetType = UNSET
    energy_g: int | UnsetType = UNSET
    saved_g: int | UnsetType = UNSET
    problem: ItemProblem | UnsetType = UNSET


class EventsAnswer(Struct, frozen=True):
    """What became of all, in the order of the request."""

    received: int
    accepted: int
    duplicate: int
    parked: int
    rejected: int
    results: list[EventResult]


class _Item(Struct):
    """One event of the request: what it says, or why it cannot be read."""

    at: str
    id: str | None
    content: Content | None = None
    error: SaxaulError | None = None
    event: Event | None = None


@post(
    "/v1/partners/{partner_id:str}/events",
    "partner",
    body=CloudEvent,
    answer=EventsAnswer,
    media={SINGLE: CloudEvent, BATCH: CloudEvents, PLAIN: WebhookEvent},
)
async def send_events(request: Request, partner_id: FromPath[str]) -> JsonAnswer:
    """Record verified events, each on its own; sending them again is always safe."""
    sent = await signed(request, partner_id)
    intake = shared(request, Intake)
    items = _read(sent)
    for item in items:
        if item.content is not None:
            try:
                item.event = intake.identifier.event(sent.partner, item.content)
            except SaxaulError as error:
                item.error = error
    outcomes = await receive_events(intake, [item.event for item in items if item.event])
    await release_reversals(intake, outcomes)
    reader = reader_of(request)
    return read_by(reader, _answer(items, outcomes, reader))


def _read(sent: Signed) -> list[_Item]:
    """The events of a body. Raises MalformedRequestError, InvalidRequestError."""
    try:
        sent.body.decode()
    except UnicodeDecodeError as error:
        raise malformed(error) from error
    if sent.media == BATCH:
        items = _read_batch(sent.body)
    elif sent.media == PLAIN:
        items = [_read_plain(sent)]
    else:
        items = [_read_one(sent.body, "#")]
    # By now it is JSON; attributes that are ignored were not looked into.
    refuse_deep(sent.body)
    return items


def _read_batch(body: bytes) -> list[_Item]:
    if b"\\u0000" not in body and not has_finer_times(body):
        try:
            events = enumerate(_counted(_decode(body)))
            items = [_Item(f"#/{index}", event.id, _content(event)) for index, event in events]
            if not has_names_twice(body):
                return items
        except (msgspec.DecodeError, RecursionError, EventInvalidError):
            pass  # Something is wrong: each is read on its own, to find out where.
    body = halves_as_nul(body)
    try:
        raws = _decode_raw(body)
    except msgspec.ValidationError as error:
        plain_json(body)
        raise fault("#", "must be a list of events") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from error
    return [_read_one(bytes(raw), f"#/{index}") for index, raw in enumerate(_counted(raws))]


def _counted(events: Sequence[Any]) -> Sequence[Any]:
    if not 0 < len(events) <= EVENTS_MAX:
        text = "must hold 1 to {most} events, not {count}"
        raise fault("#", text, most=EVENTS_MAX, count=len(events))
    return events


def _read_one(data: bytes, at: str) -> _Item:
    try:
        event = parse(data, CloudEvent, at)
        return _Item(at, event.id, _content(event))
    except EventInvalidError as error:
        return _refused(at, error, data)
    except InvalidRequestError as error:
        return _refused(at, _as_item(error, at), data)


def _read_plain(sent: Signed) -> _Item:
    item = _Item("#", sent.stamp.message_id)
    try:
        event = parse(sent.body, WebhookEvent)
    except InvalidRequestError as error:
        item.error = _as_item(error, "#")
        return item
    data = dict(event.data)
    subject = data.pop("subject", None)
    subject = subject if isinstance(subject, str) and 0 < len(subject) <= _SUBJECT_MAX else None
    if subject is None and event.type != REVERSAL:
        detail = Told("must be a text of 1 to {most} characters", most=_SUBJECT_MAX)
        item.error = _invalid("#/data/subject", detail)
    else:
        said = (sent.partner.source_prefix, event.type, subject, event.timestamp, data)
        item.content = Content(sent.stamp.message_id, *said)
    return item


_SUBJECT_MAX = 256


def _content(event: CloudEvent) -> Content:
    """What a well-formed event says. Raises EventInvalidError."""
    if event.data_base64 is not UNSET:
        raise _invalid("#/data_base64", "is not accepted; send data as JSON")
    if event.time is not None and event.time.year not in _YEARS:
        raise _invalid("#/time", "must be a time between 2000 and 2199")
    media = event.datacontenttype
    if media is not None and not media.partition(";")[0].strip().lower().endswith("json"):
        raise _invalid("#/datacontenttype", "must be application/json")
    return Content(event.id, event.source, event.type, event.subject, event.time, event.data)


def _invalid(pointer: str, detail: str) -> SaxaulError:
    return fault(pointer, detail, pointer[2:], EventInvalidError)


def _as_item(error: SaxaulError, at: str) -> SaxaulError:
    """A fault of the shape, in the words of events: `data` are the action's attributes."""
    is_data = bool(error.errors) and error.errors[0].pointer.startswith(f"{at}/data/")
    kind = InvalidAttributesError if is_data else EventInvalidError
    found = kind(Told(error.text, **error.told))
    found.errors = tuple(
        FieldError("#" + place.pointer.removeprefix(at), place.detail) for place in error.errors
    )
    return found


def _refused(at: str, error: SaxaulError, data: bytes) -> _Item:
    """An item that cannot be read, with its id if that can."""
    id_ = None
    # Nothing else is looked at: a number out of range elsewhere does not hide the id.
    with suppress(msgspec.DecodeError, RecursionError):
        id_ = _decode_id(data).id
    return _Item(at, id_, error=error)


def _answer(items: Sequence[_Item], outcomes: dict[Event, Outcome], reader: Reader) -> EventsAnswer:
    results = [
        _result(index, item, outcomes[item.event] if item.event else None, reader)
        for index, item in enumerate(items)
    ]
    statuses = [result.status for result in results]
    counts = {status: statuses.count(status) for status in get_args(Status)}
    return EventsAnswer(received=len(results), results=results, **counts)


def _result(index: int, item: _Item, outcome: Outcome | None, reader: Reader) -> EventResult:
    error = item.error if outcome is None else outcome.error
    if error is not None:
        refused = item_problem(error, reader, lambda pointer: item.at + _in_event(pointer))
        return EventResult(index, item.id, "rejected", problem=refused)
    assert outcome is not None
    if (action := outcome.action) is None:
        return EventResult(index, item.id, outcome.status)
    gave = (str(action.id), action.energy_g, action.saved_g)
    return EventResult(index, item.id, outcome.status, *gave)


def _in_event(pointer: str) -> str:
    """Where an action's attribute stands in its event."""
    return pointer.removeprefix("#").replace("/attributes/", "/data/", 1)


class _IdOnly(Struct):
    id: str | None = None


_decode = msgspec.json.Decoder(list[CloudEvent]).decode
_decode_id = msgspec.json.Decoder(_IdOnly).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
