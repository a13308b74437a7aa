"""What must come out over all books together, gathered page by page in a few numbers.

Pages are read one after the other while people go on, so each sum ends at a cut that is behind
every transaction: gifts and partners' events at a time, a campaign's budget at the draw that was
its last one when the audit began.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from service.audit.whole import SLOWLY
from service.platform.database import Connection, Database


@dataclass(slots=True)
class _Draws:
    """Draws from a budget: how many, grams, and what tells their numbers without keeping them."""

    n: int = 0
    grams: int = 0
    numbers: int = 0
    squares: int = 0

    def add(self, n: int, grams: int, numbers: int, squares: int) -> None:
        self.n += n
        self.grams += grams
        self.numbers += numbers
        self.squares += squares

    def is_gapless(self, last: int) -> bool:
        """Whether these are the draws 1 to `last`, each once."""
        return (self.n, self.numbers, self.squares) == (
            last,
            last * (last + 1) // 2,
            last * (last + 1) * (2 * last + 1) // 6,
        )


@dataclass(slots=True)
class Sums:
    """The sums of one audit; `heads` are the budgets as they stood when it began."""

    cut: datetime
    heads: dict[str, tuple[int, int]]
    gifts_g: int = 0
    draws: dict[str, _Draws] = field(default_factory=dict)
    events: tuple[int, int] = (0, 0)

    async def add_page(self, connection: Connection, ids: Sequence[UUID]) -> None:
        """Take up the books of a page."""
        [(gifts_g, n, mark)] = await connection.fetch(_PAGE, ids, self.cut)
        self.gifts_g += int(gifts_g)
        self.events = (self.events[0] + n, self.events[1] + int(mark))
        names = [*self.heads]
        lasts = [last for _, last in self.heads.values()]
        for campaign, *numbers in await connection.fetch(_DRAWS, ids, names, lasts):
            self.draws.setdefault(campaign, _Draws()).add(*map(int, numbers))

    async def finish(self, database: Database, add: Callable[[str, Sequence[Any]], None]) -> None:
        """Compare what came out; `add` takes up what is off."""
        until = f"up to {self.cut:%Y-%m-%dT%H:%M:%SZ}"
        if self.gifts_g:
            add("gifts", [(None, f"gifts over all books {until}", "0 g", f"{self.gifts_g} g")])
        for campaign in sorted(self.heads.keys() | self.draws.keys()):
            drawn_g, last = self.heads.get(campaign, (0, 0))
            draws = self.draws.get(campaign, _Draws())
            if draws.grams != drawn_g or not draws.is_gapless(last):
                what = f"draws from the budget of {campaign}"
                found = f"{draws.n} draws, {draws.grams} g"
                add("budgets", [(None, what, f"draws 1 to {last}, {drawn_g} g", found)])
        async with database.pool.acquire() as connection, connection.transaction(readonly=True):
            await connection.execute(SLOWLY)
            [(n, mark)] = await connection.fetch(_EVENTS, self.cut)
        if (n, int(mark)) != self.events:
            found = f"{n} events" if n != self.events[0] else f"{n} events, not all of them theirs"
            what = f"accepted events of partners {until}"
            add("events", [(None, what, f"those of {self.events[0]} actions", found)])


async def begin_sums(database: Database, cut: datetime) -> Sums:
    """Sums up to this time, and up to the draws that stand now."""
    rows = await database.pool.fetch(_BUDGETS)
    return Sums(cut, {row[0]: (row[1], row[2]) for row in rows})


_PAGE = """
SELECT (
        SELECT coalesce(sum(CASE WHEN credit = 7 THEN amount_g ELSE -amount_g END), 0)
        FROM transfers WHERE participant_id = ANY($1::uuid[]) AND (debit = 7 OR credit = 7)
            AND at <= $2),
    count(*), coalesce(sum(hashtextextended(id::text, 0)), 0)
FROM actions WHERE participant_id = ANY($1::uuid[]) AND kind = 'action'
    AND source LIKE 'partner:%' AND recorded_at <= $2"""

_BUDGETS = "SELECT campaign, budget_g - left_g, seq FROM campaign_budgets"

_DRAWS = """
SELECT w ->> 'campaign', count(*), sum((w ->> 'extra_g')::bigint),
    sum((w ->> 'budget_seq')::numeric), sum((w ->> 'budget_seq')::numeric ^ 2)
FROM actions a
CROSS JOIN LATERAL jsonb_array_elements(a.awards) AS w
LEFT JOIN unnest($2::text[], $3::bigint[]) AS h (campaign, last) ON h.campaign = w ->> 'campaign'
WHERE a.participant_id = ANY($1::uuid[]) AND a.kind = 'action'
    AND a.awards @? '$[*].budget_seq ? (@ != null)' AND w ->> 'budget_seq' IS NOT NULL
    AND CASE WHEN h.campaign IS NULL
        THEN NOT EXISTS (SELECT FROM campaign_budgets b WHERE b.campaign = w ->> 'campaign')
        ELSE (w ->> 'budget_seq')::bigint <= h.last END
GROUP BY 1"""

_EVENTS = """
SELECT count(*), coalesce(sum(hashtextextended(a.id::text, 0)), 0)
FROM partner_events e
JOIN actions a ON a.participant_id = e.participant_id AND a.id = e.action_id
WHERE e.state IN ('bound', 'reversed') AND a.kind = 'action' AND a.recorded_at <= $1"""
