"""The audit over HTTP: a part of it in the time of a request."""

from uuid import UUID

from msgspec import Struct

from service.audit.audit import AuditAnswer, Mode, audit
from service.audit.checks import COMPARES, WHOLE
from service.http.access import Request, post
from service.http.decode import read_body
from service.http.shared import shared
from service.ledger.books import BookMissingError
from service.ledger.queries import has_book
from service.platform.clock import Clock
from service.platform.database import Database

_AUDIT_SECONDS_MAX = 20.0


class AuditOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """What to audit; nothing: all of it, or in a large ledger what moved since the last audit."""

    mode: Mode | None = None
    participant_id: UUID | None = None
    after: UUID | None = None


@post("/v1/operator/ledger/audit", "operator:audit:read", body=AuditOrder)
async def audit_ledger(request: Request) -> AuditAnswer:
    """Recompute books, bubbles, limits and chains from what was written down, for 20 s at most."""
    order = await read_body(request, AuditOrder) if await request.body() else AuditOrder()
    database, whose = shared(request, Database), order.participant_id
    if whose is not None and not await has_book(database.reads, whose):
        raise BookMissingError(whose)
    return await audit(
        database,
        mode=order.mode,
        now=shared(request, Clock).now(),
        participant_id=whose,
        after=order.after or UUID(int=0),
        seconds_max=_AUDIT_SECONDS_MAX,
        more=COMPARES,
        whole=WHOLE,
    )
