"""The ledger over HTTP: statements for people; adjustments, audit and the log for operators."""

import hashlib
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from service.audit.audit import AuditReport, audit, choose_mode
from service.audit.facts import COMPARES, WHOLE
from service.http.faults import fault
from service.http.keys import Answer, Key, once
from service.http.pages import Page, decode_cursor, encode_cursor
from service.http.problems import reader_of
from service.http.shared import shared
from service.http.texts import prose
from service.http.wire import (
    JsonAnswer,
    Listing,
    Request,
    Time,
    answered,
    caller,
    key_text,
    opens,
    path_uuid,
    read_body,
    read_query,
)
from service.ledger.accounts import Account
from service.ledger.adjust import adjust
from service.ledger.balances import Balances, balances_of
from service.ledger.books import BookMissingError, hold_not_erased
from service.ledger.models import Transfer
from service.ledger.queries import has_book, list_acts, list_transfers
from service.platform.clock import Clock
from service.platform.database import Connection, Database
from service.platform.settings import Settings

_AUDIT_SECONDS_MAX = 20.0
_AMOUNT_MAX_G = 1_000_000_000_000


class TransferAnswer(Struct, frozen=True):
    """One move of grams inside a book; `hash` continues the hash of the transfer before.

    Adjustments tell the `reason` that the operator gave.
    """

    seq: int
    debit: str
    credit: str
    amount_g: int
    cause: str
    cause_id: UUID
    at: Time
    hash: str
    reason: str | UnsetType = UNSET


class AdjustmentOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Grams to add to what is available, or below 0 to take from it, and why: the person is told.

    What is added repays first what is owed.
    """

    amount_g: Annotated[int, Meta(ge=-_AMOUNT_MAX_G, le=_AMOUNT_MAX_G)]
    reason: Annotated[str, Meta(min_length=1, max_length=500), prose]


class AdjustmentAnswer(Struct, frozen=True):
    """A booked adjustment and the balances afterwards."""

    id: UUID
    participant_id: UUID
    amount_g: int
    reason: str
    at: Time
    balances: Balances


class AuditOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """What to audit; nothing: all of it, or in a large ledger what moved since the last audit."""

    mode: Literal["full", "incremental"] | None = None
    participant_id: UUID | None = None
    after: UUID | None = None


class AuditDifference(Struct, frozen=True):
    """One thing that is off."""

    check: str
    participant_id: UUID | None
    what: str
    expected: str
    found: str


class AuditAnswer(Struct, frozen=True):
    """What was audited and what is off: of each check how many, and the first differences.

    `notes` counts by check what is as an earlier version wrote it, in that version's form.
    When time was up, `complete` is false and `next_after` tells where to go on.
    """

    clean: bool
    complete: bool
    mode: Literal["full", "incremental"]
    books: int
    transfers: int
    actions: int
    log_entries: int
    found: dict[str, int]
    differences: list[AuditDifference]
    notes: dict[str, int]
    next_after: UUID | None


class ActAnswer(Struct, frozen=True):
    """What an operator did, to what, with the state before and after."""

    seq: int
    at: Time
    actor: str
    act: str
    object: str
    detail: dict[str, Any]
    request_id: str
    hash: str


@get("/v1/me/statement", operation_id="getStatement", **opens("participant", query=Page))
async def get_my_statement(request: Request) -> Listing[TransferAnswer]:
    """Every gram that moved in my book, the newest first."""
    return await _statement(request, caller(request).participant_id)


@get(
    "/v1/operator/participants/{participant_id:str}/statement",
    operation_id="getParticipantStatement",
    **opens("operator:participants:read", query=Page),
)
async def get_statement(request: Request, participant_id: FromPath[str]) -> Listing[TransferAnswer]:
    """Every gram that moved in somebody's book, also of somebody erased; the newest first."""
    wanted = path_uuid(participant_id)
    async with shared(request, Database).sessions() as session:
        if not await has_book(session, wanted):
            raise BookMissingError(wanted)
    return await _statement(request, wanted)


async def _statement(request: Request, participant_id: UUID) -> Listing[TransferAnswer]:
    page = read_query(request, Page)
    secret, kind = shared(request, Settings).secret_key, f"statement:{participant_id}"
    before = decode_cursor(secret, kind, page.cursor, tuple[int])[0] if page.cursor else None
    async with shared(request, Database).sessions() as session:
        rows = await list_transfers(session, participant_id, before=before, limit=page.limit + 1)
    items = [_transfer(*row) for row in rows[: page.limit]]
    more = len(rows) > page.limit
    return Listing(items, encode_cursor(secret, kind, (items[-1].seq,)) if more else None)


