"""The log of the operators' acts over HTTP."""

from typing import Any

from litestar import get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from service.http.access import Request, opens
from service.http.answer import Listing
from service.http.decode import Time
from service.http.pages import Page, paged
from service.http.shared import shared
from service.operations.queries import list_acts
from service.platform.database import Database


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


@get(
    "/v1/operator/audit-log",
    operation_id="listActs",
    **opens("operator:audit:read", query=Page),
)
async def list_operator_acts(request: Request) -> Listing[ActAnswer]:
    """What operators did, the latest first; each entry's hash continues the one before."""
    page = paged(request, "acts", seq=int)
    async with shared(request, Database).sessions() as session:
        rows = await list_acts(session, before=page.after, limit=page.rows)
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
        for row in rows
    ]
    return page.listing(items)


routes: list[HTTPRouteHandler] = [list_operator_acts]
