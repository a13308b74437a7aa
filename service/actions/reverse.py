"""Reversing an action: its energy goes back by opposite transfers, its limits and claim are free.

A reversal is a row of `actions` whose id follows from the reversed one, so it happens once. What
the action's bubble still holds goes first, then what expired from it, then what is available; the
rest stands in arrears, repaid by what becomes available next. Campaign budgets get nothing back.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import asyncpg

from service.actions.facts import canonical_facts, facts_digest
from service.actions.store import (
    Action,
    actions_write,
    read_actions,
    reversal_id,
    savings_writes,
)
from service.energy.bubbles import Bubble, changed_bubbles_write, read_bubbles
from service.ledger.accounts import Account
from service.ledger.books import (
    Book,
    ParticipantErasedError,
    book_writes,
    lock_book,
    post,
)
from service.platform.acts import Act
from service.platform.database import Connection, Database, Write, write_all
from service.platform.errors import ConflictError, NotFoundError, SaxaulError, UnavailableError
from service.platform.outbox import lane_of
from service.rules.decide.standing import Standing, stored_uses


class AlreadyReversedError(ConflictError):
    """An operator wants to reverse what was reversed before."""

    code = "already-reversed"
    text = "Action {earlier.action_id} was reversed at {earlier.at:%FT%TZ}."
    earlier: "Reversal"


class ActionMissingError(NotFoundError):
    """No such action of this person."""

    text = "There is no action {action_id}."
    action_id: UUID


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


@dataclass(frozen=True, slots=True)
class Undo:
    """An action to be taken back, and why."""

    participant_id: UUID
    action_id: UUID
    reason: str

    @property
    def rows(self) -> tuple[tuple[UUID, UUID], tuple[UUID, UUID]]:
        """The keys of the action's row and of its reversal's."""
        owner = self.participant_id
        return (owner, self.action_id), (owner, reversal_id(self.action_id))


@dataclass(frozen=True, slots=True)
class Undoing:
    """Who takes back, when, and how days and lanes are counted."""

    source: str
    reporter: str
    now: datetime
    local_date: Callable[[datetime], date]
    lane_of: Callable[[UUID], int]


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
    undo = Undo(participant_id, action_id, reason)
    undoing = Undoing(source, reporter, now, local_date, lambda _: lane)
    outcome = (await reverse_actions(connection, {participant_id: book}, [undo], undoing))[undo]
    if isinstance(outcome, SaxaulError):
        raise outcome
    return outcome


async def reverse_actions(
    connection: Connection, books: Mapping[UUID, Book], undos: Sequence[Undo], undoing: Undoing
) -> dict[Undo, Reversal | SaxaulError]:
    """Take back these actions of locked books, each with its own outcome: never two of one action.

    A constant number of statements, whatever their number. An outcome may be ActionMissingError or
    ParticipantErasedError.
    """
    known = await read_actions(connection, [key for undo in undos for key in undo.rows])
    outcomes: dict[Undo, Reversal | SaxaulError] = {}
    standing: list[tuple[Undo, Action]] = []
    for undo in undos:
        of_action, of_reversal = undo.rows
        action = known.get(of_action)
        if books[undo.participant_id].closed:
            outcomes[undo] = ParticipantErasedError(undo.participant_id)
        elif action is None or action.kind != "action":
            outcomes[undo] = ActionMissingError(undo.action_id)
        elif (earlier := known.get(of_reversal)) is not None:
            outcomes[undo] = _reversal(earlier, {}, is_repeated=True)
        else:
            standing.append((undo, action))
    bubbles = await read_bubbles(connection, [undo.rows[0] for undo, _ in standing])
    expired = await _expired(connection, [a for u, a in standing if u.rows[0] not in bubbles])
    rows: list[Action] = []
    changed: list[Bubble] = []
    for undo, action in standing:
        book, bubble = books[undo.participant_id], bubbles.get(undo.rows[0])
        row = reversal_row(
            book,
            action,
            undo.reason,
            source=undoing.source,
            reporter=undoing.reporter,
            now=undoing.now,
        )
        expired_g = bubble.expired_g if bubble else expired.get(undo.rows[0], 0)
        remaining_g = bubble.remaining_g if bubble else 0
        taken = take_back(book, row, remaining_g=remaining_g, expired_g=expired_g)
        if bubble is not None and (from_bubble_g := _empty(bubble, taken)):
            bubble.reversed_g += from_bubble_g
            changed.append(bubble)
        rows.append(row)
        outcomes[undo] = _reversal(row, taken, is_repeated=False)
    if rows:
        writes = _writes(books, rows, [action for _, action in standing], undoing)
        writes += [changed_bubbles_write(changed)] if changed else []
        await write_all(connection, writes)
    return outcomes


def _writes(
    books: Mapping[UUID, Book], rows: Sequence[Action], undone: Sequence[Action], undoing: Undoing
) -> list[Write]:
    """What reversals change, but for the bubbles; the views learn of it by lane and day."""
    moved = {row.participant_id: books[row.participant_id] for row in rows}
    told = savings_writes(
        rows, at=undoing.now, local_date=undoing.local_date, lane_of=undoing.lane_of
    )
    return [actions_write(rows), *book_writes([*moved.values()]), *_free(undone), *told]


async def reverse_by_operator(
    connection: Connection,
    owner: UUID,
    action_id: UUID,
    *,
    reason: str,
    act: Act,
    local_date: Callable[[datetime], date],
    lanes: int,
) -> Reversal:
    """Reverse an action of this person and say so in the log of acts.

    Raises ActionMissingError, AlreadyReversedError, ParticipantErasedError, BookMissingError.
    """
    reversal = await reverse_action(
        connection,
        owner,
        action_id,
        reason=reason,
        source="operator",
        reporter="operator",
        now=act.now,
        local_date=local_date,
        lane=lane_of(owner, lanes),
    )
    if reversal.is_repeated:
        raise AlreadyReversedError(reversal)
    await act.log(
        connection,
        "action.reverse",
        action_id,
        {
            "participant_id": str(owner),
            "reversal": str(reversal.id),
            "reason": reason,
            "energy_g": reversal.energy_g,
            "saved_g": reversal.saved_g,
            "taken": {f"{account.column}_g": g for account, g in reversal.taken.items()},
        },
    )
    return reversal


async def find_owner(database: Database, action_id: UUID) -> UUID:
    """Whose action this is. Raises ActionMissingError, UnavailableError.

    Ids alone have no index, so the index of the primary key is read from end to end: 23 ms at 1 M
    actions and in proportion above, at most 20 s; the main job never waits for it.
    """
    try:
        async with database.transaction() as connection:
            await connection.execute(_SLOWLY)
            owner: UUID | None = await connection.fetchval(_OWNER, action_id)
    except asyncpg.QueryCanceledError as error:
        text = "The action was not found in time; name its participant_id, too."
        raise UnavailableError(text) from error
    if owner is None:
        raise ActionMissingError(action_id)
    return owner


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


async def _expired(
    connection: Connection, actions: Sequence[Action]
) -> dict[tuple[UUID, UUID], int]:
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


def _free(actions: Sequence[Action]) -> list[Write]:
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
        columns = zip(*used, strict=True)
        writes.append(Write(_GIVE_BACK, tuple([list(column) for column in columns])))
    claimed = [action for action in actions if action.claim_key is not None]
    if claimed:
        owners, ids = [a.participant_id for a in claimed], [a.id for a in claimed]
        writes.append(Write(_UNBIND, ([a.claim_key for a in claimed], owners, ids)))
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
SELECT t.participant_id, t.cause_id, sum(t.amount_g)::bigint FROM transfers t
JOIN unnest($1::uuid[], $2::uuid[]) AS k (participant_id, id)
    ON t.participant_id = k.participant_id AND t.cause_id = k.id
WHERE t.cause = 'expire' AND t.participant_id = ANY($1::uuid[])
GROUP BY 1, 2"""

# The rows were used up under this very book's lock, so they cannot fall below 0; one that is gone
# belongs to a period that ended long ago.
_GIVE_BACK = """
UPDATE counters SET n = counters.n - d.n, grams = counters.grams - d.grams,
    earned_g = counters.earned_g - d.earned_g,
    earned_rest_ng = counters.earned_rest_ng - d.earned_rest_ng,
    saved_g = counters.saved_g - d.saved_g,
    saved_rest_ng = counters.saved_rest_ng - d.saved_rest_ng
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
        $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
    AS d (participant_id, counter, period, by_key, n, grams, earned_g, earned_rest_ng,
        saved_g, saved_rest_ng)
WHERE counters.participant_id = d.participant_id AND counters.counter = d.counter
    AND counters.period = d.period AND counters.by_key = d.by_key
    AND counters.participant_id = ANY($1::uuid[])"""

_UNBIND = """
DELETE FROM claims USING unnest($1::bytea[], $2::uuid[], $3::uuid[])
    AS k (claim_key, participant_id, action_id)
WHERE (claims.claim_key = k.claim_key OR claims.of_key = k.claim_key)
    AND claims.participant_id = k.participant_id AND claims.action_id = k.action_id"""
