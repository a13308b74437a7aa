"""Reversing an action: its energy goes back by opposite transfers, its limits and claim are free.

A reversal is a row of `actions` whose id follows from the reversed one, so it happens once. What
the action's bubble still holds goes first, then what expired from it, then what is available; the
rest stands in arrears, repaid by what becomes available next. Campaign budgets get nothing back.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.actions.facts import canonical_facts, facts_digest
from service.actions.store import Action, RowKey, actions_write, read_actions, reversal_key
from service.energy.bubbles import Bubble, changed_bubbles_write, read_bubbles
from service.ledger.accounts import Account
from service.ledger.books import Book, post
from service.ledger.orders import Batch
from service.platform.arrays import Columns
from service.platform.database import Connection, Write
from service.platform.errors import ConflictError, NotFoundError
from service.rules.decide.standing import Standing, stored_uses

FOUND_IN = (Account.RIPENING, Account.EXPIRED, Account.AVAILABLE, Account.ARREARS)
"""Where energy is taken back, in the order in which honest energy suffers least."""


class ActionMissingError(NotFoundError):
    """No such action of this person."""

    text = "There is no action {action_id}."
    action_id: UUID


class AlreadyReversedError(ConflictError):
    """The action was reversed before."""

    code = "already-reversed"
    text = "Action {earlier.reverses} was reversed at {earlier.recorded_at:%FT%TZ}."
    earlier: Action


@dataclass(frozen=True, slots=True)
class Reversal:
    """What went back, in grams by where it was found."""

    row: Action
    taken: Mapping[Account, int]


@dataclass(frozen=True, slots=True)
class Undo:
    """An action to be taken back, why, and who says so."""

    participant_id: UUID
    action_id: UUID
    reason: str
    source: str
    reporter: str

    @property
    def key(self) -> RowKey:
        """The primary key of the action's row."""
        return self.participant_id, self.action_id


class Reversals:
    """What one batch takes back, each action once: in memory, then in one statement."""

    def __init__(self, batch: Batch) -> None:
        """The books of all whose actions are taken back are locked."""
        self.batch = batch
        self.known: dict[RowKey, Action] = {}
        self._bubbles: dict[RowKey, Bubble] = {}
        self._expired: dict[RowKey, int] = {}
        self._rows: list[Action] = []
        self._undone: list[Action] = []
        self._changed: list[Bubble] = []

    async def read(self, connection: Connection, keys: Collection[RowKey]) -> None:
        """Read these actions, as far as they stand; a constant number of statements."""
        self.known = known = await read_actions(connection, {*keys, *map(reversal_key, keys)})
        standing = [a for k, a in known.items() if not a.reverses and reversal_key(k) not in known]
        self._bubbles = await read_bubbles(connection, [action.key for action in standing])
        finished = [action for action in standing if action.key not in self._bubbles]
        self._expired = await _expired(connection, finished)

    def take_back(self, undo: Undo) -> Reversal:
        """Take back what this action gave, also of suspended people; its row gives below 0.

        Raises ActionMissingError, AlreadyReversedError, ParticipantErasedError.
        """
        book = self.batch.books[undo.participant_id]
        book.require_not_erased()
        action = self.known.get(undo.key)
        if action is None or action.kind != "action":
            raise ActionMissingError(undo.action_id)
        if (earlier := self.known.get(reversal_key(undo.key))) is not None:
            raise AlreadyReversedError(earlier)
        source, reporter, now = undo.source, undo.reporter, self.batch.now
        row = reversal_row(book, action, undo.reason, source=source, reporter=reporter, now=now)
        bubble, remaining_g = self._bubbles.get(undo.key), 0
        expired_g = self._expired.get(undo.key, 0)
        if bubble is not None:
            remaining_g, expired_g = bubble.remaining_g, bubble.expired_g
        taken = take_back(book, row, remaining_g=remaining_g, expired_g=expired_g)
        if bubble is not None and _empty(bubble, taken):
            self._changed.append(bubble)
        self.known[row.key] = row
        self._undone.append(action)
        self._rows.append(row)
        self.batch.change(row.participant_id)
        tell_savings(self.batch, row)
        return Reversal(row, taken)

    def writes(self) -> list[Write]:
        """What is written beside the books."""
        if not self._rows:
            return []
        writes = [actions_write(self._rows), *_free(self._undone)]
        return [*writes, changed_bubbles_write(self._changed)] if self._changed else writes


def tell_savings(batch: Batch, action: Action) -> None:
    """Let the boards learn what an action saved, or what its reversal takes back."""
    if action.saved_g:
        told = action.recorded_at, action.participant_id
        for board in ("saved", "verified") if action.verified else ("saved",):
            batch.tell(*told, board, action.saved_g, action.region)


