"""Actions over HTTP: record one, record up to a hundred, look them up again."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from service.actions.queries import find_action, list_actions, reversals_of
from service.actions.record import Recorded
from service.actions.report import participant_report
from service.actions.writer import Writer
from service.http.access import Request, caller, opens
from service.http.answer import JsonAnswer, Listing, answered, read_by
from service.http.decode import Time, parse, path_uuid, read_body
from service.http.keys import Answer, KeyMalformedError, idempotency_key, is_key, key_text, once
from service.http.pages import Page, paged
from service.http.problems import ItemProblem, item_problem, reader_of
from service.http.shared import shared
from service.ledger.books import hold_open
from service.platform.clock import Clock
from service.platform.database import Connection, Database
from service.platform.errors import FieldError, NotFoundError, SaxaulError, UnavailableError
from service.rulebooks.publish import Rulebooks
from service.rules.decide.explain import explain_award
from service.rules.decide.languages import Reader
from service.rules.decide.rulebook import Rulebook
from service.rules.decide.standing import award_of

AttributeValue = str | bool | int | float
ActionTypeName = Annotated[str, Meta(min_length=1, max_length=128)]
Attributes = Annotated[
    dict[Annotated[str, Meta(max_length=128)], AttributeValue],
    Meta(max_length=64),
]


class ActionReport(Struct, frozen=True, forbid_unknown_fields=True):
    """A low-carbon act as an app reports it. `occurred_at` is when it began."""

    type: ActionTypeName
    occurred_at: Time
    attributes: Attributes = {}
    reporter: Literal["participant", "device"] = "participant"


class BatchItem(Struct, frozen=True, forbid_unknown_fields=True):
    """An act of a batch, with the key that makes it repeatable on its own."""

    idempotency_key: Annotated[str, Meta(min_length=16, max_length=128)]
    type: ActionTypeName
    occurred_at: Time
    attributes: Attributes = {}
    reporter: Literal["participant", "device"] = "participant"


class ActionBatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What a phone recorded while it was offline; each item is judged on its own."""

    actions: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=100)]


class AwardAnswer(Struct, frozen=True):
    """What one rule gave, and why."""

    rule: str
    rulebook_version: int
    saved_g: int
    energy_g: int
    limited_by: str | None
    explanation: str


class ActionBubble(Struct, frozen=True):
    """Where the energy of an action waits."""

    id: UUID
    energy_g: int
    ripens_at: Time
    expires_at: Time


class ActionReversal(Struct, frozen=True):
    """When what an action gave was taken back, and why."""

    at: Time
    reason: str


class ActionAnswer(Struct, frozen=True):
    """A recorded action with all that it earned; `reversal` stands only where it was reversed."""

    id: UUID
    type: str
    occurred_at: Time
    recorded_at: Time
    source: str
    status: Literal["accepted", "reversed"]
    saved_g: int
    energy_g: int
    awards: list[AwardAnswer]
    bubble: ActionBubble | None
    reversal: ActionReversal | msgspec.UnsetType = msgspec.UNSET


class BatchResult(Struct, frozen=True, omit_defaults=True):
    """The outcome of one item; `id` is its key."""

    index: int
    id: str | None
    status: Literal["accepted", "duplicate", "rejected"]
    action_id: UUID | msgspec.UnsetType = msgspec.UNSET
    energy_g: int | msgspec.UnsetType = msgspec.UNSET
    saved_g: int | msgspec.UnsetType = msgspec.UNSET
    problem: ItemProblem | msgspec.UnsetType = msgspec.UNSET


class BatchAnswer(Struct, frozen=True):
    """The outcomes of a batch, in the order of its items."""

    received: int
    accepted: int
    duplicate: int
    rejected: int
    results: list[BatchResult]


class ActionRow(Protocol):
    """What an answer is rendered from: a row just written, or one read again."""

    participant_id: Any
    id: Any
    type: Any
    occurred_at: Any
    recorded_at: Any
    ripens_at: Any
    expires_at: Any
    saved_g: Any
    energy_g: Any
    rulebook_version: Any
    source: Any
    attributes: Any
    awards: Any


