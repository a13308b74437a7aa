"""Planting over HTTP, the operators' side: projects, plots, and how far the trees are."""

from datetime import UTC
from itertools import chain
from typing import Annotated, Any
from uuid import UUID

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType, structs, to_builtins

from service.http.access import Request, act_of, patch, post
from service.http.answer import JsonAnswer, answer_once
from service.http.decode import Time, path_uuid, read_body
from service.http.faults import fault
from service.http.shared import shared
from service.http.texts import label
from service.ledger.lanes import Lanes
from service.planting.advance import StepOrder, advance_trees
from service.planting.allocate import allocate_trees
from service.planting.answers import FundedProjectAnswer, Season, project_answer
from service.planting.chunks import PlotStepAnswer
from service.planting.positions import Geometry, Position, geometry_of, position_faults
from service.planting.projects import (
    PlotFacts,
    ProjectFacts,
    change_project,
    make_plot,
    make_project,
)
from service.planting.queries import get_project
from service.planting.trees import Status
from service.platform.database import Connection, Database
from service.platform.errors import FieldError

Name = Annotated[str, Meta(min_length=1, max_length=200), label]
Country = Annotated[str, Meta(min_length=2, max_length=64), label]
# The last part: `$` alone also matches before a line end.
Url = Annotated[str, Meta(max_length=2_048, pattern=r"^https?://[^\s/?#]+\S*$(?!\n)")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{64}$(?!\n)")]
Grams = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Trees = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Funded = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class ProjectBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A planting project. No season: always open; no `funded`: all of the capacity."""

    name: Name
    species: Name
    place: Name
    country: Country
    price_g: Grams
    capacity: Trees
    partner: Name
    season: Season | None = None
    funded: Funded | None = None
    image_url: Url | None = None


class ProjectChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """What changes; prices and seasons do so for pledges from now on."""

    name: Name | UnsetType = UNSET
    species: Name | UnsetType = UNSET
    place: Name | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    price_g: Grams | UnsetType = UNSET
    capacity: Trees | UnsetType = UNSET
    partner: Name | UnsetType = UNSET
    season: Season | UnsetType | None = UNSET
    funded: Funded | UnsetType | None = UNSET
    image_url: Url | UnsetType | None = UNSET


class PlotBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A plot of a project. Of a GeoJSON Feature its geometry is kept."""

    name: Name
    position: Position
    area_m2: Annotated[float, Meta(gt=0, le=1e12)]


class PlotAnswer(Struct, frozen=True):
    """A plot as it was stored."""

    id: UUID
    project_id: UUID
    name: str
    position: Geometry
    area_m2: float


class AllocateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """How many trees get a place."""

    trees: Annotated[int, Meta(ge=1, le=1_000_000)]


class EvidenceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A photo or paper that anybody can fetch and compare with its hash."""

    url: Url
    sha256: Sha256
    taken_at: Time
    position: Position


class StepBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What shows the step, and which trees took it: all that can, if none is named."""

    evidence: Annotated[list[EvidenceBody], Meta(max_length=50)]
    trees: (
        Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(min_length=1, max_length=10_000)]
        | None
    ) = None


@post(
    "/v1/operator/projects",
    "operator:planting:write",
    status=201,
    operation_id="makeProject",
    body=ProjectBody,
    answer=FundedProjectAnswer,
    takes_key=True,
)
async def make_one_project(request: Request) -> JsonAnswer:
    """Open a project."""
    body = await read_body(request, ProjectBody)
    facts = ProjectFacts(**_project_fields(body))

    async def effect(connection: Connection) -> FundedProjectAnswer:
        project_id = await make_project(connection, facts, act_of(request))
        stock = {"for_sale": facts.for_sale, "pledged": 0, "planted": 0, "verified": 0}
        return project_answer(
            FundedProjectAnswer, {"id": project_id, **structs.asdict(facts), **stock}
        )

    return await answer_once(request, effect)


@patch(
    "/v1/operator/projects/{project_id:str}",
    "operator:planting:write",
    operation_id="changeProject",
    body=ProjectChanges,
    problems=("project-capacity",),
)
async def change_one_project(request: Request, project_id: FromPath[str]) -> FundedProjectAnswer:
    """Change a project; what was pledged stays as it was."""
    wanted = path_uuid(project_id)
    changes = _project_fields(await read_body(request, ProjectChanges))
    async with shared(request, Database).transaction() as connection:
        await change_project(connection, wanted, changes, act_of(request))
    row = await get_project(shared(request, Database).reads, wanted)
    return project_answer(FundedProjectAnswer, row)


