"""Bubbles over HTTP: list them, collect one, collect all that is ripe."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from sqlalchemy import select, tuple_

from service.energy.collect import Collected, CollectOrder
from service.energy.models import Bubble
from service.http.access import Request, caller, opens
from service.http.answer import JsonAnswer, Listing
from service.http.decode import NoFields, Time, path_uuid, read_body
from service.http.idempotency import idempotency_key
from service.http.pages import Page, paged
from service.http.shared import shared
from service.ledger.balances import Balances, balances_of
from service.ledger.lanes import answer_order
from service.platform.clock import Clock
from service.platform.database import Database


class Origin(msgspec.Struct, frozen=True):
    """Where a bubble's energy comes from, and the id of it."""

    kind: Literal["action", "gift"]
    id: UUID


class BubbleAnswer(msgspec.Struct, frozen=True):
    """A bubble that still holds grams."""

    id: UUID
    energy_g: int
    remaining_g: int
    state: Literal["ripening", "ripe"]
    ripens_at: Time
    expires_at: Time
    origin: Origin


class CollectAnswer(msgspec.Struct, frozen=True):
    """What was collected from one bubble, and the balances afterwards."""

    collected_g: int
    balances: Balances


class CollectAllAnswer(msgspec.Struct, frozen=True):
    """What was collected, from how many bubbles, and the balances afterwards."""

    collected_g: int
    bubbles: int
    balances: Balances


@get("/v1/me/bubbles", operation_id="listBubbles", **opens("participant", query=Page))
async def list_my_bubbles(request: Request) -> Listing[BubbleAnswer]:
    """My bubbles that still hold energy, the first to ripen first."""
    participant_id = caller(request).participant_id
    page = paged(request, f"bubbles:{participant_id}", ripens_at=datetime, id=UUID)
    now = shared(request, Clock).now()
    query = (
        select(Bubble)
        .where(Bubble.participant_id == participant_id)
        .where(Bubble.remaining_g > 0, Bubble.expires_at > now)
        .order_by(Bubble.ripens_at, Bubble.id)
        .limit(page.rows)
    )
    if page.after is not None:
        query = query.where(tuple_(Bubble.ripens_at, Bubble.id) > tuple_(*page.after))
    async with shared(request, Database).sessions() as session:
        rows = (await session.scalars(query)).all()
    items = [
        BubbleAnswer(
            row.id,
            row.energy_g,
            row.remaining_g,
            "ripe" if row.ripens_at <= now else "ripening",
            row.ripens_at,
            row.expires_at,
            Origin("action" if row.origin == "action" else "gift", row.origin_id),
        )
        for row in rows
    ]
    return page.listing(items)


@post(
    "/v1/me/bubbles/{bubble_id:str}/collect",
    status_code=200,
    operation_id="collectBubble",
    **opens(
        "participant",
        body=NoFields,
        answer=CollectAnswer,
        problems=("bubble-not-ripe", "bubble-expired", "bubble-empty"),
    ),
)
async def collect_one(request: Request, bubble_id: FromPath[str]) -> JsonAnswer:
    """Collect one ripe bubble."""
    return await _collect(request, _tell_one, path_uuid(bubble_id))


@post(
    "/v1/me/bubbles/collect",
    status_code=200,
    operation_id="collectAllBubbles",
    **opens("participant", body=NoFields, answer=CollectAllAnswer),
)
async def collect_all(request: Request) -> JsonAnswer:
    """Collect every ripe bubble."""
    return await _collect(request, _tell_all)


async def _collect(
    request: Request, tell: Callable[[Collected], msgspec.Struct], bubble_id: UUID | None = None
) -> JsonAnswer:
    await read_body(request, NoFields)
    key = idempotency_key(request, await request.body())
    owner = caller(request).participant_id
    return await answer_order(request, CollectOrder(owner, key=key, tell=tell, bubble_id=bubble_id))


def _tell_one(done: Collected) -> CollectAnswer:
    return CollectAnswer(done.collected_g, balances_of(done.book))


def _tell_all(done: Collected) -> CollectAllAnswer:
    return CollectAllAnswer(done.collected_g, done.bubbles, balances_of(done.book))


routes: list[HTTPRouteHandler] = [list_my_bubbles, collect_one, collect_all]
