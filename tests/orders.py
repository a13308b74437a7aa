"""Orders settled in one transaction of their own, as a lane does it."""

from functools import partial

from service.actions.reverse_by_operator import ReverseOrder
from service.energy.collect import CollectOrder
from service.energy.expire import expire_due
from service.http.decode import NoFields
from service.ledger.adjust import AdjustOrder
from service.ledger.orders import Batch
from service.planting.pledge import CancelOrder, PledgeOrder
from service.platform.acts import Act
from service.platform.errors import SaxaulError
from service.privacy.erase import EraseOrder, finish_erasures
from tests.actions.reports import SECRET
from tests.rules.sets import shipped_rulebook

RULEBOOK = shipped_rulebook()


async def settle(database, orders, *, rulebook, now, secret=SECRET, wait=False, **told):
    """What became of each; one that had to wait is left out."""
    return await Batch(rulebook, now, secret=secret, **told).settle(database, orders, wait=wait)


async def settled(connection, kind, participant_id, *, rulebook, now, lanes=1, **asked):
    """What was decided on one order, in the transaction of this connection. Raises its refusal."""
    found = []

    def tell(done):
        found.append(done)
        return NoFields()

    order = kind(participant_id, key=None, tell=tell, **asked)
    batch = Batch(rulebook, now, secret=SECRET, lanes=lanes)
    outcome = (await batch.run(connection, [order], wait=True))[order]
    if isinstance(outcome, SaxaulError):
        raise outcome
    return found[0]


async def collect(connection, participant_id, bubble_id=None, **told):
    """Collect one bubble, or all that are ripe."""
    return await settled(connection, CollectOrder, participant_id, bubble_id=bubble_id, **told)


async def pledge(connection, participant_id, project_id, trees=1, dedication=None, **told):
    """Promise trees."""
    asked = {"project_id": project_id, "trees": trees, "dedication": dedication}
    return await settled(connection, PledgeOrder, participant_id, **asked, **told)


async def cancel(connection, participant_id, pledge_id, **told):
    """Take a pledge back."""
    return await settled(connection, CancelOrder, participant_id, pledge_id=pledge_id, **told)


async def adjust(connection, participant_id, amount_g, *, reason, act, rulebook):
    """Correct what somebody can spend."""
    asked = {"amount_g": amount_g, "reason": reason, "act": act}
    now = act.now
    return await settled(
        connection, AdjustOrder, participant_id, rulebook=rulebook, now=now, **asked
    )


async def reverse(database, participant_id, action_id, *, now, rulebook=RULEBOOK, **told):
    """An operator takes an action back."""
    asked = {
        "action_id": action_id,
        "reason": "counted twice",
        "act": Act("olga", "request-1", now),
    }
    async with database.transaction() as connection:
        return await settled(
            connection, ReverseOrder, participant_id, rulebook=rulebook, now=now, **asked, **told
        )


async def erase(database, participant_id, now):
    """Forget somebody; whether that is new."""
    order = EraseOrder(participant_id)
    outcomes = await settle(database, [order], rulebook=RULEBOOK, now=now, wait=True)
    await finish_erasures(database, now)
    return outcomes[order]


async def expire(database, now, **options):
    """Expire what is due, as the worker's sweep does."""
    return await expire_due(database, partial(Batch, RULEBOOK, now, secret=SECRET), **options)
