"""The log of the operators' acts over HTTP."""

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import select

from service.http.access import Request, get
from service.http.answer import Listing
from service.http.decode import Time
from service.http.pages import Page, paged
from service.http.shared import shared
from service.platform.acts import AuditEntry
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


@get("/v1/operator/audit-log", "operator:audit:read", query=Page)
async def list_acts(request: Request) -> Listing[ActAnswer]:
    """What operators did, the latest first; each entry's hash continues the one before."""
    page = paged(request, "acts", seq=int)
    query = select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(page.rows)
    if page.after is not None:
        query = query.where(AuditEntry.seq < page.after)
    async with shared(request, Database).sessions() as session:
        rows = (await session.scalars(query)).all()
    told = [{**vars(row), "hash": row.hash.hex()} for row in rows]
    return page.listing(msgspec.convert(told, list[ActAnswer]))
