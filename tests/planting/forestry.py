"""People with energy, projects and plots, made by the workflows; and what must always hold."""

import secrets
from datetime import UTC, datetime
from functools import partial

from service.audit.audit import audit
from service.ledger.orders import Batch
from service.participants.identities import resolve_participant
from service.planting.advance import StepOrder, advance_trees
from service.planting.allocate import allocate_trees
from service.planting.projects import PlotFacts, ProjectFacts, make_plot, make_project
from service.platform.acts import Act
from tests import orders
from tests.actions.reports import SECRET
from tests.ledger.histories import RULEBOOK

START = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
PROJECT = ProjectFacts(
    name="Alxa north",
    species="Haloxylon ammodendron",
    place="Alxa",
    country="CN",
    partner="Green Desert",
    price_g=100,
    capacity=1_000,
)
PLOT = PlotFacts("North 4", {"type": "Point", "coordinates": [105.7, 38.8]}, 1_500.0)

PHOTO = {
    "url": "https://photos.example/1.jpg",
    "sha256": "ab" * 32,
    "taken_at": "2026-11-21T02:00:00Z",
    "position": {"type": "Point", "coordinates": [105.7, 38.8]},
}


def local_date(at):
    return at.date()


async def make_person(database, available_g=0, region=None):
    subject = secrets.token_hex(8)
    participant_id = await resolve_participant(database, "secret", "issuer", subject, START)
    await database.pool.execute(
        "UPDATE participants SET region = $2 WHERE participant_id = $1", participant_id, region
    )
    if available_g:
        await give(database, participant_id, available_g)
    return participant_id


def by_operator(now=START):
    return Act("olga", "request-1", now)


async def make_people(database, count, available_g):
    return [await make_person(database, available_g) for _ in range(count)]


async def give(database, participant_id, amount_g):
    async with database.transaction() as connection:
        await orders.adjust(
            connection,
            participant_id,
            amount_g,
            reason="a gift",
            act=by_operator(),
            rulebook=RULEBOOK,
        )


async def balances(database, participant_id):
    return dict(
        await database.pool.fetchrow(
            "SELECT available, pledged, planted, trees FROM books WHERE participant_id = $1",
            participant_id,
        )
    )


async def open_project(database, now=START, **facts):
    async with database.transaction() as connection:
        made = ProjectFacts(**{**_fields(PROJECT), **facts})
        return await make_project(connection, made, by_operator(now))


def _fields(facts):
    return {name: getattr(facts, name) for name in facts.__struct_fields__}


async def open_plot(database, project_id, name="North 4", now=START):
    async with database.transaction() as connection:
        facts = PlotFacts(name, PLOT.position, PLOT.area_m2)
        return await make_plot(connection, project_id, facts, by_operator(now))


async def pledge(database, participant_id, project_id, trees=1, *, now=START, dedication=None):
    async with database.transaction() as connection:
        return await orders.pledge(
            connection, participant_id, project_id, trees, dedication, rulebook=RULEBOOK, now=now
        )


async def cancel(database, participant_id, pledge_id, now=START):
    async with database.transaction() as connection:
        return await orders.cancel(
            connection, participant_id, pledge_id, rulebook=RULEBOOK, now=now
        )


async def allocate(database, plot_id, trees, now=START):
    return await allocate_trees(database, _batch(now), plot_id, trees, by_operator(now))


async def advance(database, plot_id, status, *, numbers=None, evidence=(), now=START):
    order = StepOrder(plot_id, status, list(evidence), numbers)
    return await advance_trees(database, _batch(now), order, by_operator(now))


def _batch(now):
    return partial(Batch, RULEBOOK, now, secret=SECRET)


async def until_somebody_waits(database, task):
    """Come back when the task waits for a row that somebody else holds."""
    while not await database.pool.fetchval(_SOMEBODY_WAITS):
        assert not task.done()


_SOMEBODY_WAITS = """
SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock')"""


async def statuses(database, plot_or_project_id):
    """How many trees stand where, by status."""
    rows = await database.pool.fetch(
        "SELECT status, count(*) AS n FROM trees WHERE project_id = $1 OR plot_id = $1"
        " GROUP BY status",
        plot_or_project_id,
    )
    return {row["status"]: row["n"] for row in rows}


