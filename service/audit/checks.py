"""Every check there is, collected from the nouns that own them: a new noun is named here once."""

import service.actions.audit
import service.audit.across
import service.leaderboards.audit
import service.ledger.audit
import service.planting.audit
import service.rulebooks.audit
from service.platform.checks import AnyCheck, Check, Compare, CompareAll, Walk

# As reports list them; what is not named here comes last.
_ORDER = (
    "balances", "heads", "chain", "sides", "times", "awards", "actions", "saved", "bubbles",
    "ripening", "counters", "claims", "trees", "lives", "people", "acts", "pairs", "facts",
    "streaks", "strangers", "gifts", "budgets", "events", "stray claims", "tree numbers", "stock",
    "plots", "told", "bound events", "outbox", "rules",
)  # fmt: skip


CHECKS: list[AnyCheck] = sorted(
    (
        *service.ledger.audit.CHECKS,
        *service.rulebooks.audit.CHECKS,
        *service.planting.audit.CHECKS,
        *service.actions.audit.CHECKS,
        *service.leaderboards.audit.CHECKS,
        *service.audit.across.CHECKS,
    ),
    key=lambda check: _ORDER.index(check.name) if check.name in _ORDER else len(_ORDER),
)
PAGE_CHECKS = [check for check in CHECKS if isinstance(check, Check)]
COMPARES = [check for check in CHECKS if isinstance(check, Compare)]
SUMS = [check for check in CHECKS if isinstance(check, type)]
WALKS = [check for check in CHECKS if isinstance(check, Walk)]
WHOLE = [check for check in CHECKS if isinstance(check, CompareAll)]
