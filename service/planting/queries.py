"""What people read about planting: projects, their own pledges, and the proof of one tree."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from service.planting.answers import (
    PledgeAnswer,
    PledgeStep,
    StoredPledge,
    TreeAnswer,
    pledge_answer,
)
from service.planting.tree_numbers import parse_number
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


async def get_tree(reads: Reads, text: str, trees_url: str) -> TreeAnswer:
    """The tree that a number names, as people type it. Raises NotFoundError."""
    number = parse_number(text)
    owner = None if number is None else await reads.first(_OWNER, number)
    if number is None or owner is None:
        raise NotFoundError("There is no tree with this number.")
    (row,) = await reads.fetch(_TREE, owner[0], number)
    return msgspec.convert({**row, "tree_url": trees_url + number}, TreeAnswer)


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

_OWNER = "SELECT participant_id FROM tree_numbers WHERE number = $1"

# Its transfers are those of its owner's book that reserved and spent its grams.
_TREE = """
SELECT t.number, t.status, p.species, to_jsonb(p) AS project, to_jsonb(l) AS plot, (
    SELECT jsonb_agg(jsonb_build_object('status', s.status, 'at', s.at, 'plot', to_jsonb(o),
        'evidence', coalesce(e.items, '[]')) ORDER BY s.step)
    FROM tree_steps s LEFT JOIN plots o ON o.id = s.plot_id
    LEFT JOIN plot_evidence e ON e.id = s.evidence_id
    WHERE s.participant_id = t.participant_id AND s.number = t.number) AS timeline,
    jsonb_build_object('amount_g', t.price_g, 'transfers', (
        SELECT jsonb_agg(jsonb_build_object('cause', CASE WHEN m.seq = t.pledged_seq THEN 'pledge'
            ELSE 'plant' END, 'amount_g', m.amount_g, 'at', m.at, 'hash', encode(m.hash, 'hex'))
            ORDER BY m.seq)
        FROM transfers m WHERE m.participant_id = t.participant_id
            AND m.seq IN (t.pledged_seq, t.planted_seq))) AS paid
FROM trees t JOIN projects p ON p.id = t.project_id LEFT JOIN plots l ON l.id = t.plot_id
WHERE t.participant_id = $1 AND t.number = $2"""
