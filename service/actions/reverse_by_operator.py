"""An operator takes an action back, by its id, and the log of acts tells it."""

from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from uuid import UUID

import asyncpg

from service.actions.reverse import ActionMissingError, Reversal, Undo, Undoing, reverse_action
from service.actions.store import Action
from service.platform.acts import Act
from service.platform.database import Connection, Database
from service.platform.errors import ConflictError, UnavailableError
from service.platform.outbox import lane_of


class AlreadyReversedError(ConflictError):
    """An operator wants to reverse what was reversed before."""

    code = "already-reversed"
    text = "Action {earlier.reverses} was reversed at {earlier.recorded_at:%FT%TZ}."
    earlier: Action


async def reverse_by_operator(
    connection: Connection,
    undo: Undo,
    *,
    act: Act,
    local_date: Callable[[datetime], date],
    lanes: int,
) -> Reversal:
    """Reverse an action and say so in the log of acts.

    Raises ActionMissingError, AlreadyReversedError, ParticipantErasedError, BookMissingError.
    """
    lane = partial(lane_of, lanes=lanes)
    undoing = Undoing("operator", "operator", act.now, local_date, lane)
    reversal = await reverse_action(connection, undo, undoing)
    row = reversal.row
    if reversal.is_repeated:
        raise AlreadyReversedError(row)
    await act.log(
        connection,
        "action.reverse",
        undo.action_id,
        {
            "participant_id": str(undo.participant_id),
            "reversal": str(row.id),
            "reason": undo.reason,
            "energy_g": row.energy_g,
            "saved_g": row.saved_g,
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
            await connection.execute("SELECT set_config('statement_timeout', '20s', true)")
            owner: UUID | None = await connection.fetchval(_OWNER, action_id)
    except asyncpg.QueryCanceledError as error:
        text = "The action was not found in time; name its participant_id, too."
        raise UnavailableError(text) from error
    if owner is None:
        raise ActionMissingError(action_id)
    return owner


_OWNER = "SELECT participant_id FROM actions WHERE id = $1"
