"""What people read about planting: projects, their own pledges, and the proof of one tree."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from service.ledger.models import Transfer
from service.planting import models
from service.planting.pledge import Pledge
from service.planting.tree_numbers import parse_number
from service.planting.trees import Status, least_advanced
from service.platform.errors import NotFoundError

TREES_A_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class PledgeStep:
    """So many trees of a pledge changed together; `plot` is where, by name."""

    status: Status
    at: datetime
    plot: str | None
    trees: int


@dataclass(frozen=True, slots=True)
class PledgeView:
    """A pledge as its owner sees it; its status is that of its least advanced tree."""

    id: UUID
    project_id: UUID
    amount_g: int
    dedication: str | None
    status: Status
    numbers: list[str]
    steps: list[PledgeStep]


@dataclass(frozen=True, slots=True)
class TreeStepView:
    """One step of a tree with its evidence."""

    status: Status
    at: datetime
    plot: models.Plot | None
    evidence: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TreeView:
    """The public proof of a tree: all but whose it is."""

    tree: models.Tree
    project: models.Project
    plot: models.Plot | None
    steps: list[TreeStepView]
    transfers: Sequence[Transfer]


async def list_projects(
    session: AsyncSession, *, after: UUID | None, limit: int
) -> Sequence[Row[models.Project, models.Stock]]:
    """Projects with their stock, in the order in which they were made."""
    query = _projects().order_by(models.Project.id).limit(limit)
    if after is not None:
        query = query.where(models.Project.id > after)
    return (await session.execute(query)).all()


async def get_project(session: AsyncSession, project_id: UUID) -> Row[models.Project, models.Stock]:
    """A project with its stock. Raises NotFoundError."""
    row = (await session.execute(_projects().where(models.Project.id == project_id))).first()
    if row is None:
        raise NotFoundError("There is no such project.")
    return row


def _projects() -> Select[models.Project, models.Stock]:
    return select(models.Project, models.Stock).join(
        models.Stock, models.Stock.project_id == models.Project.id
    )


def view_at_once(pledge: Pledge) -> PledgeView:
    """A pledge just made, or cancelled: no tree of it can have taken another step."""
    steps = [PledgeStep(Status.PLEDGED, pledge.created_at, None, len(pledge.trees))]
    if pledge.cancelled_at is not None:
        steps.append(PledgeStep(Status.CANCELLED, pledge.cancelled_at, None, len(pledge.trees)))
    return PledgeView(
        id=pledge.id,
        project_id=pledge.project_id,
        amount_g=pledge.amount_g,
        dedication=pledge.dedication,
        status=steps[-1].status,
        numbers=[tree.number for tree in pledge.trees],
        steps=steps,
    )


async def list_pledges(
    session: AsyncSession, participant_id: UUID, *, after: UUID | None, limit: int
) -> tuple[list[PledgeView], bool]:
    """A person's pledges, the last one first, and whether there are more.

    Ids grow with time. A page ends early when its pledges have 5,000 trees together.
    """
    query = (
        select(models.Pledge)
        .where(models.Pledge.participant_id == participant_id)
        .order_by(models.Pledge.id.desc())
        .limit(limit + 1)
    )
    if after is not None:
        query = query.where(models.Pledge.id < after)
    found = (await session.scalars(query)).all()
    pledges: list[models.Pledge] = []
    trees = 0
    for pledge in found[:limit]:
        trees += pledge.trees
        if pledges and trees > TREES_A_PAGE:
            break
        pledges.append(pledge)
    return await _views(session, participant_id, pledges), len(pledges) < len(found)


async def get_pledge(session: AsyncSession, participant_id: UUID, pledge_id: UUID) -> PledgeView:
    """One pledge of a person. Raises NotFoundError."""
    pledge = await session.get(models.Pledge, (participant_id, pledge_id))
    if pledge is None:
        raise NotFoundError("You have no such pledge.")
    return (await _views(session, participant_id, [pledge]))[0]


async def _views(
    session: AsyncSession, participant_id: UUID, pledges: Sequence[models.Pledge]
) -> list[PledgeView]:
    ids = [pledge.id for pledge in pledges]
    trees: dict[UUID, list[tuple[str, Status]]] = defaultdict(list)
    of_pledges = (models.Tree.participant_id == participant_id, models.Tree.pledge_id.in_(ids))
    columns = select(models.Tree.pledge_id, models.Tree.number, models.Tree.status)
    for row in await session.execute(columns.where(*of_pledges).order_by(models.Tree.number)):
        trees[row.pledge_id].append((row.number, Status(row.status)))
    steps: dict[UUID, list[PledgeStep]] = defaultdict(list)
    together = (models.Tree.pledge_id, models.TreeStep.at, models.TreeStep.status)
    changes = (
        select(*together, models.Plot.name, func.count(), func.min(models.TreeStep.step))
        .join_from(
            models.TreeStep,
            models.Tree,
            tuple_(models.TreeStep.participant_id, models.TreeStep.number)
            == tuple_(models.Tree.participant_id, models.Tree.number),
        )
        .outerjoin(models.Plot, models.Plot.id == models.TreeStep.plot_id)
        .where(*of_pledges)
        .group_by(*together, models.Plot.name)
        .order_by(models.TreeStep.at, func.min(models.TreeStep.step), models.TreeStep.status)
    )
    for pledge_id, at, status, plot, count, _ in await session.execute(changes):
        steps[pledge_id].append(PledgeStep(Status(status), at, plot, count))
    return [
        PledgeView(
            id=pledge.id,
            project_id=pledge.project_id,
            amount_g=pledge.amount_g,
            dedication=pledge.dedication,
            status=least_advanced(status for _, status in trees[pledge.id]),
            numbers=[number for number, _ in trees[pledge.id]],
            steps=steps[pledge.id],
        )
        for pledge in pledges
    ]


async def get_tree(session: AsyncSession, text: str) -> TreeView:
    """The tree that a number names, as people type it. Raises NotFoundError."""
    number = parse_number(text)
    owner = None if number is None else await session.get(models.TreeNumber, number)
    if owner is None:
        raise NotFoundError("There is no tree with this number.")
    found = await session.execute(
        select(models.Tree, models.Project, models.Plot)
        .join(models.Project, models.Project.id == models.Tree.project_id)
        .outerjoin(models.Plot, models.Plot.id == models.Tree.plot_id)
        .where(
            models.Tree.participant_id == owner.participant_id, models.Tree.number == owner.number
        )
    )
    tree, project, plot = found.one()
    return TreeView(
        tree, project, plot, await _tree_steps(session, tree), await _paid(session, tree)
    )


async def _tree_steps(session: AsyncSession, tree: models.Tree) -> list[TreeStepView]:
    found = await session.execute(
        select(models.TreeStep, models.Plot, models.PlotEvidence.items)
        .outerjoin(models.Plot, models.Plot.id == models.TreeStep.plot_id)
        .outerjoin(models.PlotEvidence, models.PlotEvidence.id == models.TreeStep.evidence_id)
        .where(
            models.TreeStep.participant_id == tree.participant_id,
            models.TreeStep.number == tree.number,
        )
        .order_by(models.TreeStep.step)
    )
    return [
        TreeStepView(Status(step.status), step.at, plot, evidence or [])
        for step, plot, evidence in found
    ]


async def _paid(session: AsyncSession, tree: models.Tree) -> Sequence[Transfer]:
    """The transfers of its owner's book that reserved and spent the grams of a tree."""
    wanted = [seq for seq in (tree.pledged_seq, tree.planted_seq) if seq is not None]
    query = (
        select(Transfer)
        .where(Transfer.participant_id == tree.participant_id, Transfer.seq.in_(wanted))
        .order_by(Transfer.seq)
    )
    return (await session.scalars(query)).all()
