"""What people read about planting: projects, their own pledges, and the proof of one tree."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import msgspec
from sqlalchemy import Row, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from service.ledger.models import Transfer
from service.planting.answers import (
    PledgeAnswer,
    PledgeStep,
    TreeAnswer,
    TreePaid,
    TreePlot,
    TreeProject,
    TreeTimelineEntry,
    TreeTransfer,
    pledge_answer,
)
from service.planting.models import Pledge, Plot, PlotEvidence, Project, Stock, Tree, TreeNumber
from service.planting.models import TreeStep as Step
from service.planting.tree_numbers import parse_number
from service.planting.trees import Status
from service.platform.errors import NotFoundError

TREES_A_PAGE = 5_000


async def list_projects(
    session: AsyncSession, *, after: UUID | None, limit: int
) -> Sequence[Row[Project, Stock]]:
    """Projects with their stock, in the order in which they were made."""
    query = _projects().order_by(Project.id).limit(limit)
    if after is not None:
        query = query.where(Project.id > after)
    return (await session.execute(query)).all()


async def get_project(session: AsyncSession, project_id: UUID) -> Row[Project, Stock]:
    """A project with its stock. Raises NotFoundError."""
    row = (await session.execute(_projects().where(Project.id == project_id))).first()
    if row is None:
        raise NotFoundError("There is no such project.")
    return row


def _projects() -> Select[Project, Stock]:
    return select(Project, Stock).join(Stock, Stock.project_id == Project.id)


async def list_pledges(
    session: AsyncSession, participant_id: UUID, trees_url: str, *, after: UUID | None, limit: int
) -> tuple[list[PledgeAnswer], bool]:
    """A person's pledges, the last one first, and whether there are more.

    Ids grow with time. A page ends early when its pledges have 5,000 trees together.
    """
    query = (
        select(Pledge)
        .where(Pledge.participant_id == participant_id)
        .order_by(Pledge.id.desc())
        .limit(limit + 1)
    )
    if after is not None:
        query = query.where(Pledge.id < after)
    found = (await session.scalars(query)).all()
    pledges: list[Pledge] = []
    trees = 0
    for pledge in found[:limit]:
        trees += pledge.trees
        if pledges and trees > TREES_A_PAGE:
            break
        pledges.append(pledge)
    return await _told(session, participant_id, pledges, trees_url), len(pledges) < len(found)


async def get_pledge(
    session: AsyncSession, participant_id: UUID, pledge_id: UUID, trees_url: str
) -> PledgeAnswer:
    """One pledge of a person. Raises NotFoundError."""
    pledge = await session.get(Pledge, (participant_id, pledge_id))
    if pledge is None:
        raise NotFoundError("You have no such pledge.")
    return (await _told(session, participant_id, [pledge], trees_url))[0]


async def _told(
    session: AsyncSession, participant_id: UUID, pledges: Sequence[Pledge], trees_url: str
) -> list[PledgeAnswer]:
    ids = [pledge.id for pledge in pledges]
    of_pledges = (Tree.participant_id == participant_id, Tree.pledge_id.in_(ids))
    trees: dict[UUID, list[tuple[str, str]]] = defaultdict(list)
    columns = select(Tree.pledge_id, Tree.number, Tree.status)
    for row in await session.execute(columns.where(*of_pledges).order_by(Tree.number)):
        trees[row.pledge_id].append((row.number, row.status))
    steps: dict[UUID, list[PledgeStep]] = defaultdict(list)
    together = (Step.status, Step.at, Plot.name)
    changes = (
        select(Tree.pledge_id, *together, func.count())
        .join_from(
            Step,
            Tree,
            tuple_(Step.participant_id, Step.number) == tuple_(Tree.participant_id, Tree.number),
        )
        .outerjoin(Plot, Plot.id == Step.plot_id)
        .where(*of_pledges)
        .group_by(Tree.pledge_id, *together)
        .order_by(Step.at, func.min(Step.step), Step.status)
    )
    for pledge_id, status, at, plot, count in await session.execute(changes):
        steps[pledge_id].append(PledgeStep(status, at, plot, count))
    return [
        pledge_answer(pledge, trees[pledge.id], steps[pledge.id], trees_url) for pledge in pledges
    ]


async def get_tree(session: AsyncSession, text: str, trees_url: str) -> TreeAnswer:
    """The tree that a number names, as people type it. Raises NotFoundError."""
    number = parse_number(text)
    owner = None if number is None else await session.get(TreeNumber, number)
    if owner is None:
        raise NotFoundError("There is no tree with this number.")
    found = await session.execute(
        select(Tree, Project, Plot)
        .join(Project, Project.id == Tree.project_id)
        .outerjoin(Plot, Plot.id == Tree.plot_id)
        .where(Tree.participant_id == owner.participant_id, Tree.number == owner.number)
    )
    tree, project, plot = found.one()
    return TreeAnswer(
        number=tree.number,
        tree_url=trees_url + tree.number,
        status=Status(tree.status),
        species=project.species,
        project=msgspec.convert(project, TreeProject, from_attributes=True),
        plot=msgspec.convert(plot, TreePlot | None, from_attributes=True),
        timeline=await _timeline(session, tree),
        paid=TreePaid(tree.price_g, await _transfers(session, tree)),
    )


async def _timeline(session: AsyncSession, tree: Tree) -> list[TreeTimelineEntry]:
    found = await session.execute(
        select(Step.status, Step.at, Plot, PlotEvidence.items)
        .outerjoin(Plot, Plot.id == Step.plot_id)
        .outerjoin(PlotEvidence, PlotEvidence.id == Step.evidence_id)
        .where(Step.participant_id == tree.participant_id, Step.number == tree.number)
        .order_by(Step.step)
    )
    rows = [
        {"status": status, "at": at, "plot": plot, "evidence": evidence or []}
        for status, at, plot, evidence in found
    ]
    return msgspec.convert(rows, list[TreeTimelineEntry], from_attributes=True)


async def _transfers(session: AsyncSession, tree: Tree) -> list[TreeTransfer]:
    """The transfers of its owner's book that reserved and spent the grams of a tree."""
    wanted = [seq for seq in (tree.pledged_seq, tree.planted_seq) if seq is not None]
    query = (
        select(Transfer)
        .where(Transfer.participant_id == tree.participant_id, Transfer.seq.in_(wanted))
        .order_by(Transfer.seq)
    )
    return [
        TreeTransfer(
            "pledge" if row.seq == tree.pledged_seq else "plant",
            row.amount_g,
            row.at,
            row.hash.hex(),
        )
        for row in await session.scalars(query)
    ]
