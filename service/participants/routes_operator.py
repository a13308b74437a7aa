"""Participants over HTTP, the operators' side: find, look, suspend, resume."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from litestar.params import FromPath
from msgspec import Meta, Struct

from service.http.access import Request, act_of, get, log_act, post
from service.http.answer import Listing
from service.http.auth import Authenticator
from service.http.decode import path_uuid, read_body, read_query
from service.http.pages import Page, paged
from service.http.shared import shared
from service.http.texts import nickname, prose
from service.ledger.books import BookMissingError
from service.participants.operate import set_suspended
from service.participants.queries import (
    ParticipantAnswer,
    find_participant,
    list_by_alias,
    list_by_subject,
)
from service.platform.database import Database
from service.platform.errors import FieldError, InvalidRequestError
from service.platform.settings import Settings

# That an operator looked somebody up; whom they searched for is told by what was found.
_FIND = "participant.find"


class ParticipantSearch(Page, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom to find: by the token's subject, or by the name they show; nothing: all."""

    subject: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    alias: Annotated[str, Meta(min_length=1, max_length=64), nickname] | None = None


class SuspensionOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Why: for the log, and for the person, who is told."""

    reason: Annotated[str, Meta(min_length=1, max_length=500), prose] | None = None


@get("/v1/operator/participants", "operator:participants:read", query=ParticipantSearch)
async def find_participants(request: Request) -> Listing[ParticipantAnswer]:
    """Find participants by a token's subject (of every trusted issuer) or by display name."""
    search = read_query(request, ParticipantSearch)
    secret = shared(request, Settings).secret_key
    if search.subject is not None and (search.alias is not None or search.cursor is not None):
        name = "cursor" if search.alias is None else "alias"
        place = FieldError(f"#/query/{name}", "cannot be combined with subject")
        text = "/query/{name} cannot go with subject."
        raise InvalidRequestError(text, errors=(place,), name=name)
    reads = shared(request, Database).reads
    if search.subject is not None:
        issuers = shared(request, Authenticator).issuers("participant")
        found = await list_by_subject(reads, secret, issuers, search.subject)
        await log_act(request, _FIND, "participants", _found("subject", found))
        return Listing(found)
    page = paged(request, f"participants:{search.alias}", search, participant_id=UUID)
    found = await list_by_alias(reads, alias=search.alias, after=page.after, limit=page.rows)
    await log_act(request, _FIND, "participants", _found("alias", found[: search.limit]))
    return page.listing(found)


@get("/v1/operator/participants/{participant_id:str}", "operator:participants:read")
async def get_participant(request: Request, participant_id: FromPath[str]) -> ParticipantAnswer:
    """One participant, also one who was erased."""
    wanted = path_uuid(participant_id)
    answer = await _shown(shared(request, Database), wanted)
    await log_act(request, _FIND, participant_id, {})
    return answer


def _found(by: str, found: Sequence[ParticipantAnswer]) -> dict[str, Any]:
    return {"by": by, "found": [str(each.participant_id) for each in found]}


@post(
    "/v1/operator/participants/{participant_id:str}/suspend",
    "operator:participants:write",
    body=SuspensionOrder,
    problems=("conflict",),
)
async def suspend_participant(request: Request, participant_id: FromPath[str]) -> ParticipantAnswer:
    """Let nothing move in somebody's book, until they are resumed; reading goes on."""
    return await _set_suspended(request, participant_id, suspended=True)


@post(
    "/v1/operator/participants/{participant_id:str}/resume",
    "operator:participants:write",
    body=SuspensionOrder,
    problems=("conflict",),
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
    database, act = shared(request, Database), act_of(request)
    await set_suspended(database, wanted, suspended=suspended, reason=order.reason, act=act)
    return await _shown(database, wanted)


async def _shown(database: Database, participant_id: UUID) -> ParticipantAnswer:
    found = await find_participant(database.reads, participant_id)
    if found is None:
        raise BookMissingError(participant_id)
    return found