async def assert_all_balances(database, people=(None,)):
    """The ledger is clean (all of it, or these people's), and stock, books, steps and boards say
    what the trees say.
    """
    for person in people:
        report = await audit(database, mode="full", now=START, participant_id=person)
        assert report.is_clean, report.differences
    for what, query in _MUST_BE_EMPTY.items():
        wrong = await database.pool.fetch(query)
        assert not wrong, (what, [dict(row) for row in wrong[:5]])


_MUST_BE_EMPTY = {
    "stock differs from its trees": """
        SELECT s.*, t.* FROM stock s LEFT JOIN (
            SELECT project_id, count(*) FILTER (WHERE status <> 'cancelled') AS alive,
                count(*) FILTER (WHERE status IN ('planted', 'verified')) AS standing,
                count(*) FILTER (WHERE status = 'verified') AS seen
            FROM trees GROUP BY project_id
        ) AS t USING (project_id)
        WHERE (s.pledged, s.planted, s.verified)
            <> (coalesce(t.alive, 0), coalesce(t.standing, 0), coalesce(t.seen, 0))""",
    "a book differs from its trees": """
        SELECT b.participant_id, b.pledged, b.planted, b.trees, t.* FROM books b LEFT JOIN (
            SELECT participant_id,
                sum(price_g) FILTER (WHERE planted_seq IS NULL) AS reserved,
                sum(price_g) FILTER (WHERE planted_seq IS NOT NULL) AS spent,
                count(*) AS trees
            FROM trees WHERE status <> 'cancelled' GROUP BY participant_id
        ) AS t USING (participant_id)
        WHERE (b.pledged, b.planted, b.trees)
            <> (coalesce(t.reserved, 0), coalesce(t.spent, 0), coalesce(t.trees, 0))""",
    "a tree differs from its last step": """
        SELECT t.number, t.status, s.status, s.plot_id FROM trees t LEFT JOIN tree_steps s
            ON s.participant_id = t.participant_id AND s.number = t.number AND s.step = t.step
        WHERE s.status IS DISTINCT FROM t.status OR s.plot_id IS DISTINCT FROM t.plot_id""",
    "steps are missing": """
        SELECT number, count(*), max(step) FROM tree_steps
        GROUP BY participant_id, number HAVING count(*) <> max(step)""",
    "a tree has no number in the lookup": """
        SELECT t.number FROM trees t LEFT JOIN tree_numbers n USING (number)
        WHERE n.participant_id IS DISTINCT FROM t.participant_id""",
    "a pledge differs from its trees": """
        SELECT p.id, p.trees, p.amount_g, t.* FROM pledges p LEFT JOIN (
            SELECT pledge_id, count(*) AS n, sum(price_g) AS price_g,
                count(*) FILTER (WHERE status = 'cancelled') AS cancelled
            FROM trees GROUP BY pledge_id
        ) AS t ON t.pledge_id = p.id
        WHERE (p.trees, p.amount_g) IS DISTINCT FROM (t.n::int, t.price_g::bigint)
            OR t.cancelled <> CASE WHEN p.cancelled_at IS NULL THEN 0 ELSE p.trees END""",
    "the board differs from the books": """
        SELECT b.participant_id, b.trees, o.trees FROM books b LEFT JOIN (
            SELECT (d ->> 0)::uuid AS participant_id, sum((d ->> 2)::int) AS trees
            FROM outbox, jsonb_array_elements(body -> 'deltas') AS d
            WHERE d ->> 1 = 'trees' GROUP BY 1
        ) AS o USING (participant_id)
        WHERE b.trees <> coalesce(o.trees, 0)""",
    "a transfer that paid a tree is another one's": """
        SELECT t.number FROM trees t
        JOIN transfers r ON r.participant_id = t.participant_id AND r.seq = t.pledged_seq
        LEFT JOIN transfers s ON s.participant_id = t.participant_id AND s.seq = t.planted_seq
        WHERE r.cause <> 'pledge' OR r.cause_id <> t.pledge_id
            OR (t.planted_seq IS NOT NULL
                AND (s.cause IS DISTINCT FROM 'plant' OR s.cause_id <> t.pledge_id))""",
}
