"""Actions over HTTP, the operators' side: take one back."""

from typing import Annotated
from uuid import UUID

from litestar.params import FromPath
from msgspec import Meta, Struct

from service.actions.reverse import FOUND_IN, Reversal
from service.actions.reverse_by_operator import ReverseOrder, find_owner
from service.http.access import Request, act_of, post
from service.http.answer import JsonAnswer
from service.http.decode import Time, path_uuid, read_body
from service.http.idempotency import key_of
from service.http.shared import shared
from service.http.texts import prose
from service.ledger.lanes import answer_order
from service.platform.database import Database


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
    body = await read_body(request, ReversalOrder)
    owner = body.participant_id or await find_owner(shared(request, Database), wanted)

    def tell(reversal: Reversal) -> ReversalAnswer:
        row, taken = reversal.row, reversal.taken
        return ReversalAnswer(
            row.id,
            wanted,
            owner,
            row.recorded_at,
            body.reason,
            row.energy_g,
            row.saved_g,
            TakenBack(**{f"{account.column}_g": taken.get(account, 0) for account in FOUND_IN}),
        )

    order = ReverseOrder(
        owner,
        key=await key_of(request),
        tell=tell,
        action_id=wanted,
        reason=body.reason,
        act=act_of(request),
    )
    return await answer_order(request, order)
