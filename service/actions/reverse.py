"""Reversing an action: its energy goes back by opposite transfers, its limits and claim are free.

A reversal is a row of `actions` whose id follows from the reversed one, so it happens once. What
the action's bubble still holds goes first, then what expired from it, then what is available; the
rest stands in arrears and is repaid from the next collect. Campaign budgets get nothing back.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from service.actions.facts import canonical_facts, facts_digest
from service.actions.store import Action, actions_write, read_actions, reversal_id
from service.audit_log import log_act
from service.auth import Caller
from service.database import Connection, Database, Write, write_all
from service.energy.bubbles import (
    Bubble,
    BubbleMissingError,
    changed_bubbles_write,
    read_bubble,
)
from service.errors import ConflictError, NotFoundError, UnavailableError
from service.ledger.accounts import Account
from service.ledger.books import Book, book_writes, lock_book, post
from service.outbox import lane_of, outbox_write


class AlreadyReversedError(ConflictError):
    """An operator wants to reverse what was reversed before."""

    code = "already-reversed"

    def __init__(self, earlier: "Reversal") -> None:
        """Tell when."""
        super().__init__(
            f"Action {earlier.action_id} was reversed at {earlier.at:%Y-%m-%dT%H:%M:%SZ}."
        )


class SearchTooLongError(UnavailableError):
    """Looking for an action among all of them took too long."""

    def __init__(self) -> None:
        """Say how it is found at once."""
        super().__init__("The action was not found in time; name its participant_id, too.")


class ActionMissingError(NotFoundError):
    """No such action of this person."""

    def __init__(self, action_id: UUID) -> None:
        """Name the action."""
        super().__init__(f"There is no action {action_id}.")


@dataclass(frozen=True, slots=True)
class Reversal:
    """What went back, in grams by where it was found. `is_repeated`: it had gone back before."""

    id: UUID
    action_id: UUID
    participant_id: UUID
    at: datetime
    energy_g: int
    saved_g: int
    taken: Mapping[Account, int]
    is_repeated: bool


async def reverse_action(
    connection: Connection,
    participant_id: UUID,
    action_id: UUID,
    *,
    reason: str,
    source: str,
    reporter: str,
    now: datetime,
    local_date: Callable[[datetime], date],
    lane: int,
) -> Reversal:
    """Take back what this action gave; `energy_g` and `saved_g` of the answer are not above 0.

    Works for suspended people. Raises ActionMissingError, ParticipantErasedError, BookMissingError.
    """
    book = await lock_book(connection, participant_id)
    book.require_not_erased()
    undone = reversal_id(action_id)
    rows = await read_actions(connection, [(participant_id, action_id), (participant_id, undone)])
    action = rows.get((participant_id, action_id))
    if action is None or action.kind != "action":
        raise ActionMissingError(action_id)
    if (earlier := rows.get((participant_id, undone))) is not None:
        return _reversal(earlier, {}, is_repeated=True)
    row = _row(book, action, reason=reason, source=source, reporter=reporter, now=now)
    bubble, expired_g = await _held(connection, action)
    taken = _take_back(
        book, row, remaining_g=bubble.remaining_g if bubble else 0, expired_g=expired_g
    )
    book.saved_g += row.saved_g
    writes = [actions_write([row]), *book_writes([book]), *_free(action)]
    if bubble is not None and (from_bubble_g := _empty(bubble, taken)):
        bubble.reversed_g += from_bubble_g
        writes.append(changed_bubbles_write([bubble]))
    if row.saved_g:
        delta = (participant_id, "saved", row.saved_g, row.region)
        day = local_date(row.recorded_at).isoformat()
        writes.append(outbox_write(lane, row.recorded_at, day, [delta]))
    await write_all(connection, writes)
    return _reversal(row, taken, is_repeated=False)


async def reverse_by_operator(
    database: Database,
    action_id: UUID,
    participant_id: UUID | None,
    *,
    reason: str,
    operator: Caller,
    now: datetime,
    local_date: Callable[[datetime], date],
    lanes: int,
) -> Reversal:
    """Reverse an action and say so in the log of acts; whose it is, is looked up when not given.

    Raises ActionMissingError, AlreadyReversedError, ParticipantErasedError, BookMissingError.
    """
    owner = participant_id or await _find_owner(database, action_id)
    async with database.transaction() as connection:
        reversal = await reverse_action(
            connection,
            owner,
            action_id,
            reason=reason,
            source="operator",
            reporter="operator",
            now=now,
            local_date=local_date,
            lane=lane_of(owner, lanes),
        )
        if reversal.is_repeated:
            raise AlreadyReversedError(reversal)
        await log_act(
            connection,
            now=now,
            actor=operator.subject,
            act="action.reverse",
            object_id=str(action_id),
            detail={
                "participant_id": str(owner),
                "reversal": str(reversal.id),
                "reason": reason,
                "energy_g": reversal.energy_g,
                "saved_g": reversal.saved_g,
                "taken": {f"{account.column}_g": g for account, g in reversal.taken.items()},
            },
            request_id=operator.request_id,
        )
    return reversal


async def _find_owner(database: Database, action_id: UUID) -> UUID:
    """Whose action this is. Raises ActionMissingError, SearchTooLongError.

    Ids alone have no index, so the index of the primary key is read from end to end: 23 ms at 1 M
    actions and in proportion above, at most 20 s; the main job never waits for it.
    """
    try:
        async with database.transaction() as connection:
            await connection.execute(_SLOWLY)
            owner: UUID | None = await connection.fetchval(_OWNER, action_id)
    except asyncpg.QueryCanceledError as error:
        raise SearchTooLongError from error
    if owner is None:
        raise ActionMissingError(action_id)
    return owner


def _row(
    book: Book, action: Action, *, reason: str, source: str, reporter: str, now: datetime
) -> Action:
    """The reversal as a row of `actions`, the next one of this book."""
    at = book.tick(now)
    book.action_seq += 1
    attributes = {"reason": reason}
    canonical = canonical_facts(action.type, action.occurred_at, reporter, attributes)
    row = Action(
        action.participant_id,
        reversal_id(action.id),
        book.action_seq,
        "reversal",
        action.type,
        action.occurred_at,
        None,
        False,
        at,
        None,
        None,
        -action.saved_g,
        -action.energy_g,
        action.rulebook_version,
        action.streak_days,
        action.verified,
        source,
        reporter,
        action.region,
        action.id,
        hashlib.blake2b(canonical, digest_size=16).digest(),
        b"",
        None,
        attributes,
        [],
    )
    row.facts_digest = facts_digest(book.salt or b"", canonical, "", row)
    return row


async def _held(connection: Connection, action: Action) -> tuple[Bubble | None, int]:
    """The action's bubble, and what expired from it; a finished one may be deleted already."""
    if not action.energy_g:
        return None, 0
    try:
        bubble = await read_bubble(connection, action.participant_id, action.id)
    except BubbleMissingError:
        return None, await connection.fetchval(_EXPIRED, action.participant_id, action.id)
    return bubble, bubble.expired_g