@post(
    "/v1/me/actions",
    status_code=201,
    operation_id="recordAction",
    **opens(
        "participant",
        body=ActionReport,
        answer=ActionAnswer,
        problems=("action-refused", "unknown-action-type", "invalid-attributes"),
    ),
)
async def record_one(request: Request) -> JsonAnswer:
    """Record one action; the answer is durable and explains every gram."""
    report = await read_body(request, ActionReport)
    recorded = await shared(request, Writer).submit(
        participant_report(
            caller(request).participant_id,
            type_=report.type,
            occurred_at=report.occurred_at,
            attributes=report.attributes,
            reporter=report.reporter,
            key=key_text(request),
            now=shared(request, Clock).now(),
        )
    )
    rulebook, reader = await _rulebook_of(request, recorded.action), reader_of(request)
    content = action_answer(recorded.action, rulebook, reader, recorded.reversal)
    status = 200 if recorded.replayed else 201
    return read_by(reader, content, status, replayed=recorded.replayed)


@post(
    "/v1/me/actions/batch",
    status_code=200,
    operation_id="recordActions",
    **opens("participant", body=ActionBatch, answer=BatchAnswer),
)
async def record_batch(request: Request) -> JsonAnswer:
    """Record up to 100 actions of an offline phone; a bad one never harms the others."""
    batch = await read_body(request, ActionBatch)
    participant_id, reader = caller(request).participant_id, reader_of(request)

    async def effect(connection: Connection | None = None) -> Answer:
        answer = await _record_items(request, participant_id, batch, reader)
        if connection is not None:
            await hold_open(connection, participant_id)
        return Answer(200, msgspec.json.encode(answer), reader=reader)

    key = idempotency_key(request, await request.body())
    if key is None:
        return answered(await effect())
    return answered(
        await once(shared(request, Database), key, shared(request, Clock).real_now(), effect)
    )


async def _record_items(
    request: Request, participant_id: UUID, batch: ActionBatch, reader: Reader
) -> BatchAnswer:
    outcomes = await asyncio.gather(
        *(
            _record_item(request, participant_id, index, raw)
            for index, raw in enumerate(batch.actions)
        ),
        return_exceptions=True,
    )
    results = []
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, _ItemError):
            problem = item_problem(outcome.error, reader)
            results.append(BatchResult(index, outcome.key, "rejected", problem=problem))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            results.append(_result(index, outcome))
    counts = [result.status for result in results]
    return BatchAnswer(
        received=len(results),
        accepted=counts.count("accepted"),
        duplicate=counts.count("duplicate"),
        rejected=counts.count("rejected"),
        results=results,
    )


class _ItemError(Exception):
    """An item that is rejected, with its key if it has one that can be read."""

    def __init__(self, key: str | None, error: SaxaulError) -> None:
        super().__init__(error.detail)
        self.key, self.error = key, error


async def _record_item(
    request: Request, participant_id: UUID, index: int, raw: msgspec.Raw
) -> tuple[str, Recorded]:
    pointer = f"#/actions/{index}"
    try:
        item = parse(bytes(raw), BatchItem, pointer)
    except SaxaulError as error:
        raise _ItemError(_readable_key(raw), error) from error
    key = item.idempotency_key
    if not is_key(key):
        raise _ItemError(key, KeyMalformedError())
    report = participant_report(
        participant_id,
        type_=item.type,
        occurred_at=item.occurred_at,
        attributes=item.attributes,
        reporter=item.reporter,
        key=key,
        now=shared(request, Clock).now(),
    )
    try:
        return key, await shared(request, Writer).submit(report)
    except UnavailableError:
        raise
    except SaxaulError as error:
        raise _ItemError(key, _placed(error, pointer)) from error


def _placed(error: SaxaulError, pointer: str) -> SaxaulError:
    """The error with its pointers counted from the top of the batch."""
    error.errors = tuple(
        FieldError(pointer + fault.pointer.removeprefix("#"), fault.detail)
        for fault in error.errors
    )
    return error


