"""What `ledger audit` sums of budgets: each draw, by the awards that drew."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from service.platform.checks import Off
from service.platform.database import Connection


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
class Budgets:
    """Each campaign's draws up to the one that was its last when the audit began (`heads`)."""

    name: ClassVar[str] = "budgets"
    asks: ClassVar[str] = "budgets were drawn to the gram, draw by draw"

    heads: dict[str, tuple[int, int]]
    draws: dict[str, _Draws] = field(default_factory=dict)

    @classmethod
    async def begin(cls, connection: Connection, _cut: datetime) -> "Budgets":
        """Up to the draws that stand now."""
        rows = await connection.fetch(_BUDGETS)
        return cls({row[0]: (row[1], row[2]) for row in rows})

    async def add_page(self, connection: Connection, ids: Sequence[UUID]) -> None:
        """Take up the draws of these people."""
        lasts = [last for _, last in self.heads.values()]
        for campaign, *numbers in await connection.fetch(_DRAWS, ids, [*self.heads], lasts):
            self.draws.setdefault(campaign, _Draws()).add(*map(int, numbers))

    async def finish(self, _connection: Connection) -> list[Off]:
        """The campaigns whose draws are not those of their budget."""
        off: list[Off] = []
        for campaign in sorted(self.heads.keys() | self.draws.keys()):
            drawn_g, last = self.heads.get(campaign, (0, 0))
            draws = self.draws.get(campaign, _Draws())
            if draws.grams != drawn_g or not draws.is_gapless(last):
                what = f"draws from the budget of {campaign}"
                found = f"{draws.n} draws, {draws.grams} g"
                off.append((None, what, f"draws 1 to {last}, {drawn_g} g", found))
        return off


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
