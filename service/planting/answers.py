"""What is told of planting: projects, pledges, and the public proof of a tree."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct, field

from service.http.decode import Time
from service.planting.pledge import Pledge
from service.planting.trees import Status, least_advanced
from service.platform.reads import Row


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


class PledgeStep(NamedTuple):
    """So many trees of a pledge changed together; `plot` is where, by name."""

    status: str
    at: datetime
    plot: str | None
    trees: int


class StoredPledge(NamedTuple):
    """What is told of a pledge's row."""

    id: UUID
    project_id: UUID
    amount_g: int
    dedication: str | None


P = TypeVar("P", bound=ProjectAnswer)


def project_answer(kind: type[P], project: Mapping[str, Any] | Row) -> P:
    """A project and its stock as the list of projects shows it, or as it is shown alone."""
    first, until = project["season_from"], project["season_until"]
    season = Season(first, until) if first and until else None
    return msgspec.convert({**project, "season": season, "funded": project["for_sale"]}, kind)


def pledge_answer(
    pledge: Pledge | StoredPledge,
    trees: Sequence[tuple[str, str]],
    steps: Iterable[PledgeStep],
    trees_url: str,
) -> PledgeAnswer:
    """A pledge as its owner sees it, with the number and status of each tree."""
    return PledgeAnswer(
        id=pledge.id,
        project_id=pledge.project_id,
        trees=len(trees),
        amount_g=pledge.amount_g,
        status=least_advanced(status for _, status in trees),
        certificates=[Certificate(number, trees_url + number) for number, _ in trees],
        timeline=[
            TimelineEntry(Status(step.status), step.at, _note(pledge, len(trees), step))
            for step in steps
        ],
    )


def answer_at_once(pledge: Pledge, trees_url: str) -> PledgeAnswer:
    """A pledge just made, or cancelled: no tree of it can have taken another step."""
    trees = [(tree.number, tree.status) for tree in pledge.trees]
    steps = [PledgeStep(Status.PLEDGED, pledge.created_at, None, len(trees))]
    if pledge.cancelled_at is not None:
        steps.append(PledgeStep(Status.CANCELLED, pledge.cancelled_at, None, len(trees)))
    return pledge_answer(pledge, trees, steps, trees_url)


def _note(pledge: Pledge | StoredPledge, trees: int, step: PledgeStep) -> str | None:
    """What a timeline says beside the status: the dedication, then where, and for how many."""
    if step.status == Status.PLEDGED:
        return pledge.dedication
    notes = [f"plot {step.plot}"] if step.plot else []
    if step.trees < trees:
        notes.append(f"{step.trees} of {trees} trees")
    return ", ".join(notes) or None