def _take_back(book: Book, row: Action, *, remaining_g: int, expired_g: int) -> dict[Account, int]:
    """Post the opposite transfers, in the order in which honest energy suffers least."""
    rest_g = -row.energy_g
    taken: dict[Account, int] = {}
    for account, most_g in (
        (Account.RIPENING, remaining_g),
        (Account.EXPIRED, expired_g),
        (Account.AVAILABLE, book[Account.AVAILABLE]),
        (Account.ARREARS, rest_g),
    ):
        amount_g = min(rest_g, most_g)
        if amount_g:
            rest_g -= amount_g
            taken[account] = amount_g
            post(
                book,
                account,
                Account.ISSUANCE,
                amount_g,
                cause="reverse",
                cause_id=row.id,
                at=row.recorded_at,
                facts_digest=row.facts_digest,
            )
    return taken


def _empty(bubble: Bubble, taken: Mapping[Account, int]) -> int:
    """Take from the bubble what was taken for it; how many grams that were."""
    remaining_g, expired_g = taken.get(Account.RIPENING, 0), taken.get(Account.EXPIRED, 0)
    bubble.remaining_g -= remaining_g
    bubble.expired_g -= expired_g
    return remaining_g + expired_g


def _free(action: Action) -> list[Write]:
    """Give back what the action used of its limits, and its claim."""
    used: dict[tuple[str, str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for award in action.awards:
        for counter, period, by_key, n, grams in award["counters"]:
            before = used[counter, period, by_key]
            used[counter, period, by_key] = (before[0] + n, before[1] + grams)
    writes = []
    if used:
        columns: list[Sequence[Any]] = [
            *zip(*used, strict=True),
            *zip(*used.values(), strict=True),
        ]
        values = [list(column) for column in columns]
        writes.append(Write(_GIVE_BACK, (action.participant_id, *values)))
    if action.claim_key is not None:
        writes.append(Write(_UNBIND, (action.claim_key, action.participant_id, action.id)))
    return writes


def _reversal(row: Action, taken: Mapping[Account, int], *, is_repeated: bool) -> Reversal:
    assert row.reverses is not None
    return Reversal(
        row.id,
        row.reverses,
        row.participant_id,
        row.recorded_at,
        row.energy_g,
        row.saved_g,
        taken,
        is_repeated,
    )


_SLOWLY = "SELECT set_config('statement_timeout', '20s', true)"

_OWNER = "SELECT participant_id FROM actions WHERE id = $1"

_EXPIRED = """
SELECT coalesce(sum(amount_g), 0)::bigint FROM transfers
WHERE participant_id = $1 AND cause = 'expire' AND cause_id = $2"""

# The rows were used up under this very book's lock, so they cannot fall below 0; one that is gone
# belongs to a period that ended long ago.
_GIVE_BACK = """
UPDATE counters SET n = counters.n - d.n, grams = counters.grams - d.grams
FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
    AS d (counter, period, by_key, n, grams)
WHERE counters.participant_id = $1 AND counters.counter = d.counter
    AND counters.period = d.period AND counters.by_key = d.by_key"""

_UNBIND = """
DELETE FROM claims WHERE claim_key = $1 AND participant_id = $2 AND action_id = $3"""
