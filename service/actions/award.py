"""What a batch pays: each accepted action is settled, posted and remembered for those after it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import sub
from uuid import UUID

import structlog
from msgspec import Struct

from service.actions.budgets import Budgets
from service.actions.claims import Claims
from service.actions.events import BoundEvents
from service.actions.facts import facts_digest
from service.actions.report import Report
from service.actions.reverse import post_action, reversal_row, take_back
from service.actions.store import (
    Action,
    Deciding,
    RowKey,
    actions_write,
    counters_write,
)
from service.energy.bubbles import new_bubbles_write
from service.ledger.accounts import Account
from service.ledger.books import Book
from service.platform.database import Write
from service.platform.metrics import RULES_FAILED
from service.rules.decide.evaluate import Award, Decision, settle
from service.rules.decide.judge import Judged
from service.rules.decide.rulebook import CounterKey, Rulebook, Used
from service.rules.decide.standing import Uses, award_entry, stored_uses, uses_of

_log = structlog.get_logger()


class Accepted(Struct):
    """A report that will be recorded: what its rules give before campaigns, limits and budgets."""

    report: Report
    verdict: Judged
    streak_days: int
    awards: Sequence[Award]


@dataclass(slots=True)
class Gathered:
    """What a batch gathers of its reports before its single write; `known` came in earlier ones."""

    rulebook: Rulebook
    now: datetime
    books: dict[UUID, Book]
    deciding: Deciding
    events: BoundEvents
    known: dict[RowKey, Action] = field(default_factory=dict)
    accepted: dict[RowKey, Accepted] = field(default_factory=dict)
    claims: Claims = field(default_factory=Claims)
    budgets: Budgets = field(default_factory=Budgets)
    actions: dict[RowKey, Action] = field(default_factory=dict)
    ripening: list[Action] = field(default_factory=list)
    used: dict[tuple[UUID, CounterKey], Used] = field(default_factory=dict)
    times: dict[datetime, tuple[datetime, datetime]] = field(default_factory=dict)


def award_action(gathered: Gathered, accepted: Accepted) -> Action:
    """Settle what one accepted action earns, and post it."""
    report, verdict, owner = accepted.report, accepted.verdict, accepted.report.participant_id
    book, usage = gathered.books[owner], gathered.deciding.standings[owner].usage
    decision = settle(
        gathered.rulebook, verdict, accepted.awards, usage=usage, budgets=gathered.budgets.left
    )
    if gathered.budgets.left:
        for drawn in decision.awards:
            gathered.budgets.draw(drawn)
    action = _row(gathered, accepted, decision, book)
    action.facts_digest = facts_digest(
        book.salt or b"", report.canonical, gathered.rulebook.sha256, action
    )
    for failed in [award for award in decision.awards if award.failed]:
        _tell_failure(failed, action)
    _use(gathered, owner, uses_of(decision.awards))
    if decision.energy_g:
        post_action(book, action, Account.ISSUANCE, Account.RIPENING, decision.energy_g)
    book.saved_g += decision.saved_g
    gathered.actions[action.key] = action
    if (reason := gathered.events.reversal_reason(report)) is not None:
        _undo(gathered, action, reason)
    elif decision.energy_g:
        gathered.ripening.append(action)
    report.written = action.recorded_at
    return action


def _use(gathered: Gathered, owner: UUID, uses: Uses, *, is_back: bool = False) -> None:
    """Remember what is used, or given back, and that it is to be written."""
    standing, earlier = gathered.deciding.standings[owner], gathered.deciding.before
    (standing.give_back if is_back else standing.use)(uses)
    for key, _ in uses:
        mine, total = (owner, key), standing.usage[key]
        gathered.used[mine] = Used(*map(sub, total, earlier[mine])) if mine in earlier else total


def _undo(gathered: Gathered, action: Action, reason: str) -> None:
    """Take back at once what a partner reversed before it came: no bubble is left of it."""
    book = gathered.books[action.participant_id]
    row = reversal_row(
        book, action, reason, source=action.source, reporter=action.reporter, now=gathered.now
    )
    take_back(book, row, remaining_g=action.energy_g, expired_g=0)
    for entry in action.awards:
        _use(gathered, action.participant_id, list(stored_uses(entry["counters"])), is_back=True)
    gathered.actions[row.key] = row


def _row(gathered: Gathered, accepted: Accepted, decision: Decision, book: Book) -> Action:
    report, candidate = accepted.report, accepted.report.candidate
    at = book.tick(gathered.now)
    book.action_seq += 1
    ripens_at, expires_at = _times(gathered, at) if decision.energy_g else (None, None)
    claim = gathered.claims.main_key(report)
    return Action(
        *report.row,
        book.action_seq,
        "action",
        candidate.type,
        candidate.occurred_at,
        at,
        decision.saved_g,
        decision.energy_g,
        gathered.rulebook.version,
        accepted.streak_days,
        candidate.verified,
        report.source,
        candidate.reporter,
        gathered.deciding.regions.get(report.participant_id, ""),
        report.fingerprint,
        candidate.attributes,
        ends_at=accepted.verdict.ends_at,
        exclusive=accepted.verdict.exclusive,
        ripens_at=ripens_at,
        expires_at=expires_at,
        claim_key=claim if claim and decision.gives else None,
        awards=[award_entry(award) for award in decision.awards],
    )


def _tell_failure(failed: Award, action: Action) -> None:
    """Count and log a rule that failed on an action: it never pays, and operators must know."""
    RULES_FAILED.labels(failed.rule, action.rulebook_version).inc()
    _log.warning(
        "rule_failed",
        rule=failed.rule,
        rulebook_version=action.rulebook_version,
        action_id=str(action.id),
        participant_id=str(action.participant_id),
    )


def _times(gathered: Gathered, at: datetime) -> tuple[datetime, datetime]:
    """When energy booked at this time ripens and expires; mostly one a gathered."""
    if at not in gathered.times:
        ripens_at = gathered.rulebook.program.ripens_at(at)
        gathered.times[at] = ripens_at, gathered.rulebook.program.expires_at(ripens_at)
    return gathered.times[at]


def awards_writes(gathered: Gathered) -> list[Write]:
    """All that was awarded but the books, as parts of one statement."""
    if not gathered.actions:
        return []
    writes = [actions_write([*gathered.actions.values()])]
    if gathered.ripening:
        writes.append(new_bubbles_write(gathered.ripening))
    if gathered.used:
        writes.append(counters_write(gathered.used))
    if gathered.budgets.changed:
        writes.append(gathered.budgets.write())
    return writes
