"""Actions over HTTP, the operators' side: take one back."""

from typing import Annotated
from uuid import UUID

from litestar.params import FromPath
from msgspec import Meta, Struct

from service.actions.reverse import FOUND_IN, Undo
from service.actions.reverse_by_operator import find_owner, reverse_by_operator
from service.http.access import Request, act_of, post
from service.http.answer import JsonAnswer, answer_once
from service.http.decode import Time, path_uuid, read_body
from service.http.shared import shared
from service.http.texts import prose
from service.platform.database import Connection, Database
from service.platform.settings import Settings
from service.rulebooks.publish import Rulebooks


class ReversalOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Why the action is taken back. With `participant_id` it is found at once, however many."""

    reason: Annotated[str, Meta(min_length=1, max_length=500), prose]
    participant_id: UUID | None = None


class TakenBack(Struct, frozen=True):
    """Where the grams were found; what stands in arrears is repaid from the next collect."""

    ripening_g: int
    expired_g: int
    available_g: int
    arrears_g: int


class ReversalAnswer(Struct, frozen=True):
    """A reversal; what it gives is not above 0."""

    id: UUID
    action_id: UUID
    participant_id: UUID
    at: Time
    reason: str
    energy_g: int
    saved_g: int
    taken: TakenBack


@post(
    "/v1/operator/actions/{action_id:str}/reverse",
    "operator:ledger:adjust",
    body=ReversalOrder,
    answer=ReversalAnswer,
    takes_key=True,
    problems=("already-reversed", "conflict"),
)
async def reverse_action(request: Request, action_id: FromPath[str]) -> JsonAnswer:
    """Take an action's award back by opposite transfers, and free its limits and its claim."""
    wanted = path_uuid(action_id)
    order = await read_body(request, ReversalOrder)
    owner = order.participant_id or await find_owner(shared(request, Database), wanted)

    async def effect(connection: Connection) -> ReversalAnswer:
        reversal = await reverse_by_operator(
            connection,
            Undo(owner, wanted, order.reason),
            act=act_of(request),
            local_date=shared(request, Rulebooks).active.program.local_date,
            lanes=shared(request, Settings).lanes,
        )
        row = reversal.row
        return ReversalAnswer(
            row.id,
            wanted,
            owner,
            row.recorded_at,
            order.reason,
            row.energy_g,
            row.saved_g,
            TakenBack(**{f"{a.column}_g": reversal.taken.get(a, 0) for a in FOUND_IN}),
        )

    return await answer_once(request, effect)
