"""The log of the operators' acts over HTTP."""

from typing import Any

from msgspec import Struct

from service.http.access import Request, get
from service.http.answer import Listing
from service.http.decode import Time
from service.http.pages import Page, paged
from service.http.shared import shared
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
    rows = await shared(request, Database).lists.fetch(_ACTS, page.after or _EVERY, page.rows)
    return page.listing([ActAnswer(*row) for row in rows])


_EVERY = 2**63 - 1

_ACTS = """
SELECT seq, at, actor, act, object, detail, request_id, encode(hash, 'hex') FROM audit_log
WHERE seq < $1 ORDER BY seq DESC LIMIT $2"""
