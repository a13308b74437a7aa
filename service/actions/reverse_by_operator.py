"""An operator takes an action back, by its id, and the log of acts tells it."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from service.actions.reverse import ActionMissingError, Reversal, Reversals, Undo
from service.ledger.orders import RequestOrder, Work
from service.platform.acts import Act
from service.platform.database import Connection, Database, Write
from service.platform.errors import UnavailableError


class Reversing(Work):
    """Takes back what operators name, and logs who did it and why."""

    rank = 3
    mixes = False

    async def read(self, connection: Connection, orders: Sequence["ReverseOrder"]) -> None:
        """The actions, and where their grams are."""
        self._reversals = Reversals(self.batch)
        await self._reversals.read(connection, {(o.participant_id, o.action_id) for o in orders})

    def decide(self, order: "ReverseOrder") -> Reversal:
        """Reverse an action.

        Raises ActionMissingError, AlreadyReversedError, ParticipantErasedError.
        """
        owner, by = order.participant_id, "operator"
        reversal = self._reversals.take_back(Undo(owner, order.action_id, order.reason, by, by))
        row = reversal.row
        told = {"participant_id": str(owner), "reversal": str(row.id), "reason": order.reason}
        given = {"energy_g": row.energy_g, "saved_g": row.saved_g}
        taken = {f"{account.column}_g": grams for account, grams in reversal.taken.items()}
        detail = told | given | {"taken": taken}
        self.batch.log(order, order.act, "action.reverse", order.action_id, detail)
        return reversal

    async def finish(self, _connection: Connection) -> list[Write]:
        """Write what the reversals moved."""
        return self._reversals.writes()


class ReverseOrder(RequestOrder, kw_only=True):
    """An operator takes an action back."""

    work = Reversing
    action_id: UUID
    reason: str
    act: Act


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
