"""Parked events over HTTP: partners see their own, operators all, and retry or discard them."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from service.actions.event_rows import KEPT, discard_event, list_parked
from service.http.access import Request, act_of, get, log_act, post
from service.http.answer import Listing
from service.http.decode import Time, path_uuid, read_query
from service.http.pages import Page, paged
from service.http.shared import shared
from service.partners.receive import Intake
from service.partners.release import release_one
from service.partners.routes_signed import signed
from service.platform.database import Database
from service.platform.errors import Code, NotFoundError
from service.platform.reads import Row

T = TypeVar("T", bound=Struct)


class OwnParkedSearch(Page, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Those that wait, or those that were refused at their release or discarded by an operator."""

    state: Literal["parked", "discarded"] = "parked"


class ParkedAnswer(Struct, frozen=True):
    """An event that waits; `id` is the event's own.

    Of a discarded one the content is gone, and `type`, `subject` and `time` are null.
    """

    id: str
    source: str
    type: str | None
    subject: str | None
    time: Time | None
    reason: str
    received_at: Time
    expires_at: Time


class ParkedSearch(Page, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of which partner; nothing: of all. Those that wait, or that were refused or discarded."""

    partner_id: Annotated[str, Meta(max_length=63)] | None = None
    state: Literal["parked", "discarded"] = "parked"


class ParkedEventAnswer(Struct, frozen=True):
    """An event that waits; `event` is what the partner sent.

    Of one that was refused at its release or discarded, `type` and `event` are gone and null.
    """

    id: UUID
    partner_id: str
    source: str
    event_id: str
    type: str | None
    reason: str
    received_at: Time
    expires_at: Time
    event: dict[str, Any] | None


class ParkedStepAnswer(Struct, frozen=True, omit_defaults=True):
    """What became of it; `reason` is what it waits for, if it still does."""

    id: UUID
    status: Literal["accepted", "duplicate", "parked", "rejected", "discarded"]
    reason: str | UnsetType = UNSET
    action_id: UUID | UnsetType = UNSET
    code: Code | UnsetType = UNSET
    detail: str | UnsetType = UNSET


@get("/v1/partners/{partner_id:str}/parked", "partner", query=OwnParkedSearch)
async def list_my_parked_events(
    request: Request, partner_id: FromPath[str]
) -> Listing[ParkedAnswer]:
    """My events that wait, or waited in vain; the first to come first. An empty body is signed."""
    sent = await signed(request, partner_id)
    search = read_query(request, OwnParkedSearch)
    kind = f"{search.state}:{sent.partner.id}"
    return await _page(request, search, kind, sent.partner.id, _told_partner)


@get("/v1/operator/parked-events", "operator:partners:admin", query=ParkedSearch)
async def list_parked_events(request: Request) -> Listing[ParkedEventAnswer]:
    """Events that wait, or waited in vain, with what was sent and why; the first to come first."""
    search = read_query(request, ParkedSearch)
    kind = f"{search.state}-events:{search.partner_id}"
    return await _page(request, search, kind, search.partner_id, _told)


@post("/v1/operator/parked-events/{event_id:str}/retry", "operator:partners:admin")
async def retry_parked_event(request: Request, event_id: FromPath[str]) -> ParkedStepAnswer:
    """Settle a parked event now, if it can be; else it waits on."""
    wanted = path_uuid(event_id)
    outcome = await release_one(shared(request, Intake), wanted.bytes)
    if outcome is None:
        raise NotFoundError("There is no such parked event.")
    await log_act(request, "parked-event.retry", wanted, {"status": outcome.status})
    error, action = outcome.error, outcome.action
    return ParkedStepAnswer(
        wanted,
        outcome.status,
        outcome.waits_for or UNSET,
        action.id if action else UNSET,
        error.code if error else UNSET,
        error.detail if error else UNSET,
    )


@post("/v1/operator/parked-events/{event_id:str}/discard", "operator:partners:admin")
async def discard_parked_event(request: Request, event_id: FromPath[str]) -> ParkedStepAnswer:
    """Forget a parked event; sent again it is judged anew."""
    wanted = path_uuid(event_id)
    async with shared(request, Database).transaction() as connection:
        if not await discard_event(connection, wanted.bytes):
            raise NotFoundError("There is no such parked event.")
        await act_of(request).log(connection, "parked-event.discard", wanted, {})
    return ParkedStepAnswer(wanted, "discarded")


async def _page(
    request: Request,
    search: OwnParkedSearch | ParkedSearch,
    kind: str,
    partner_id: str | None,
    told: Callable[[Row], T],
) -> Listing[T]:
    page = paged(request, kind, search, received_at=datetime, event_key=UUID)
    rows = await list_parked(
        shared(request, Database).lists,
        state=search.state,
        partner_id=partner_id,
        after=page.after,
        limit=page.rows,
    )
    keys = [(row["received_at"], UUID(bytes=row["event_key"])) for row in rows]
    return page.listing([told(row) for row in rows], keys)


def _told_partner(row: Row) -> ParkedAnswer:
    body = row["body"] or {}
    time = body.get("time")
    return ParkedAnswer(
        row["event_id"],
        row["source"],
        body.get("type"),
        body.get("subject"),
        datetime.fromisoformat(time) if time else None,
        row["reason"] or "",
        row["received_at"],
        row["received_at"] + KEPT,
    )


def _told(row: Row) -> ParkedEventAnswer:
    return ParkedEventAnswer(
        UUID(bytes=row["event_key"]),
        row["partner_id"],
        row["source"],
        row["event_id"],
        row["body"]["type"] if row["body"] else None,
        row["reason"] or "",
        row["received_at"],
        row["received_at"] + KEPT,
        row["body"],
    )
