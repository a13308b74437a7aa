"""Bubbles over HTTP: list them, collect one, collect all that is ripe."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec
from litestar.params import FromPath

from service.energy.collect import Collected, CollectOrder
from service.http.access import Request, caller, get, post
from service.http.answer import JsonAnswer, Listing, as_json
from service.http.decode import NoFields, Time, path_uuid, read_body
from service.http.idempotency import key_of
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


@get("/v1/me/bubbles", "participant", query=Page, answer=Listing[BubbleAnswer])
async def list_bubbles(request: Request) -> JsonAnswer:
    """My bubbles that still hold energy, the first to ripen first."""
    participant_id = caller(request).participant_id
    page = paged(request, f"bubbles:{participant_id}", ripens_at=datetime, id=UUID)
    now = shared(request, Clock).now()
    rows = await shared(request, Database).reads.fetch(
        _LIST, participant_id, now, *(page.after or _FROM_THE_FIRST), page.rows
    )
    told = [(*row[:6], Origin(*row[6:])) for row in rows]
    return as_json(page.listing([BubbleAnswer(*each) for each in told]))


@post(
    "/v1/me/bubbles/{bubble_id:str}/collect",
    "participant",
    body=NoFields,
    answer=CollectAnswer,
    problems=("bubble-not-ripe", "bubble-expired", "bubble-empty"),
)
async def collect_bubble(request: Request, bubble_id: FromPath[str]) -> JsonAnswer:
    """Collect one ripe bubble."""
    return await _collect(request, _tell_one, path_uuid(bubble_id))


@post("/v1/me/bubbles/collect", "participant", body=NoFields, answer=CollectAllAnswer)
async def collect_all_bubbles(request: Request) -> JsonAnswer:
    """Collect every ripe bubble."""
    return await _collect(request, _tell_all)


async def _collect(
    request: Request, tell: Callable[[Collected], msgspec.Struct], bubble_id: UUID | None = None
) -> JsonAnswer:
    await read_body(request, NoFields)
    key, owner = await key_of(request), caller(request).participant_id
    return await answer_order(request, CollectOrder(owner, key=key, tell=tell, bubble_id=bubble_id))


def _tell_one(done: Collected) -> CollectAnswer:
    return CollectAnswer(done.collected_g, balances_of(done.book))


def _tell_all(done: Collected) -> CollectAllAnswer:
    return CollectAllAnswer(done.collected_g, done.bubbles, balances_of(done.book))


_FROM_THE_FIRST = datetime(1, 1, 1, tzinfo=UTC), UUID(int=0)

_LIST = """
SELECT id, energy_g, remaining_g, CASE WHEN ripens_at <= $2 THEN 'ripe' ELSE 'ripening' END,
    ripens_at, expires_at, origin, origin_id FROM bubbles
WHERE participant_id = $1 AND remaining_g > 0 AND expires_at > $2 AND (ripens_at, id) > ($3, $4)
ORDER BY ripens_at, id LIMIT $5"""
