"""A person's own page: who they are here, what they hold, what they show."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from service.http.access import Request, caller, get, patch
from service.http.answer import JsonAnswer, as_json
from service.http.decode import Time, read_body
from service.http.shared import shared
from service.http.texts import NICKNAME_MAX, nickname
from service.ledger.balances import Balances
from service.participants.edit_profile import edit_profile
from service.participants.queries import Suspension, Totals, find_participant
from service.platform.database import Database
from service.platform.errors import BookClosedError

Visibility = Literal["public", "friends", "hidden"]
DisplayName = Annotated[str, Meta(min_length=1, max_length=NICKNAME_MAX), nickname]
Region = Annotated[str, Meta(max_length=6, pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}$(?!\n)")]


class Me(Struct, frozen=True):
    """The caller. `suspension` is there only as long as nothing may move in their book."""

    participant_id: UUID
    display_name: str
    region: str | None
    visibility: Visibility
    created_at: Time
    balances: Balances
    totals: Totals
    suspension: Suspension | UnsetType = UNSET


class ProfileEdit(Struct, frozen=True, forbid_unknown_fields=True):
    """What shall be other than it is. `region` is an ISO 3166-2 code, or null for none."""

    display_name: DisplayName | UnsetType = UNSET
    region: Region | UnsetType | None = UNSET
    visibility: Visibility | UnsetType = UNSET
    takeable: bool | UnsetType = UNSET


@get("/v1/me", "participant", answer=Me)
async def get_me(request: Request) -> JsonAnswer:
    """Me: name, balances, totals."""
    return await _me(request)


@patch("/v1/me", "participant", body=ProfileEdit, answer=Me)
async def edit_me(request: Request) -> JsonAnswer:
    """Change what I show of myself."""
    edit = await read_body(request, ProfileEdit)
    changes = {name: value for name, value in structs.asdict(edit).items() if value is not UNSET}
    async with shared(request, Database).transaction() as connection:
        await edit_profile(connection, caller(request).participant_id, changes)
    return await _me(request)


async def _me(request: Request) -> JsonAnswer:
    participant_id = caller(request).participant_id
    found = await find_participant(shared(request, Database).reads, participant_id)
    if found is None or found.display_name is None:
        raise BookClosedError(participant_id)
    return as_json(Me(**{name: getattr(found, name) for name in Me.__struct_fields__}))
