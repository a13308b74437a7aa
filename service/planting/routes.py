"""Planting over HTTP: projects, pledges, and the public proof of a tree."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct, field

from service.http.access import Request, caller, opens
from service.http.answer import JsonAnswer, Listing, answer_once
from service.http.decode import NoFields, Time, path_uuid, read_body
from service.http.keys import idempotency_key
from service.http.pages import Page, paged
from service.http.public_answer import public_answer
from service.http.shared import shared
from service.http.texts import prose
from service.ledger.books import hold_open
from service.ledger.models import Transfer
from service.planting import models
from service.planting.cancel import cancel_pledge
from service.planting.pledge import PledgeOrder, pledge_trees
from service.planting.projects import ProjectFacts
from service.planting.queries import (
    PledgeStep,
    PledgeView,
    TreeStepView,
    get_pledge,
    get_project,
    get_tree,
    list_pledges,
    list_projects,
    view_at_once,
)
from service.planting.trees import Status
from service.platform.clock import Clock
from service.platform.database import Connection, Database
from service.platform.outbox import lane_of
from service.platform.settings import Settings
from service.rulebooks.publish import Rulebooks


class Season(Struct, frozen=True, forbid_unknown_fields=True):
    """When trees can be pledged, in days of the programme: from the first one, before `until`."""

    from_: date = field(name="from")
    until: date


class ProjectAnswer(Struct, frozen=True):
    """A planting project. Without a season it is always open."""

    id: UUID
    name: str
    species: str
    place: str
    country: str
    price_g: int
    capacity: int
    pledged: int
    planted: int
    verified: int
    season: Season | None
    partner: str
    image_url: str | None


class FundedProjectAnswer(ProjectAnswer, frozen=True):
    """A project with how many of its trees are paid for: so many can be pledged."""

    funded: int


class PledgeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to plant. The dedication stays between you and us."""

    project_id: UUID
    trees: Annotated[int, Meta(ge=1, le=1_000)]
    dedication: Annotated[str, Meta(min_length=1, max_length=200), prose] | None = None


class Certificate(Struct, frozen=True):
    """A tree's number, and where its public proof is."""

    number: str
    tree_url: str


class TimelineEntry(Struct, frozen=True):
    """A change of some or all trees of a pledge."""

    status: Status
    at: Time
    note: str | None


class PledgeAnswer(Struct, frozen=True):
    """A pledge; its status is that of its least advanced tree."""

    id: UUID
    project_id: UUID
    trees: int
    amount_g: int
    status: Status
    certificates: list[Certificate]
    timeline: list[TimelineEntry]


class TreeProject(Struct, frozen=True):
    """The project of a tree."""

    id: UUID
    name: str
    place: str
    country: str
    partner: str


class TreePlot(Struct, frozen=True):
    """Where a tree stands: `position` is a GeoJSON Point, Polygon or MultiPolygon."""

    id: UUID
    name: str
    position: dict[str, Any]
    area_m2: float


class EvidenceAnswer(Struct, frozen=True):
    """A photo or paper: who fetches it can compare it with its hash."""

    url: str
    sha256: str
    taken_at: Time
    position: dict[str, Any]


class TreeTimelineEntry(Struct, frozen=True):
    """A change of a tree: where, and how it was shown."""

    status: Status
    at: Time
    plot: TreePlot | None
    evidence: list[EvidenceAnswer]


class TreeTransfer(Struct, frozen=True):
    """A move of grams in the ledger of the tree's owner, named by its hash in the book's chain."""

    cause: Literal["pledge", "plant"]
    amount_g: int
    at: Time
    hash: str


class TreePaid(Struct, frozen=True):
    """What the tree cost, and the transfers that hold its grams, perhaps with those of others."""

    amount_g: int
    transfers: list[TreeTransfer]


class TreeAnswer(Struct, frozen=True):
    """The public proof of a tree; it tells nothing of the person."""

    number: str
    tree_url: str
    status: Status
    species: str
    project: TreeProject
    plot: TreePlot | None
    timeline: list[TreeTimelineEntry]
    paid: TreePaid


