"""What people read about planting: projects, their own pledges, and the proof of one tree."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.ledger.models import Transfer
from service.planting.answers import (
    PledgeAnswer,
    PledgeStep,
    StoredPledge,
    TreeAnswer,
    TreePaid,
    TreePlot,
    TreeProject,
    TreeTimelineEntry,
    TreeTransfer,
    pledge_answer,
)
from service.planting.models import Plot, PlotEvidence, Project, Tree, TreeNumber
from service.planting.models import TreeStep as Step
from service.planting.tree_numbers import parse_number
from service.planting.trees import Status
from service.platform.errors import NotFoundError
from service.platform.reads import Reads, Row

TREES_A_PAGE = 5_000


async def list_projects(reads: Reads, *, after: UUID | None, limit: int) -> Sequence[Row]:
    """Projects with their stock, in the order in which they were made."""
    return await reads.fetch(_PROJECTS_AFTER, after or UUID(int=0), limit)


async def get_project(reads: Reads, project_id: UUID) -> Row:
    """A project with its stock. Raises NotFoundError."""
    row = await reads.first(_PROJECT, project_id)
    if row is None:
        raise NotFoundError("There is no such project.")
    return row


async def list_pledges(
    reads: Reads, participant_id: UUID, trees_url: str, *, after: UUID | None, limit: int
) -> tuple[list[PledgeAnswer], bool]:
    """A person's pledges, the last one first, and whether there are more.

    Ids grow with time. A page ends early when its pledges have 5,000 trees together.
    """
    before = after or UUID(int=2**128 - 1)
    rows = await reads.fetch(_PLEDGES_BEFORE, participant_id, before, limit)
    return [_pledge(row, trees_url) for row in rows], bool(rows) and len(rows) < rows[0]["found"]


async def get_pledge(
    reads: Reads, participant_id: UUID, pledge_id: UUID, trees_url: str
) -> PledgeAnswer:
    """One pledge of a person. Raises NotFoundError."""
    row = await reads.first(_PLEDGE, participant_id, pledge_id, 1)
    if row is None:
        raise NotFoundError("You have no such pledge.")
    return _pledge(row, trees_url)


def _pledge(row: Row, trees_url: str) -> PledgeAnswer:
    numbers, statuses, *steps = (column or () for column in row[5:])
    changes = [PledgeStep(*step) for step in zip(*steps, strict=True)]
    trees = [*zip(numbers, statuses, strict=True)]
    return pledge_answer(StoredPledge(*row[:4]), trees, changes, trees_url)


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


_PROJECTS = "SELECT * FROM projects JOIN stock ON project_id = id WHERE id "

_PROJECTS_AFTER = _PROJECTS + "> $1 ORDER BY id LIMIT $2"

_PROJECT = _PROJECTS + "= $1"

# One more is found than are shown; those behind the most trees of a page are not looked at.
_PLEDGES = """
WITH found AS (
    SELECT p.*, count(*) OVER () AS found, sum(trees) OVER (ORDER BY id DESC) AS trees_so_far
    FROM (SELECT * FROM pledges WHERE participant_id = $1 AND id {which} $2
        ORDER BY id DESC LIMIT $3 + 1) p
), shown AS (
    SELECT * FROM found WHERE trees_so_far <= {trees} OR trees_so_far = trees
    ORDER BY id DESC LIMIT $3
)
SELECT p.id, p.project_id, p.amount_g, p.dedication, p.found, t.*, s.* FROM shown p
CROSS JOIN LATERAL (
    SELECT array_agg(number ORDER BY number), array_agg(status ORDER BY number)
    FROM trees WHERE participant_id = $1 AND pledge_id = p.id) t
CROSS JOIN LATERAL (
    SELECT array_agg(status ORDER BY at, first, status), array_agg(at ORDER BY at, first, status),
        array_agg(plot ORDER BY at, first, status), array_agg(n ORDER BY at, first, status)
    FROM (SELECT s.status, s.at, l.name AS plot, count(*) AS n, min(s.step) AS first
        FROM trees t JOIN tree_steps s USING (participant_id, number)
        LEFT JOIN plots l ON l.id = s.plot_id
        WHERE participant_id = $1 AND t.pledge_id = p.id GROUP BY s.status, s.at, l.name) changes) s
ORDER BY p.id DESC"""

_PLEDGES_BEFORE = _PLEDGES.format(which="<", trees=TREES_A_PAGE)

_PLEDGE = _PLEDGES.format(which="=", trees=TREES_A_PAGE)
