"""What `ledger audit` sums: draws from budgets, and the actions that partners were paid by."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import add
from typing import ClassVar, NamedTuple
from uuid import UUID

from service.platform.checks import Off
from service.platform.database import Connection


class _Draws(NamedTuple):
    """Draws from a budget: how many, grams, and what tells their numbers without keeping them."""

    n: int = 0
    grams: int = 0
    numbers: int = 0
    squares: int = 0

    @property
    def is_gapless(self) -> bool:
        """Whether these are the draws 1 to `n`, each once."""
        n = self.n
        return self[2:] == (n * (n + 1) // 2, n * (n + 1) * (2 * n + 1) // 6)


@dataclass(slots=True)
class Budgets:
    """Each campaign's draws up to the one that was its last when the audit began (`heads`)."""

    name: ClassVar[str] = "budgets"
    asks: ClassVar[str] = "budgets were drawn to the gram, draw by draw"

    heads: dict[str, tuple[int, int]]
    draws: defaultdict[str, _Draws] = field(default_factory=lambda: defaultdict(_Draws))

    @classmethod
    async def begin(cls, connection: Connection, _cut: datetime) -> "Budgets":
        """Up to the draws that stand now."""
        rows = await connection.fetch(_BUDGETS)
        return cls({row[0]: (row[1], row[2]) for row in rows})

    async def add_page(self, connection: Connection, ids: Sequence[UUID]) -> None:
        """Take up the draws of these people."""
        lasts = [last for _, last in self.heads.values()]
        for campaign, *more in await connection.fetch(_DRAWS, ids, [*self.heads], lasts):
            self.draws[campaign] = _Draws(*map(add, self.draws[campaign], map(int, more)))

    async def finish(self, _connection: Connection) -> list[Off]:
        """The campaigns whose draws are not those of their budget."""
        off: list[Off] = []
        for campaign in sorted(self.heads.keys() | self.draws.keys()):
            drawn_g, last = self.heads.get(campaign, (0, 0))
            draws = self.draws[campaign]
            if (draws.n, draws.grams) != (last, drawn_g) or not draws.is_gapless:
                what = f"draws from the budget of {campaign}"
                found = f"{draws.n} draws, {draws.grams} g"
                off.append((None, what, f"draws 1 to {last}, {drawn_g} g", found))
        return off


@dataclass(slots=True)
class Events:
    """How many actions of partners there are up to a time, and what tells them without names."""

    name: ClassVar[str] = "events"
    asks: ClassVar[str] = "what partners were paid for are their accepted events"

    cut: datetime
    n: int = 0
    mark: int = 0

    @classmethod
    async def begin(cls, _connection: Connection, cut: datetime) -> "Events":
        return cls(cut)

    async def add_page(self, connection: Connection, ids: Sequence[UUID]) -> None:
        [(n, mark)] = await connection.fetch(_PAID, ids, self.cut)
        self.n, self.mark = self.n + n, self.mark + int(mark)

    async def finish(self, connection: Connection) -> list[Off]:
        [(n, mark)] = await connection.fetch(_ACCEPTED, self.cut)
        if (n, int(mark)) == (self.n, self.mark):
            return []
        found = f"{n} events" if n != self.n else f"{n} events, not all of them theirs"
        what = f"accepted events of partners up to {self.cut:%Y-%m-%dT%H:%M:%SZ}"
        return [(None, what, f"those of {self.n} actions", found)]


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

_PAID = """
SELECT count(*), coalesce(sum(hashtextextended(id::text, 0)), 0)
FROM actions WHERE participant_id = ANY($1::uuid[]) AND kind = 'action'
    AND source LIKE 'partner:%' AND recorded_at <= $2"""

_ACCEPTED = """
SELECT count(*), coalesce(sum(hashtextextended(a.id::text, 0)), 0)
FROM partner_events e
JOIN actions a ON a.participant_id = e.participant_id AND a.id = e.action_id
WHERE e.state IN ('bound', 'reversed') AND a.kind = 'action' AND a.recorded_at <= $1"""
