"""What partners ask beside sending events: link a person, see what is parked. All is signed."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from service.actions.event_rows import KEPT, list_parked
from service.actions.models import PartnerEvent
from service.http.access import Request, opens
from service.http.answer import Listing
from service.http.decode import Time, parse, read_query
from service.http.pages import Page, paged
from service.http.shared import shared
from service.participants.links import link_subject
from service.partners.receive import Intake
from service.partners.release import release_new_link
from service.partners.routes_signed import signed
from service.platform.clock import Clock
from service.platform.database import Database
from service.platform.errors import FieldError, InvalidRequestError
from service.rules.decide.normal_form import tidied
from service.rules.told import Told


class LinkOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The person's consent and the partner's own reference of the person."""

    link_code: Annotated[str, Meta(min_length=1, max_length=64)]
    subject: Annotated[str, Meta(min_length=1, max_length=256)]


class LinkAnswer(Struct, frozen=True):
    """From here on the partner's events with this subject are the person's."""

    partner_id: str
    subject: str
    linked_at: Time


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


@post(
    "/v1/partners/{partner_id:str}/links",
    status_code=201,
    operation_id="linkSubject",
    **opens("partner", body=LinkOrder, problems=("not-found",)),
)
async def link_one(request: Request, partner_id: FromPath[str]) -> LinkAnswer:
    """Link a reference to the person who gave the code; what waited for it is recorded."""
    sent = await signed(request, partner_id)
    order = parse(sent.body, LinkOrder)
    if tidied(order.subject) != order.subject:
        detail = Told("must be in NFKC, without white space and invisible characters at its ends")
        errors = (FieldError("#/subject", detail),)
        raise InvalidRequestError("The subject does not look like what it is.", errors=errors)
    intake, now = shared(request, Intake), shared(request, Clock).now()
    subject = (sent.partner.id, intake.identifier.subject_key(sent.partner.id, order.subject))
    await link_subject(
        intake.database,
        subject,
        intake.identifier.code_key(order.link_code),
        now=now,
        real_now=intake.clock.real_now(),
    )
    await release_new_link(intake, subject)
    return LinkAnswer(sent.partner.id, order.subject, now)


@get(
    "/v1/partners/{partner_id:str}/parked",
    operation_id="listMyParkedEvents",
    **opens("partner", query=OwnParkedSearch),
)
async def list_own_parked(request: Request, partner_id: FromPath[str]) -> Listing[ParkedAnswer]:
    """My events that wait, or waited in vain; the first to come first. An empty body is signed."""
    sent = await signed(request, partner_id)
    search = read_query(request, OwnParkedSearch)
    kind = f"{search.state}:{sent.partner.id}"
    page = paged(request, kind, search, received_at=datetime, event_key=UUID)
    async with shared(request, Database).sessions() as session:
        rows = await list_parked(
            session,
            state=search.state,
            partner_id=sent.partner.id,
            after=page.after,
            limit=page.rows,
        )
    keys = [(row.received_at, UUID(bytes=row.event_key)) for row in rows]
    return page.listing([_answer(row) for row in rows], keys)


def _answer(row: PartnerEvent) -> ParkedAnswer:
    body = row.body or {}
    time = body.get("time")
    return ParkedAnswer(
        row.event_id,
        row.source,
        body.get("type"),
        body.get("subject"),
        datetime.fromisoformat(time) if time else None,
        row.reason or "",
        row.received_at,
        row.received_at + KEPT,
    )


routes: list[HTTPRouteHandler] = [link_one, list_own_parked]
