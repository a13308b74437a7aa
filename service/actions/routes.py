"""Actions over HTTP: record one or up to a hundred, look them up, ask what can still be done."""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar.params import FromPath
from msgspec import Meta, Struct

from service.actions.answer import ActionAnswer, action_answer, tell_actions
from service.actions.order import participant_report
from service.actions.queries import list_actions, read_situation
from service.actions.record import Recorded
from service.actions.store import read_actions, reversal_key
from service.http.access import Request, caller, get, post
from service.http.answer import JsonAnswer, Listing, answered, read_by
from service.http.decode import Time, parse, path_uuid, read_body
from service.http.idempotency import Answer, KeyMalformedError, is_key, key_of, key_text, once
from service.http.pages import Page, paged
from service.http.problems import ItemProblem, item_problem, reader_of
from service.http.shared import shared
from service.ledger.books import hold_open
from service.ledger.lanes import Lanes
from service.platform.clock import Clock
from service.platform.database import Connection, Database
from service.platform.errors import NotFoundError, SaxaulError, UnavailableError
from service.rulebooks.publish import Rulebooks
from service.rulebooks.routes import page_by_type
from service.rules.decide.languages import Reader
from service.rules.tell.catalogue import (
    Suggestion,
    list_suggestions,
    running_campaigns,
    suggestion_counters,
)

Value = str | bool | int | float
ActionTypeName = Annotated[str, Meta(min_length=1, max_length=128)]
Attributes = Annotated[dict[Annotated[str, Meta(max_length=128)], Value], Meta(max_length=64)]


class ActionReport(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A low-carbon act as an app reports it. `occurred_at` is when it began."""

    type: ActionTypeName
    occurred_at: Time
    attributes: Attributes = {}
    reporter: Literal["participant", "device"] = "participant"


class BatchItem(ActionReport, frozen=True, forbid_unknown_fields=True):
    """An act of a batch, with the key that makes it repeatable on its own."""

    idempotency_key: Annotated[str, Meta(min_length=16, max_length=128)]


class ActionBatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What a phone recorded while it was offline; each item is judged on its own."""

    actions: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=100)]


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


class Suggestions(Struct, frozen=True):
    """What a person can still do today, with what is left of each limit."""

    items: list[Suggestion]
    next_cursor: str | None


@post(
    "/v1/me/actions",
    "participant",
    status=201,
    body=ActionReport,
    answer=ActionAnswer,
    problems=("action-refused", "unknown-action-type", "invalid-attributes"),
)
async def record_action(request: Request) -> JsonAnswer:
    """Record one action; the answer is durable and explains every gram."""
    report = await read_body(request, ActionReport)
    participant_id, reader = caller(request).participant_id, reader_of(request)
    recorded = await _submit(request, participant_id, report, key_text(request))
    content = await action_answer(
        request, reader, recorded.action, recorded.reversal, recorded.awards
    )
    status = 200 if recorded.replayed else 201
    return read_by(reader, content, status, replayed=recorded.replayed)


async def _submit(
    request: Request, participant_id: UUID, said: ActionReport, key: str | None
) -> Recorded:
    report = participant_report(
        participant_id,
        type_=said.type,
        occurred_at=said.occurred_at,
        attributes=said.attributes,
        reporter=said.reporter,
        key=key,
        now=shared(request, Clock).now(),
    )
    recorded: Recorded = await shared(request, Lanes).submit(report)
    return recorded


@post("/v1/me/actions/batch", "participant", body=ActionBatch, answer=BatchAnswer)
async def record_actions(request: Request) -> JsonAnswer:
    """Record up to 100 actions of an offline phone; a bad one never harms the others."""
    batch = await read_body(request, ActionBatch)
    participant_id, reader = caller(request).participant_id, reader_of(request)

    async def effect(connection: Connection | None = None) -> Answer:
        answer = await _record_items(request, participant_id, batch, reader)
        if connection is not None:
            await hold_open(connection, participant_id)
        return Answer(200, msgspec.json.encode(answer), reader=reader)

    key, database = await key_of(request), shared(request, Database)
    if key is None:
        return answered(await effect())
    async with database.keyed:
        return answered(await once(database, key, shared(request, Clock).real_now(), effect))


