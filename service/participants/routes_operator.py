"""Participants over HTTP, the operators' side: find, look, suspend, resume."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from service.http.access import Request, act_of, opens
from service.http.answer import Listing
from service.http.auth import Authenticator
from service.http.decode import Time, path_uuid, read_body, read_query
from service.http.pages import Page, paged
from service.http.shared import shared
from service.http.texts import nickname, prose
from service.ledger.balances import Balances
from service.participants.operate import (
    ParticipantView,
    get_view,
    list_by_subject,
    list_views,
    set_suspended,
)
from service.participants.queries import Suspension
from service.participants.routes import Totals
from service.platform.database import Database
from service.platform.errors import FieldError, InvalidRequestError
from service.platform.settings import Settings


class ParticipantSearch(Page, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom to find: by the token's subject, or by the name they show; nothing: all."""

    subject: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    alias: Annotated[str, Meta(min_length=1, max_length=64), nickname] | None = None


class ParticipantAnswer(Struct, frozen=True):
    """A participant; who was erased has a book and no name."""

    participant_id: UUID
    state: Literal["active", "suspended", "erased"]
    display_name: str | None
    region: str | None
    visibility: str | None
    created_at: Time | None
    balances: Balances
    totals: Totals
    suspension: Suspension | UnsetType = UNSET


class SuspensionOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Why: for the log, and for the person, who is told."""

    reason: Annotated[str, Meta(min_length=1, max_length=500), prose] | None = None


@get(
    "/v1/operator/participants",
    operation_id="findParticipants",
    **opens("operator:participants:read", query=ParticipantSearch),
)
async def find_participants(request: Request) -> Listing[ParticipantAnswer]:
    """Find participants by a token's subject (of every trusted issuer) or by display name."""
    search = read_query(request, ParticipantSearch)
    secret = shared(request, Settings).secret_key
    if search.subject is not None and (search.alias is not None or search.cursor is not None):
        name = "cursor" if search.alias is None else "alias"
        place = FieldError(f"#/query/{name}", "cannot be combined with subject")
        text = "/query/{name} cannot go with subject."
        raise InvalidRequestError(text, errors=(place,), name=name)
    async with shared(request, Database).sessions() as session:
        if search.subject is not None:
            issuers = shared(request, Authenticator).issuers("participant")
            found = await list_by_subject(session, secret, issuers, search.subject)
            await _log_look(request, "participants", _found("subject", found))
            return Listing([_answer(view) for view in found])
        page = paged(request, f"participants:{search.alias}", search, participant_id=UUID)
        views = await list_views(session, alias=search.alias, after=page.after, limit=page.rows)
    await _log_look(request, "participants", _found("alias", views[: search.limit]))
    return page.listing([_answer(view) for view in views])


@get(
    "/v1/operator/participants/{participant_id:str}",
    operation_id="getParticipant",
    **opens("operator:participants:read"),
)
async def get_participant(request: Request, participant_id: FromPath[str]) -> ParticipantAnswer:
    """One participant, also one who was erased."""
    wanted = path_uuid(participant_id)
    async with shared(request, Database).sessions() as session:
        answer = _answer(await get_view(session, wanted))
    await _log_look(request, participant_id, {})
    return answer


def _found(by: str, views: Sequence[ParticipantView]) -> dict[str, Any]:
    return {"by": by, "found": [str(view.participant_id) for view in views]}


async def _log_look(request: Request, object_id: str, detail: dict[str, Any]) -> None:
    """Log that an operator looked somebody up; whom they searched for is told by what was found."""
    async with shared(request, Database).transaction() as connection:
        await act_of(request).log(connection, "participant.find", object_id, detail)


@post(
    "/v1/operator/participants/{participant_id:str}/suspend",
    status_code=200,
    operation_id="suspendParticipant",
    **opens("operator:participants:write", body=SuspensionOrder, problems=("conflict",)),
)
async def suspend_participant(request: Request, participant_id: FromPath[str]) -> ParticipantAnswer:
    """Let nothing move in somebody's book, until they are resumed; reading goes on."""
    return await _set_suspended(request, participant_id, suspended=True)


@post(
    "/v1/operator/participants/{participant_id:str}/resume",
    status_code=200,
    operation_id="resumeParticipant",
    **opens("operator:participants:write", body=SuspensionOrder, problems=("conflict",)),
)
async def resume_participant(request: Request, participant_id: FromPath[str]) -> ParticipantAnswer:
    """End a suspension."""
    return await _set_suspended(request, participant_id, suspended=False)


async def _set_suspended(
    request: Request, participant_id: str, *, suspended: bool
) -> ParticipantAnswer:
    wanted = path_uuid(participant_id)
    has_body = bool(await request.body())
    order = await read_body(request, SuspensionOrder) if has_body else SuspensionOrder()
    await set_suspended(
        shared(request, Database),
        wanted,
        suspended,
        reason=order.reason,
        act=act_of(request),
    )
    async with shared(request, Database).sessions() as session:
        return _answer(await get_view(session, wanted))


def _answer(view: ParticipantView) -> ParticipantAnswer:
    return ParticipantAnswer(
        participant_id=view.participant_id,
        state=view.state,
        display_name=view.display_name,
        region=view.region,
        visibility=view.visibility,
        created_at=view.created_at,
        balances=view.balances,
        totals=Totals(view.earned_g, view.saved_g, view.trees),
        suspension=view.suspension or UNSET,
    )


routes: list[HTTPRouteHandler] = [
    find_participants,
    get_participant,
    suspend_participant,
    resume_participant,
]
