"""What people ask about their actions."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from service.actions.models import Action, Counter
from service.actions.store import reversal_id
from service.rules.decide.evaluate import Usage
from service.rules.decide.rulebook import CounterKey


async def list_actions(
    session: AsyncSession,
    participant_id: UUID,
    *,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Action]:
    """A person's actions, the latest to have happened first; reversals are not listed."""
    query = (
        select(Action)
        .where(Action.participant_id == participant_id, Action.kind == "action")
        .order_by(Action.occurred_at.desc(), Action.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(tuple_(Action.occurred_at, Action.id) < tuple_(*before))
    return (await session.scalars(query)).all()


async def find_action(
    session: AsyncSession, participant_id: UUID, action_id: UUID
) -> Action | None:
    """One action of this person."""
    action = await session.get(Action, (participant_id, action_id))
    return action if action is not None and action.kind == "action" else None


async def reversals_of(
    session: AsyncSession, participant_id: UUID, action_ids: Iterable[UUID]
) -> dict[UUID, Action]:
    """The rows that reversed any of these actions, by the action."""
    found = await session.scalars(
        select(Action).where(
            Action.participant_id == participant_id,
            Action.id.in_([reversal_id(action_id) for action_id in action_ids]),
        )
    )
    return {row.reverses: row for row in found if row.reverses is not None}


async def read_usage(
    session: AsyncSession, participant_id: UUID, keys: Iterable[CounterKey]
) -> Usage:
    """What a person has used of these limits, as (count, grams)."""
    wanted = list(keys)
    if not wanted:
        return {}
    rows = await session.execute(
        select(Counter.counter, Counter.period, Counter.by_key, Counter.n, Counter.grams).where(
            Counter.participant_id == participant_id,
            tuple_(Counter.counter, Counter.period, Counter.by_key).in_(wanted),
        )
    )
    return {CounterKey(counter, period, by): (n, grams) for counter, period, by, n, grams in rows}