def _transfer(row: Transfer, reason: str | None) -> TransferAnswer:
    return TransferAnswer(
        row.seq,
        Account(row.debit).column,
        Account(row.credit).column,
        row.amount_g,
        row.cause,
        row.cause_id,
        row.at,
        row.hash.hex(),
        reason or UNSET,
    )


@post(
    "/v1/operator/participants/{participant_id:str}/adjustments",
    status_code=201,
    operation_id="adjustParticipant",
    **opens(
        "operator:ledger:adjust",
        body=AdjustmentOrder,
        answer=AdjustmentAnswer,
        takes_key=True,
        problems=("insufficient-energy", "conflict"),
    ),
)
async def adjust_participant(request: Request, participant_id: FromPath[str]) -> JsonAnswer:
    """Correct what somebody can spend. With an Idempotency-Key it can be sent again safely."""
    wanted = path_uuid(participant_id)
    order = await read_body(request, AdjustmentOrder)
    if not order.amount_g:
        raise fault("#/amount_g", "must be above or below 0")

    async def effect(connection: Connection) -> Answer:
        done = await adjust(
            connection,
            wanted,
            order.amount_g,
            reason=order.reason,
            operator=caller(request),
            now=shared(request, Clock).now(),
        )
        answer = AdjustmentAnswer(
            done.id, wanted, done.amount_g, order.reason, done.at, balances_of(done.book)
        )
        return Answer(201, msgspec.json.encode(answer))

    key = _operator_key(request, wanted, await request.body())
    hold = partial(hold_not_erased, participant_id=wanted)
    return answered(
        await once(
            shared(request, Database), key, shared(request, Clock).real_now(), effect, hold=hold
        )
    )


def _operator_key(request: Request, participant_id: UUID, body: bytes) -> Key | None:
    """The key of an operator's request about somebody: kept with what is kept of that person."""
    text = key_text(request)
    if text is None:
        return None
    digest = hashlib.sha256(f"{caller(request).subject}\0".encode() + body).digest()
    route = "POST /v1/operator/participants/*/adjustments"
    return Key(participant_id, route, text, digest, reader_of(request))


@post(
    "/v1/operator/ledger/audit",
    status_code=200,
    operation_id="auditLedger",
    **opens("operator:audit:read", body=AuditOrder),
)
async def audit_ledger(request: Request) -> AuditAnswer:
    """Recompute books, bubbles, limits and chains from what was written down, for 20 s at most."""
    order = await read_body(request, AuditOrder) if await request.body() else AuditOrder()
    return _audit_answer(await _audited(request, order))


async def _audited(request: Request, order: AuditOrder) -> AuditReport:
    if order.participant_id is not None:
        async with shared(request, Database).sessions() as session:
            if not await has_book(session, order.participant_id):
                raise BookMissingError(order.participant_id)
    mode = order.mode or (
        "full" if order.participant_id is not None else await choose_mode(shared(request, Database))
    )
    return await audit(
        shared(request, Database),
        mode=mode,
        now=shared(request, Clock).now(),
        participant_id=order.participant_id,
        after=order.after or UUID(int=0),
        seconds_max=_AUDIT_SECONDS_MAX,
        more=COMPARES,
        whole=WHOLE,
    )


def _audit_answer(report: AuditReport) -> AuditAnswer:
    return AuditAnswer(
        clean=report.is_clean,
        complete=report.complete,
        mode=report.mode,
        books=report.books,
        transfers=report.transfers,
        actions=report.actions,
        log_entries=report.log_entries,
        found=report.found,
        differences=[
            AuditDifference(d.check, d.participant_id, d.what, d.expected, d.found)
            for d in report.differences
        ],
        notes=report.notes,
        next_after=None if report.complete else report.after,
    )


@get(
    "/v1/operator/audit-log",
    operation_id="listActs",
    **opens("operator:audit:read", query=Page),
)
async def list_operator_acts(request: Request) -> Listing[ActAnswer]:
    """What operators did, the latest first; each entry's hash continues the one before."""
    page = read_query(request, Page)
    secret = shared(request, Settings).secret_key
    before = decode_cursor(secret, "acts", page.cursor, tuple[int])[0] if page.cursor else None
    async with shared(request, Database).sessions() as session:
        rows = await list_acts(session, before=before, limit=page.limit + 1)
    items = [
        ActAnswer(
            row.seq,
            row.at,
            row.actor,
            row.act,
            row.object,
            row.detail,
            row.request_id,
            row.hash.hex(),
        )
        for row in rows[: page.limit]
    ]
    more = len(rows) > page.limit
    return Listing(items, encode_cursor(secret, "acts", (items[-1].seq,)) if more else None)


routes: list[HTTPRouteHandler] = [
    get_my_statement,
    get_statement,
    adjust_participant,
    audit_ledger,
    list_operator_acts,
]