@post(
    "/v1/operator/projects/{project_id:str}/plots",
    "operator:planting:write",
    status=201,
    operation_id="makePlot",
    body=PlotBody,
    answer=PlotAnswer,
    takes_key=True,
)
async def make_one_plot(request: Request, project_id: FromPath[str]) -> JsonAnswer:
    """Add a plot to a project."""
    wanted = path_uuid(project_id)
    body = await read_body(request, PlotBody)
    _refuse([*position_faults(body.position, "#/position")])
    kept = geometry_of(body.position)
    facts = PlotFacts(body.name, to_builtins(kept), body.area_m2)

    async def effect(connection: Connection) -> PlotAnswer:
        plot_id = await make_plot(connection, wanted, facts, act_of(request))
        return PlotAnswer(plot_id, wanted, body.name, kept, body.area_m2)

    return await answer_once(request, effect)


@post(
    "/v1/operator/plots/{plot_id:str}/allocate",
    "operator:planting:write",
    operation_id="allocateTrees",
    body=AllocateBody,
    problems=("tree-status",),
)
async def allocate(request: Request, plot_id: FromPath[str]) -> PlotStepAnswer:
    """Give waiting trees a place in the plot: lost ones first, then the oldest pledges.

    Fewer, when fewer wait. When a call was cut short, the next one goes on with what it left.
    """
    wanted = path_uuid(plot_id)
    body = await read_body(request, AllocateBody)
    lanes = shared(request, Lanes)
    return await allocate_trees(lanes.database, lanes.batch, wanted, body.trees, act_of(request))


def _marks(step: Status, operation_id: str, summary: str) -> HTTPRouteHandler:
    """A route that tells of a step of a plot's trees: what shows it, and which of them took it."""

    async def mark(request: Request, plot_id: FromPath[str]) -> PlotStepAnswer:
        wanted = path_uuid(plot_id)
        body = await read_body(request, StepBody)
        faults = [
            position_faults(item.position, f"#/evidence/{index}/position")
            for index, item in enumerate(body.evidence)
        ]
        _refuse([*chain.from_iterable(faults)])
        order = StepOrder(wanted, step, [_evidence(item) for item in body.evidence], body.trees)
        lanes = shared(request, Lanes)
        return await advance_trees(lanes.database, lanes.batch, order, act_of(request))

    mark.__doc__ = summary
    return post(
        f"/v1/operator/plots/{{plot_id:str}}/{step}",
        "operator:planting:write",
        operation_id=operation_id,
        body=StepBody,
        problems=("tree-status",),
    )(mark)


def _evidence(item: EvidenceBody) -> Any:
    """As JSON has it: what is compared is of one form."""
    kept = structs.replace(
        item,
        sha256=item.sha256.lower(),
        taken_at=item.taken_at.astimezone(UTC),
        position=geometry_of(item.position),
    )
    return to_builtins(kept)


def _project_fields(body: ProjectBody | ProjectChanges) -> dict[str, Any]:
    """The fields that were sent, as ProjectFacts has them. Raises InvalidRequestError."""
    fields = {name: value for name, value in structs.asdict(body).items() if value is not UNSET}
    capacity, funded = fields.get("capacity"), fields.get("funded")
    if capacity is not None and funded is not None and funded > capacity:
        raise fault("#/funded", "must be at most the capacity, {most}", most=capacity)
    if "season" in fields:
        season: Season | None = fields.pop("season")
        if season and season.until <= season.from_:
            raise fault("#/season/until", "must be after the first day: on it all is over")
        first, until = (season.from_, season.until) if season else (None, None)
        fields |= {"season_from": first, "season_until": until}
    return fields


def _refuse(faults: list[FieldError]) -> None:
    if faults:
        error = fault(faults[0].pointer, faults[0].detail)
        error.errors = tuple(faults[:20])
        raise error


mark_planted = _marks(
    Status.PLANTED,
    "markPlanted",
    "Tell that allocated trees of the plot stand: now their grams are spent.",
)
mark_verified = _marks(
    Status.VERIFIED, "markVerified", "Tell that somebody looked at planted trees of the plot."
)
mark_lost = _marks(
    Status.LOST,
    "markLost",
    "Tell that trees of the plot died; they wait for a place again, paid as they are.",
)
