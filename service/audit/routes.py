"""The audit over HTTP: a part of it in the time of a request."""

from typing import Literal
from uuid import UUID

from litestar import post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from service.audit.audit import AuditReport, audit, choose_mode
from service.audit.checks import COMPARES, WHOLE
from service.http.access import Request, opens
from service.http.decode import read_body
from service.http.shared import shared
from service.ledger.books import BookMissingError
from service.ledger.queries import has_book
from service.platform.clock import Clock
from service.platform.database import Database

_AUDIT_SECONDS_MAX = 20.0


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


routes: list[HTTPRouteHandler] = [audit_ledger]
