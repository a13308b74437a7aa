"""Budgets of campaigns: what is left, drawn to the gram under the budget's own lock.

A batch locks the budgets that its awards want after they were appraised, in order of the campaigns'
ids, and only those not known as ended: a budget gets nothing back, so what is used up stays used
up until a later version of the rules raises it.
"""

from collections.abc import Collection, Iterable
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
        return Write(
            _DRAW,
            (names, [self.left[name] for name in names], [self.draws[name] for name in names]),
        )


class EndedCampaigns:
    """The campaigns that this process has seen used up, by version of the rules."""

    def __init__(self) -> None:
        """Know of none."""
        self._known: set[tuple[int, str]] = set()

    def without(self, version: int, campaigns: Collection[str]) -> list[str]:
        """Those of them that may have something left, in the order in which they are locked."""
        return sorted(name for name in campaigns if (version, name) not in self._known)

    def note(self, version: int, campaign: str) -> None:
        """Remember that this version will never pay from it again."""
        self._known.add((version, campaign))


async def lock_budgets(
    connection: Connection, rulebook: Rulebook, awards: Iterable[Award], ended: EndedCampaigns
) -> Budgets:
    """Lock what these appraised awards may draw from; no statement when that is nothing."""
    budgets = Budgets()
    if not rulebook.campaigns:
        return budgets
    names = ended.without(rulebook.version, budgets_wanted(awards))
    if not names:
        return budgets
    for name, budget_g, left_g, draws in await connection.fetch(_LOCK, names):
        budgets.left[name], budgets.draws[name] = left_g, draws
        promised_g = rulebook.campaigns[name].budget_g
        # What a later version has lowered says nothing of ours, which may become active again.
        if not left_g and promised_g is not None and budget_g >= promised_g:
            ended.note(rulebook.version, name)
    return budgets


_LOCK = """
SELECT campaign, budget_g, left_g, seq FROM campaign_budgets
WHERE campaign = ANY($1::text[]) ORDER BY campaign FOR NO KEY UPDATE"""

_DRAW = """
UPDATE campaign_budgets SET left_g = d.left_g, seq = d.seq
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS d (campaign, left_g, seq)
WHERE campaign_budgets.campaign = d.campaign"""
