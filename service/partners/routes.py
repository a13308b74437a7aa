"""Links over HTTP: a person gives a code, a partner links by it; the person looks, and unlinks."""

from typing import Annotated

from litestar.params import FromPath
from msgspec import Meta, Struct

from service.http.access import Request, caller, delete, get, post
from service.http.answer import JsonAnswer, Listing, answer_once, as_json
from service.http.decode import Time, parse, read_body
from service.http.pages import Page, paged
from service.http.shared import shared
from service.http.texts import reference
from service.participants.links import CodeAnswer, link_subject, make_link_code, unlink
from service.partners.administer import require_enabled
from service.partners.receive import Intake
from service.partners.release import release_new_link
from service.partners.routes_signed import signed
from service.platform.clock import Clock
from service.platform.database import Connection, Database


class CodeOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Which partner may link me."""

    partner_id: Annotated[str, Meta(min_length=1, max_length=63)]


class MyLink(Struct, frozen=True):
    """A partner whose events are mine."""

    partner_id: str
    partner_name: str
    linked_at: Time


class LinkOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The person's consent and the partner's own reference of the person."""

    link_code: Annotated[str, Meta(min_length=1, max_length=64)]
    subject: Annotated[str, Meta(min_length=1, max_length=256), reference]


class LinkAnswer(Struct, frozen=True):
    """From here on the partner's events with this subject are the person's."""

    partner_id: str
    subject: str
    linked_at: Time


@post(
    "/v1/me/links",
    "participant",
    status=201,
    operation_id="makeLinkCode",
    body=CodeOrder,
    answer=CodeAnswer,
    problems=("not-found",),
)
async def make_code(request: Request) -> JsonAnswer:
    """A code that lets a partner link its reference to me: single use, 10 minutes."""
    order = await read_body(request, CodeOrder)
    participant_id, real_now = caller(request).participant_id, shared(request, Clock).real_now()

    async def effect(connection: Connection) -> CodeAnswer:
        await require_enabled(connection, order.partner_id)
        code_key = shared(request, Intake).identifier.code_key
        return await make_link_code(
            connection, participant_id, order.partner_id, code_key, real_now=real_now
        )

    return await answer_once(request, effect)


@get("/v1/me/links", "participant", query=Page, answer=Listing[MyLink])
async def list_my_links(request: Request) -> JsonAnswer:
    """Who may tell of me; one entry for each of a partner's references."""
    participant_id = caller(request).participant_id
    page = paged(request, f"links:{participant_id}", partner_id=str, subject_key=bytes)
    rows = await shared(request, Database).reads.fetch(
        _LINKS, participant_id, *(page.after or ("", b"")), page.rows
    )
    items = [MyLink(partner_id, name, at) for partner_id, _, name, at in rows]
    return as_json(page.listing(items, [(row[0], row[1]) for row in rows]))


@delete("/v1/me/links/{partner_id:str}", "participant")
async def unlink_me(request: Request, partner_id: FromPath[str]) -> None:
    """Take my consent back: what the partner sends from here on waits, and is forgotten."""
    async with shared(request, Database).transaction() as connection:
        owner = caller(request).participant_id
        await unlink(connection, owner, partner_id, shared(request, Clock).now())


@post(
    "/v1/partners/{partner_id:str}/links",
    "partner",
    status=201,
    operation_id="linkSubject",
    body=LinkOrder,
    problems=("not-found",),
)
async def link_one(request: Request, partner_id: FromPath[str]) -> LinkAnswer:
    """Link a reference to the person who gave the code; what waited for it is recorded."""
    sent = await signed(request, partner_id)
    order = parse(sent.body, LinkOrder)
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


_LINKS = """
SELECT l.partner_id, l.subject_key, p.name, l.linked_at
FROM links l JOIN partners p ON p.id = l.partner_id
WHERE l.participant_id = $1 AND l.ended_at IS NULL AND (l.partner_id, l.subject_key) > ($2, $3)
ORDER BY l.partner_id, l.subject_key LIMIT $4"""