def reversal_row(
    book: Book, action: Action, reason: str, *, source: str, reporter: str, now: datetime
) -> Action:
    """The reversal as a row of `actions`, the next one of this book; `saved_g` goes back, too."""
    at = book.tick(now)
    book.action_seq += 1
    book.saved_g -= action.saved_g
    attributes = {"reason": reason}
    canonical = canonical_facts(action.type, action.occurred_at, reporter, attributes)
    row = Action(
        *reversal_key(action.key),
        book.action_seq,
        "reversal",
        action.type,
        action.occurred_at,
        at,
        -action.saved_g,
        -action.energy_g,
        action.rulebook_version,
        action.streak_days,
        action.verified,
        source,
        reporter,
        action.region,
        hashlib.blake2b(canonical, digest_size=16).digest(),
        attributes,
        reverses=action.id,
    )
    row.facts_digest = facts_digest(book.salt or b"", canonical, "", row)
    return row


async def _expired(connection: Connection, actions: Sequence[Action]) -> dict[RowKey, int]:
    """What expired from bubbles that are finished and deleted already."""
    earned = [action for action in actions if action.energy_g]
    if not earned:
        return {}
    owners, ids = [a.participant_id for a in earned], [a.id for a in earned]
    rows = await connection.fetch(_EXPIRED, owners, ids)
    return {(owner, action_id): grams for owner, action_id, grams in rows}


def take_back(book: Book, row: Action, *, remaining_g: int, expired_g: int) -> dict[Account, int]:
    """Post the opposite transfers, in the order in which honest energy suffers least."""
    rest_g = -row.energy_g
    taken: dict[Account, int] = {}
    found_g = remaining_g, expired_g, book[Account.AVAILABLE], rest_g
    for account, most_g in zip(FOUND_IN, found_g, strict=True):
        amount_g = min(rest_g, most_g)
        if amount_g:
            rest_g -= amount_g
            taken[account] = amount_g
            post_action(book, row, account, Account.ISSUANCE, amount_g)
    return taken


def post_action(book: Book, row: Action, debit: Account, credit: Account, amount_g: int) -> None:
    """Post grams that an action or a reversal moves; the chain covers its digest."""
    post(
        book,
        debit,
        credit,
        amount_g,
        cause="reverse" if row.kind == "reversal" else row.kind,
        cause_id=row.id,
        at=row.recorded_at,
        facts_digest=row.facts_digest,
    )


def _empty(bubble: Bubble, taken: Mapping[Account, int]) -> bool:
    """Take from the bubble what was taken for it; whether that was anything."""
    remaining_g, expired_g = taken.get(Account.RIPENING, 0), taken.get(Account.EXPIRED, 0)
    bubble.remaining_g -= remaining_g
    bubble.expired_g -= expired_g
    bubble.reversed_g += remaining_g + expired_g
    return remaining_g + expired_g > 0


def _free(actions: Collection[Action]) -> list[Write]:
    """Give back what these actions used of limits and added to sums of days, and their claims."""
    standings: dict[UUID, Standing] = defaultdict(Standing)
    for action in actions:
        for award in action.awards:
            standings[action.participant_id].use(stored_uses(award["counters"]))
    used = [
        (owner, *key, *more)
        for owner, standing in standings.items()
        for key, more in standing.usage.items()
    ]
    writes = []
    if used:
        writes.append(Write(_GIVE_BACK, _USED.values(used)))
    claimed = [(action.claim_key, *action.key) for action in actions if action.claim_key]
    if claimed:
        writes.append(Write(_UNBIND, tuple(zip(*claimed, strict=True))))
    return writes


_EXPIRED = """
SELECT t.participant_id, t.cause_id, sum(t.amount_g)::bigint FROM transfers t
JOIN unnest($1::uuid[], $2::uuid[]) AS k (participant_id, id)
    ON t.participant_id = k.participant_id AND t.cause_id = k.id
WHERE t.cause = 'expire' AND t.participant_id = ANY($1::uuid[])
GROUP BY 1, 2"""

_USED = Columns(
    "participant_id uuid, counter text, period text, by_key text, n bigint, grams bigint,"
    "earned_g bigint, earned_rest_ng bigint, saved_g bigint, saved_rest_ng bigint"
)

# The rows were used up under this very book's lock, so they cannot fall below 0; one that is gone
# belongs to a period that ended long ago.
_GIVE_BACK = f"""
UPDATE counters SET n = counters.n - d.n, grams = counters.grams - d.grams,
    earned_g = counters.earned_g - d.earned_g,
    earned_rest_ng = counters.earned_rest_ng - d.earned_rest_ng,
    saved_g = counters.saved_g - d.saved_g,
    saved_rest_ng = counters.saved_rest_ng - d.saved_rest_ng
FROM {_USED.rows}
WHERE counters.participant_id = d.participant_id AND counters.counter = d.counter
    AND counters.period = d.period AND counters.by_key = d.by_key"""  # noqa: S608 - constant columns

_UNBIND = """
DELETE FROM claims USING unnest($1::bytea[], $2::uuid[], $3::uuid[])
    AS k (claim_key, participant_id, action_id)
WHERE (claims.claim_key = k.claim_key OR claims.of_key = k.claim_key)
    AND claims.participant_id = k.participant_id AND claims.action_id = k.action_id"""
