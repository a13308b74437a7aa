"""The ledger over HTTP: statements for people, adjustments for operators."""

import hashlib
from typing import Annotated
from uuid import UUID

from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from service.http.access import Request, act_of, caller, get, post
from service.http.answer import JsonAnswer, Listing, as_json
from service.http.decode import Time, path_uuid, read_body
from service.http.faults import fault
from service.http.idempotency import Key, key_text
from service.http.pages import Page, paged
from service.http.problems import reader_of
from service.http.shared import shared
from service.http.texts import prose
from service.ledger.accounts import Account
from service.ledger.adjust import AdjustmentAnswer, AdjustOrder
from service.ledger.books import BookMissingError
from service.ledger.lanes import answer_order
from service.ledger.queries import has_book, list_transfers
from service.platform.database import Database

_NAMES = {account.value: account.column for account in Account}
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


@get("/v1/me/statement", "participant", query=Page, answer=Listing[TransferAnswer])
async def get_statement(request: Request) -> JsonAnswer:
    """Every gram that moved in my book, the newest first."""
    return await _statement(request, caller(request).participant_id)


@get(
    "/v1/operator/participants/{participant_id:str}/statement",
    "operator:participants:read",
    query=Page,
    answer=Listing[TransferAnswer],
)
async def get_participant_statement(request: Request, participant_id: FromPath[str]) -> JsonAnswer:
    """Every gram that moved in somebody's book, also of somebody erased; the newest first."""
    wanted = path_uuid(participant_id)
    if not await has_book(shared(request, Database).reads, wanted):
        raise BookMissingError(wanted)
    return await _statement(request, wanted)


async def _statement(request: Request, participant_id: UUID) -> JsonAnswer:
    page = paged(request, f"statement:{participant_id}", seq=int)
    rows = await list_transfers(
        shared(request, Database).reads, participant_id, before=page.after, limit=page.rows
    )
    told = (
        (seq, _NAMES[debit], _NAMES[credit], *what, hash_.hex(), why or UNSET)
        for seq, debit, credit, *what, hash_, why in rows
    )
    return as_json(page.listing([TransferAnswer(*each) for each in told]))


@post(
    "/v1/operator/participants/{participant_id:str}/adjustments",
    "operator:ledger:adjust",
    status=201,
    body=AdjustmentOrder,
    answer=AdjustmentAnswer,
    takes_key=True,
    problems=("insufficient-energy", "conflict"),
)
async def adjust_participant(request: Request, participant_id: FromPath[str]) -> JsonAnswer:
    """Correct what somebody can spend. With an Idempotency-Key it can be sent again safely."""
    wanted = path_uuid(participant_id)
    body = await read_body(request, AdjustmentOrder)
    if not body.amount_g:
        raise fault("#/amount_g", "must be above or below 0")
    order = AdjustOrder(
        wanted,
        key=_operator_key(request, wanted, await request.body()),
        tell=lambda booked: booked,
        status=201,
        amount_g=body.amount_g,
        reason=body.reason,
        act=act_of(request),
    )
    return await answer_order(request, order)


def _operator_key(request: Request, participant_id: UUID, body: bytes) -> Key | None:
    """The key of an operator's request about somebody: kept with what is kept of that person."""
    text = key_text(request)
    if text is None:
        return None
    digest = hashlib.sha256(f"{caller(request).subject}\0".encode() + body).digest()
    route = "POST /v1/operator/participants/*/adjustments"
    return Key(participant_id, route, text, digest, reader_of(request))