def _readable_key(raw: msgspec.Raw) -> str | None:
    """The key of an item that is wrong otherwise; None where nothing can be read of it."""
    try:
        item = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    key = item.get("idempotency_key") if isinstance(item, dict) else None
    return key if isinstance(key, str) else None


def _result(index: int, outcome: tuple[str, Recorded]) -> BatchResult:
    key, recorded = outcome
    action = recorded.action
    return BatchResult(
        index,
        key,
        "duplicate" if recorded.replayed else "accepted",
        action_id=action.id,
        energy_g=action.energy_g,
        saved_g=action.saved_g,
    )


@get(
    "/v1/me/actions",
    operation_id="listActions",
    **opens("participant", query=Page, answer=Listing[ActionAnswer]),
)
async def list_my_actions(request: Request) -> JsonAnswer:
    """My actions, the latest to have happened first."""
    participant_id = caller(request).participant_id
    page = paged(request, f"actions:{participant_id}", occurred_at=datetime, id=UUID)
    async with shared(request, Database).sessions() as session:
        rows = await list_actions(session, participant_id, before=page.after, limit=page.rows)
        undone = await reversals_of(session, participant_id, [row.id for row in rows])
    reader = reader_of(request)
    items = [
        action_answer(row, await _rulebook_of(request, row), reader, undone.get(row.id))
        for row in rows
    ]
    return read_by(reader, page.listing(items))


@get(
    "/v1/me/actions/{action_id:str}",
    operation_id="getAction",
    **opens("participant", answer=ActionAnswer),
)
async def get_my_action(request: Request, action_id: FromPath[str]) -> JsonAnswer:
    """One of my actions."""
    wanted = path_uuid(action_id)
    participant_id = caller(request).participant_id
    async with shared(request, Database).sessions() as session:
        row = await find_action(session, participant_id, wanted)
        if row is None:
            raise NotFoundError("You have no such action.")
        undone = await reversals_of(session, participant_id, [row.id])
    rulebook, reader = await _rulebook_of(request, row), reader_of(request)
    return read_by(reader, action_answer(row, rulebook, reader, undone.get(wanted)))


async def _rulebook_of(request: Request, row: ActionRow) -> Rulebook:
    active = shared(request, Rulebooks).active
    if row.rulebook_version == active.version:
        return active
    return await shared(request, Rulebooks).get(row.rulebook_version)


def action_answer(
    row: ActionRow, rulebook: Rulebook, reader: Reader, reversal: ActionRow | None
) -> ActionAnswer:
    """Render an action from its row and the rulebook that decided it, at first and ever after."""
    bubble = None
    told: ActionReversal | msgspec.UnsetType = msgspec.UNSET
    if reversal is not None:
        told = ActionReversal(reversal.recorded_at, (reversal.attributes or {}).get("reason", ""))
    if row.energy_g:
        bubble = ActionBubble(row.id, row.energy_g, row.ripens_at, row.expires_at)
    return ActionAnswer(
        row.id,
        row.type,
        row.occurred_at,
        row.recorded_at,
        row.source,
        "reversed" if reversal is not None else "accepted",
        row.saved_g,
        row.energy_g,
        _awards(row, rulebook, reader),
        bubble,
        told,
    )


_FAILED = "0 g: this rule failed on these values and paid nothing; the operators are told"


def _awards(row: ActionRow, rulebook: Rulebook, reader: Reader) -> list[AwardAnswer]:
    return [
        AwardAnswer(
            award["rule"],
            row.rulebook_version,
            award["saved_g"],
            award["energy_g"],
            award["limited_by"],
            reader.tell(_FAILED)
            if award.get("failed")
            else explain_award(rulebook, row.attributes, award_of(award), reader),
        )
        for award in row.awards
    ]


routes: list[HTTPRouteHandler] = [record_one, record_batch, list_my_actions, get_my_action]