@get(
    "/v1/projects",
    operation_id="listProjects",
    **opens("public", query=Page, answer=Listing[ProjectAnswer], is_kept=True),
)
async def list_all_projects(request: Request) -> JsonAnswer:
    """The planting projects, in the order in which they were opened."""
    page = paged(request, "projects", id=UUID)
    async with shared(request, Database).sessions() as session:
        rows = await list_projects(session, after=page.after, limit=page.rows)
    listing = page.listing([project_answer(*row) for row in rows])
    return public_answer(request, msgspec.json.encode(listing))


@get(
    "/v1/projects/{project_id:str}",
    operation_id="getProject",
    **opens("public", answer=FundedProjectAnswer, is_kept=True),
)
async def get_one_project(request: Request, project_id: FromPath[str]) -> JsonAnswer:
    """One project."""
    async with shared(request, Database).sessions() as session:
        found = funded_project_answer(*await get_project(session, path_uuid(project_id)))
    return public_answer(request, msgspec.json.encode(found))


@post(
    "/v1/me/pledges",
    status_code=201,
    operation_id="makePledge",
    **opens(
        "participant",
        body=PledgeBody,
        answer=PledgeAnswer,
        key_required=True,
        problems=("not-found", "insufficient-energy", "sold-out", "season-closed"),
    ),
)
async def make_pledge(request: Request) -> JsonAnswer:
    """Promise available energy to a project, for one or more trees."""
    body = await read_body(request, PledgeBody)
    key = idempotency_key(request, await request.body(), required=True)
    participant_id = caller(request).participant_id

    async def effect(connection: Connection) -> PledgeAnswer:
        pledge = await pledge_trees(
            connection,
            PledgeOrder(participant_id, body.project_id, body.trees, body.dedication),
            now=shared(request, Clock).now(),
            local_date=shared(request, Rulebooks).active.program.local_date,
            lane=lane_of(participant_id, shared(request, Settings).lanes),
        )
        return _pledge_answer(request, view_at_once(pledge))

    return await answer_once(request, key, effect, status=201, hold=hold_open)


@get("/v1/me/pledges", operation_id="listPledges", **opens("participant", query=Page))
async def list_my_pledges(request: Request) -> Listing[PledgeAnswer]:
    """My pledges, the last one first."""
    participant_id = caller(request).participant_id
    page = paged(request, f"pledges:{participant_id}", id=UUID)
    async with shared(request, Database).sessions() as session:
        views, more = await list_pledges(
            session, participant_id, after=page.after, limit=page.limit
        )
    items = [_pledge_answer(request, view) for view in views]
    return Listing(items, page.cursor([items[-1].id]) if more else None)


@get("/v1/me/pledges/{pledge_id:str}", operation_id="getPledge", **opens("participant"))
async def get_my_pledge(request: Request, pledge_id: FromPath[str]) -> PledgeAnswer:
    """One of my pledges, with how far its trees are."""
    wanted = path_uuid(pledge_id)
    async with shared(request, Database).sessions() as session:
        view = await get_pledge(session, caller(request).participant_id, wanted)
    return _pledge_answer(request, view)


@post(
    "/v1/me/pledges/{pledge_id:str}/cancel",
    status_code=200,
    operation_id="cancelPledge",
    **opens(
        "participant",
        body=NoFields,
        answer=PledgeAnswer,
        problems=("pledge-not-cancellable",),
    ),
)
async def cancel_my_pledge(request: Request, pledge_id: FromPath[str]) -> JsonAnswer:
    """Take a pledge back, as long as none of its trees has a plot."""
    wanted = path_uuid(pledge_id)
    await read_body(request, NoFields)
    key = idempotency_key(request, await request.body())
    participant_id = caller(request).participant_id

    async def effect(connection: Connection) -> PledgeAnswer:
        pledge = await cancel_pledge(
            connection,
            participant_id,
            wanted,
            now=shared(request, Clock).now(),
            local_date=shared(request, Rulebooks).active.program.local_date,
            lane=lane_of(participant_id, shared(request, Settings).lanes),
        )
        return _pledge_answer(request, view_at_once(pledge))

    return await answer_once(request, key, effect, hold=hold_open)


