"""Planting over HTTP: projects, pledges, and the public proof of a tree."""

from collections.abc import Callable
from functools import partial
from typing import Annotated
from uuid import UUID

import msgspec
from litestar.params import FromPath
from msgspec import Meta, Struct

from service.http.access import Request, caller, get, post
from service.http.answer import JsonAnswer, Listing, as_json
from service.http.decode import NoFields, path_uuid, read_body
from service.http.idempotency import key_of
from service.http.pages import Page, paged
from service.http.public_answer import public_answer
from service.http.shared import shared
from service.http.texts import prose
from service.ledger.lanes import answer_order
from service.planting.answers import (
    FundedProjectAnswer,
    PledgeAnswer,
    ProjectAnswer,
    TreeAnswer,
    answer_at_once,
    project_answer,
)
from service.planting.pledge import CancelOrder, Pledge, PledgeOrder
from service.planting.queries import get_pledge, get_project, get_tree, list_pledges, list_projects
from service.platform.database import Database
from service.platform.settings import Settings


class PledgeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to plant. The dedication stays between you and us."""

    project_id: UUID
    trees: Annotated[int, Meta(ge=1, le=1_000)]
    dedication: Annotated[str, Meta(min_length=1, max_length=200), prose] | None = None


@get(
    "/v1/projects",
    "public",
    operation_id="listProjects",
    query=Page,
    answer=Listing[ProjectAnswer],
    is_kept=True,
)
async def list_all_projects(request: Request) -> JsonAnswer:
    """The planting projects, in the order in which they were opened."""
    page = paged(request, "projects", id=UUID)
    reads = shared(request, Database).reads
    rows = await list_projects(reads, after=page.after, limit=page.rows)
    listing = page.listing([project_answer(ProjectAnswer, row) for row in rows])
    return public_answer(request, msgspec.json.encode(listing))


@get(
    "/v1/projects/{project_id:str}",
    "public",
    operation_id="getProject",
    answer=FundedProjectAnswer,
    is_kept=True,
)
async def get_one_project(request: Request, project_id: FromPath[str]) -> JsonAnswer:
    """One project."""
    row = await get_project(shared(request, Database).reads, path_uuid(project_id))
    found = project_answer(FundedProjectAnswer, row)
    return public_answer(request, msgspec.json.encode(found))


@post(
    "/v1/me/pledges",
    "participant",
    status=201,
    body=PledgeBody,
    answer=PledgeAnswer,
    key_required=True,
    problems=("not-found", "insufficient-energy", "sold-out", "season-closed"),
)
async def make_pledge(request: Request) -> JsonAnswer:
    """Promise available energy to a project, for one or more trees."""
    body = await read_body(request, PledgeBody)
    order = PledgeOrder(
        caller(request).participant_id,
        key=await key_of(request),
        tell=_telling(request),
        status=201,
        project_id=body.project_id,
        trees=body.trees,
        dedication=body.dedication,
    )
    return await answer_order(request, order)


@get(
    "/v1/me/pledges",
    "participant",
    operation_id="listPledges",
    query=Page,
    answer=Listing[PledgeAnswer],
)
async def list_my_pledges(request: Request) -> JsonAnswer:
    """My pledges, the last one first."""
    participant_id, reads = caller(request).participant_id, shared(request, Database).reads
    page = paged(request, f"pledges:{participant_id}", id=UUID)
    items, more = await list_pledges(
        reads, participant_id, _trees_url(request), after=page.after, limit=page.limit
    )
    return as_json(Listing(items, page.cursor([items[-1].id]) if more else None))


@get("/v1/me/pledges/{pledge_id:str}", "participant", operation_id="getPledge", answer=PledgeAnswer)
async def get_my_pledge(request: Request, pledge_id: FromPath[str]) -> JsonAnswer:
    """One of my pledges, with how far its trees are."""
    wanted, owner = path_uuid(pledge_id), caller(request).participant_id
    reads = shared(request, Database).reads
    return as_json(await get_pledge(reads, owner, wanted, _trees_url(request)))


@post(
    "/v1/me/pledges/{pledge_id:str}/cancel",
    "participant",
    body=NoFields,
    answer=PledgeAnswer,
    problems=("pledge-not-cancellable",),
)
async def cancel_pledge(request: Request, pledge_id: FromPath[str]) -> JsonAnswer:
    """Take a pledge back, as long as none of its trees has a plot."""
    wanted = path_uuid(pledge_id)
    await read_body(request, NoFields)
    order = CancelOrder(
        caller(request).participant_id,
        key=await key_of(request),
        tell=_telling(request),
        pledge_id=wanted,
    )
    return await answer_order(request, order)


@get("/v1/trees/{number:str}", "public", operation_id="getTree", answer=TreeAnswer, is_kept=True)
async def get_one_tree(request: Request, number: FromPath[str]) -> JsonAnswer:
    """The public proof of a tree, by its number as people type it."""
    found = await get_tree(shared(request, Database).reads, number, _trees_url(request))
    return public_answer(request, msgspec.json.encode(found))


def _telling(request: Request) -> Callable[[Pledge], PledgeAnswer]:
    return partial(answer_at_once, trees_url=_trees_url(request))


def _trees_url(request: Request) -> str:
    """Where trees are: their numbers follow."""
    base = shared(request, Settings).public_url or str(request.base_url)
    return f"{base.rstrip('/')}/v1/trees/"
