"""The rows of campaigns' budgets follow the version of the rules that is active.

A budget is what the active version says, less all that was ever drawn under the campaign's id. So
raising it gives the difference, lowering it takes no paid gram back, and what was drawn stays drawn
through roll backs, and while a version leaves the campaign out.
"""

from collections.abc import Iterable

from service.platform.database import Connection
from service.platform.reads import Reads
from service.rules.decide.evaluate import untouched_budgets
from service.rules.decide.rulebook import Campaign, Rulebook


async def open_budgets(connection: Connection, rulebook: Rulebook) -> None:
    """Make or change the budgets of a version that becomes active, in its transaction."""
    budgets = untouched_budgets(rulebook)
    if budgets:
        await connection.execute(_OPEN, [*budgets], [*budgets.values()])


async def read_left(reads: Reads, campaigns: Iterable[Campaign]) -> dict[str, int]:
    """What campaigns have left, by id, as far as they have a budget; no statement if none has."""
    names = [campaign.id for campaign in campaigns if campaign.budget_g is not None]
    rows = await reads.fetch(_LEFT, names) if names else []
    return {row[0]: row[1] for row in rows}


_LEFT = "SELECT campaign, left_g FROM campaign_budgets WHERE campaign = ANY ($1)"

_OPEN = """
INSERT INTO campaign_budgets AS b (campaign, budget_g, left_g, seq)
SELECT d.campaign, d.budget_g, d.budget_g, 0
FROM unnest($1::text[], $2::bigint[]) AS d (campaign, budget_g) ORDER BY d.campaign
ON CONFLICT (campaign) DO UPDATE SET
    budget_g = greatest(excluded.budget_g, b.budget_g - b.left_g),
    left_g = greatest(excluded.budget_g - (b.budget_g - b.left_g), 0)"""