@get(
    "/v1/trees/{number:str}",
    operation_id="getTree",
    **opens("public", answer=TreeAnswer, is_kept=True),
)
async def get_one_tree(request: Request, number: FromPath[str]) -> JsonAnswer:
    """The public proof of a tree, by its number as people type it."""
    async with shared(request, Database).sessions() as session:
        view = await get_tree(session, number)
    found = TreeAnswer(
        number=view.tree.number,
        tree_url=_tree_url(request, view.tree.number),
        status=Status(view.tree.status),
        species=view.project.species,
        project=TreeProject(
            view.project.id,
            view.project.name,
            view.project.place,
            view.project.country,
            view.project.partner,
        ),
        plot=_plot(view.plot),
        timeline=[_tree_entry(step) for step in view.steps],
        paid=_paid(view.tree, view.transfers),
    )
    return public_answer(request, msgspec.json.encode(found))


def project_answer(project: models.Project, stock: models.Stock) -> ProjectAnswer:
    """A project as the list of projects shows it."""
    return ProjectAnswer(**_project_fields(project.id, project, stock))


def funded_project_answer(project: models.Project, stock: models.Stock) -> FundedProjectAnswer:
    """A project as it is shown alone."""
    fields = _project_fields(project.id, project, stock)
    return FundedProjectAnswer(**fields, funded=stock.for_sale)


def new_project_answer(project_id: UUID, facts: ProjectFacts) -> FundedProjectAnswer:
    """A project that was just opened; nobody has pledged to it."""
    return FundedProjectAnswer(**_project_fields(project_id, facts, None), funded=facts.for_sale)


def _project_fields(
    project_id: UUID, facts: models.Project | ProjectFacts, stock: models.Stock | None
) -> dict[str, Any]:
    told = ("name", "species", "place", "country", "price_g", "capacity", "partner", "image_url")
    season = None
    if facts.season_from and facts.season_until:
        season = Season(facts.season_from, facts.season_until)
    counts = ("pledged", "planted", "verified")
    return {
        "id": project_id,
        "season": season,
        **{name: getattr(facts, name) for name in told},
        **{name: getattr(stock, name) if stock else 0 for name in counts},
    }


def _pledge_answer(request: Request, view: PledgeView) -> PledgeAnswer:
    return PledgeAnswer(
        id=view.id,
        project_id=view.project_id,
        trees=len(view.numbers),
        amount_g=view.amount_g,
        status=view.status,
        certificates=[Certificate(number, _tree_url(request, number)) for number in view.numbers],
        timeline=[TimelineEntry(step.status, step.at, _note(view, step)) for step in view.steps],
    )


def _note(view: PledgeView, step: PledgeStep) -> str | None:
    """What a timeline says beside the status: the dedication, then where, and for how many."""
    if step.status is Status.PLEDGED:
        return view.dedication
    notes = [f"plot {step.plot}"] if step.plot else []
    if step.trees < len(view.numbers):
        notes.append(f"{step.trees} of {len(view.numbers)} trees")
    return ", ".join(notes) or None


def _tree_url(request: Request, number: str) -> str:
    base = shared(request, Settings).public_url or str(request.base_url)
    return f"{base.rstrip('/')}/v1/trees/{number}"


def _tree_entry(step: TreeStepView) -> TreeTimelineEntry:
    return TreeTimelineEntry(
        step.status,
        step.at,
        _plot(step.plot),
        msgspec.convert(step.evidence, list[EvidenceAnswer]),
    )


def _plot(plot: models.Plot | None) -> TreePlot | None:
    if plot is None:
        return None
    return TreePlot(plot.id, plot.name, plot.position, plot.area_m2)


def _paid(tree: models.Tree, transfers: Sequence[Transfer]) -> TreePaid:
    return TreePaid(
        tree.price_g,
        [
            TreeTransfer(
                "pledge" if transfer.seq == tree.pledged_seq else "plant",
                transfer.amount_g,
                transfer.at,
                transfer.hash.hex(),
            )
            for transfer in transfers
        ],
    )


routes: list[HTTPRouteHandler] = [
    list_all_projects,
    get_one_project,
    make_pledge,
    list_my_pledges,
    get_my_pledge,
    cancel_my_pledge,
    get_one_tree,
]
