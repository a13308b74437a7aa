"""Budgets of campaigns: what is left, drawn to the gram under the budget's own lock.

A batch locks the budgets that its awards want after they were appraised, in order of the campaigns'
ids, and only those not known as ended: a budget gets nothing back, so what is used up stays used
up until a later version of the rules raises it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from service.platform.database import Connection, Write
from service.rules.decide.evaluate import Award, budgets_wanted
from service.rules.decide.rulebook import Rulebook


@dataclass(slots=True)
class Budgets:
    """Locked budgets of one transaction: grams left, and how often each was ever drawn from."""

    left: dict[str, int] = field(default_factory=dict)
    draws: dict[str, int] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)

    def draw(self, award: Award) -> None:
        """Take what a settled award draws, and number the draw: the order in which it happened."""
        campaign = award.campaign
        if campaign is not None and award.drawn_g:
            self.left[campaign] -= award.drawn_g
            self.draws[campaign] += 1
            self.changed[campaign] = None
            award.budget_seq = self.draws[campaign]

    def write(self) -> Write:
        """Store what was drawn."""
        names = [*self.changed]
        columns = names, [self.left[name] for name in names], [self.draws[name] for name in names]
        return Write(_DRAW, columns)


EndedCampaigns = set[tuple[int, str]]
"""The campaigns that this process has seen used up, by version of the rules."""


async def lock_budgets(
    connection: Connection, rulebook: Rulebook, awards: Iterable[Award], ended: EndedCampaigns
) -> Budgets:
    """Lock what these appraised awards may draw from; no statement when that is nothing."""
    budgets, version = Budgets(), rulebook.version
    wanted = budgets_wanted(awards) if rulebook.campaigns else ()
    names = sorted(name for name in wanted if (version, name) not in ended)
    rows = await connection.fetch(_LOCK, names) if names else []
    for name, budget_g, left_g, draws in rows:
        budgets.left[name], budgets.draws[name] = left_g, draws
        promised_g = rulebook.campaigns[name].budget_g
        # What a later version has lowered says nothing of ours, which may become active again.
        if not left_g and promised_g is not None and budget_g >= promised_g:
            ended.add((version, name))
    return budgets


_LOCK = """
SELECT campaign, budget_g, left_g, seq FROM campaign_budgets
WHERE campaign = ANY($1::text[]) ORDER BY campaign FOR NO KEY UPDATE"""

_DRAW = """
UPDATE campaign_budgets SET left_g = d.left_g, seq = d.seq
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS d (campaign, left_g, seq)
WHERE campaign_budgets.campaign = d.campaign"""