async def _record_items(
    request: Request, participant_id: UUID, batch: ActionBatch, reader: Reader
) -> BatchAnswer:
    items = [
        _record_item(request, participant_id, index, raw, reader)
        for index, raw in enumerate(batch.actions)
    ]
    outcomes = await asyncio.gather(*items, return_exceptions=True)
    results: list[BatchResult] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    counts = Counter(result.status for result in results)
    told = counts["accepted"], counts["duplicate"], counts["rejected"]
    return BatchAnswer(len(results), *told, results)


async def _record_item(
    request: Request, participant_id: UUID, index: int, raw: msgspec.Raw, reader: Reader
) -> BatchResult:
    at = f"#/actions/{index}"

    def from_top(pointer: str) -> str:
        # What could not be decoded counts from the top of the batch already.
        return pointer if pointer.startswith(at) else at + pointer[1:]

    try:
        item = parse(bytes(raw), BatchItem, at)
        if not is_key(item.idempotency_key):
            raise KeyMalformedError
        recorded = await _submit(request, participant_id, item, item.idempotency_key)
    except UnavailableError:
        raise
    except SaxaulError as error:
        problem = item_problem(error, reader, from_top)
        return BatchResult(index, _readable_key(raw), "rejected", problem=problem)
    action = recorded.action
    return BatchResult(
        index,
        item.idempotency_key,
        "duplicate" if recorded.replayed else "accepted",
        action_id=action.id,
        energy_g=action.energy_g,
        saved_g=action.saved_g,
    )


def _readable_key(raw: msgspec.Raw) -> str | None:
    """The key of an item that is wrong otherwise; None where nothing can be read of it."""
    with suppress(msgspec.DecodeError, RecursionError):
        match msgspec.json.decode(raw):
            case {"idempotency_key": str(key)}:
                return key
    return None


@get(
    "/v1/me/actions",
    "participant",
    operation_id="listActions",
    query=Page,
    answer=Listing[ActionAnswer],
)
async def list_my_actions(request: Request) -> JsonAnswer:
    """My actions, the latest to have happened first."""
    participant_id = caller(request).participant_id
    page = paged(request, f"actions:{participant_id}", occurred_at=datetime, id=UUID)
    reads, reader = shared(request, Database).reads, reader_of(request)
    rows = await list_actions(reads, participant_id, before=page.after, limit=page.rows)
    items = await tell_actions(request, reader, participant_id, [(row[1], row[2]) for row in rows])
    return read_by(reader, page.listing(items, [(row[0], row[1]) for row in rows]))


@get("/v1/me/actions/{action_id:str}", "participant", answer=ActionAnswer)
async def get_action(request: Request, action_id: FromPath[str]) -> JsonAnswer:
    """One of my actions."""
    wanted = path_uuid(action_id)
    participant_id = caller(request).participant_id
    keys = (participant_id, wanted), reversal_key((participant_id, wanted))
    found = await read_actions(shared(request, Database).reads, keys)
    row, reader = found.get(keys[0]), reader_of(request)
    if row is None or row.kind != "action":
        raise NotFoundError("You have no such action.")
    return read_by(reader, await action_answer(request, reader, row, found.get(keys[1])))


@get(
    "/v1/me/suggestions",
    "participant",
    operation_id="listSuggestions",
    query=Page,
    answer=Suggestions,
)
async def suggest(request: Request) -> JsonAnswer:
    """What I can still do today."""
    rulebook, now = shared(request, Rulebooks).active, shared(request, Clock).now()
    reader = reader_of(request)
    participant_id, campaigns = caller(request).participant_id, running_campaigns(rulebook, now)
    known = await read_situation(
        shared(request, Database).reads,
        participant_id,
        suggestion_counters(rulebook, now),
        [campaign.id for campaign in campaigns],
    )
    items = list_suggestions(
        rulebook, known.usage, now, reader, region=known.region, left=known.left
    )
    shown = page_by_type(paged(request, "suggestions", type=str), items)
    return read_by(reader, Suggestions(shown.items, shown.next_cursor))
