"""What people ask about their actions."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from service.actions import models
from service.actions.models import Counter
from service.actions.store import Action
from service.rules.decide.evaluate import Usage
from service.rules.decide.rulebook import CounterKey

_ACTIONS = select(*[getattr(models.Action, name) for name in Action.__struct_fields__])


async def list_actions(
    session: AsyncSession,
    participant_id: UUID,
    *,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Action]:
    """A person's actions, the latest to have happened first; reversals are not listed."""
    query = (
        _ACTIONS.where(models.Action.participant_id == participant_id)
        .where(models.Action.kind == "action")
        .order_by(models.Action.occurred_at.desc(), models.Action.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(tuple_(models.Action.occurred_at, models.Action.id) < tuple_(*before))
    return [Action(*row) for row in await session.execute(query)]


async def find_actions(
    session: AsyncSession, participant_id: UUID, ids: Iterable[UUID]
) -> dict[UUID, Action]:
    """Those of these actions and reversals that are this person's, by id."""
    of_person = _ACTIONS.where(models.Action.participant_id == participant_id)
    rows = await session.execute(of_person.where(models.Action.id.in_(ids)))
    return {action.id: action for row in rows for action in [Action(*row)]}


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
