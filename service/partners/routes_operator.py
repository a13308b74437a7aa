"""Partners over HTTP, the operators' side: open and change them, their keys, what is parked."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from service.actions.event_rows import KEPT, discard_event, list_parked
from service.actions.models import PartnerEvent
from service.http.access import Request, act_of, opens
from service.http.answer import Listing
from service.http.decode import Time, path_uuid, read_body, read_query
from service.http.faults import fault
from service.http.pages import Page, paged
from service.http.shared import shared
from service.http.texts import label
from service.partners.administer import (
    PartnerAct,
    PartnerMissingError,
    add_key,
    change_partner,
    make_partner,
    retire_key,
    revoke_key,
)
from service.partners.envelope import master_keys
from service.partners.keys import KeyState, Kind, is_partner_id, key_state
from service.partners.models import Partner, PartnerKey
from service.partners.queries import find_partner, keys_of, list_partners
from service.partners.receive import Intake
from service.partners.release import release_one
from service.partners.signature import KeyTextError, public_text, read_public_key, secret_text
from service.platform.clock import Clock
from service.platform.database import Database
from service.platform.errors import Code, NotFoundError
from service.platform.settings import Settings

PartnerId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$(?!\n)")]
Name = Annotated[str, Meta(min_length=1, max_length=200), label]
Prefix = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[!-~]+$(?!\n)")]
Types = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=128)]],
    Meta(max_length=200),
]


class PartnerBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A partner: what it may send, and from which sources."""

    id: PartnerId
    name: Name
    action_types: Types
    source_prefix: Prefix


class PartnerChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """What changes; the rest stays. A disabled partner is as unknown as one that never was."""

    name: Name | UnsetType = UNSET
    action_types: Types | UnsetType = UNSET
    source_prefix: Prefix | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class KeyOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """A shared secret, which the answer shows once, or the partner's public key.

    `public_key` is `whpk_` and the base64 of 32 bytes. A key with `not_before` waits until then.
    """

    kind: Literal["hmac", "ed25519"]
    public_key: Annotated[str, Meta(max_length=200)] | None = None
    not_before: Time | None = None


class RetireOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the key is still believed, beside the one that follows it."""

    overlap_s: Annotated[int, Meta(ge=0, le=7_776_000)] = 604_800


class KeyAnswer(Struct, frozen=True):
    """A key; it is never shown again what a secret is."""

    key_id: UUID
    kind: Kind
    state: KeyState
    public_key: str | None
    created_at: Time
    not_before: Time
    not_after: Time | None
    last_used_at: Time | None


class NewKeyAnswer(Struct, frozen=True, omit_defaults=True):
    """A key just made; keep the secret, it is shown this once."""

    key_id: UUID
    kind: Kind
    state: KeyState
    secret: str | UnsetType = UNSET


class PartnerAnswer(Struct, frozen=True):
    """A partner with its keys, the newest first."""

    id: str
    name: str
    action_types: list[str]
    source_prefix: str
    disabled: bool
    created_at: Time
    keys: list[KeyAnswer]


class ParkedSearch(Page, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of which partner; nothing: of all. Those that wait, or that were refused or discarded."""

    partner_id: Annotated[str, Meta(max_length=63)] | None = None
    state: Literal["parked", "discarded"] = "parked"


class ParkedEventAnswer(Struct, frozen=True):
    """An event that waits; `event` is what the partner sent.

    Of one that was refused at its release or discarded, `type` and `event` are gone and null.
    """

    id: UUID
    partner_id: str
    source: str
    event_id: str
    type: str | None
    reason: str
    received_at: Time
    expires_at: Time
    event: dict[str, Any] | None


class ParkedStepAnswer(Struct, frozen=True, omit_defaults=True):
    """What became of it; `reason` is what it waits for, if it still does."""

    id: UUID
    status: Literal["accepted", "duplicate", "parked", "rejected", "discarded"]
    reason: str | UnsetType = UNSET
    action_id: UUID | UnsetType = UNSET
    code: Code | UnsetType = UNSET
    detail: str | UnsetType = UNSET


@post(
    "/v1/operator/partners",
    status_code=201,
    operation_id="makePartner",
    **opens("operator:partners:admin", body=PartnerBody, problems=("conflict",)),
)
async def make_one_partner(request: Request) -> PartnerAnswer:
    """Open a partner. It can send nothing before it has a key."""
    body = await read_body(request, PartnerBody)
    fields = msgspec.to_builtins(body)
    partner_id = fields.pop("id")
    fields["action_types"] = sorted(set(fields["action_types"]))
    async with shared(request, Database).transaction() as connection:
        await make_partner(connection, partner_id, fields, _act(request))
    return await _shown(request, partner_id)


@get(
    "/v1/operator/partners",
    operation_id="listPartners",
    **opens("operator:partners:admin", query=Page),
)
async def list_all_partners(request: Request) -> Listing[PartnerAnswer]:
    """All partners with their keys and when these were used last."""
    page = paged(request, "partners", id=str)
    async with shared(request, Database).sessions() as session:
        rows = await list_partners(session, after=page.after, limit=page.rows)
        keys = await keys_of(session, [row.id for row in rows])
    now = shared(request, Clock).real_now()
    return page.listing([_answer(row, keys, now) for row in rows])


@get(
    "/v1/operator/partners/{partner_id:str}",
    operation_id="getPartner",
    **opens("operator:partners:admin"),
)
async def get_partner(request: Request, partner_id: FromPath[str]) -> PartnerAnswer:
    """One partner."""
    return await _shown(request, partner_id)


@patch(
    "/v1/operator/partners/{partner_id:str}",
    operation_id="changePartner",
    **opens("operator:partners:admin", body=PartnerChanges),
)
async def change_one_partner(request: Request, partner_id: FromPath[str]) -> PartnerAnswer:
    """Change a partner; every process follows at once."""
    changes = msgspec.to_builtins(await read_body(request, PartnerChanges))
    if "action_types" in changes:
        changes["action_types"] = sorted(set(changes["action_types"]))
    async with shared(request, Database).transaction() as connection:
        await change_partner(connection, _named(partner_id), changes, _act(request))
    return await _shown(request, partner_id)


@post(
    "/v1/operator/partners/{partner_id:str}/keys",
    status_code=201,
    operation_id="makePartnerKey",
    **opens("operator:partners:admin", body=KeyOrder, problems=("conflict",)),
)
async def make_key(request: Request, partner_id: FromPath[str]) -> NewKeyAnswer:
    """Give a partner a key; it works at once. At most 3 keys that are not revoked."""
    order = await read_body(request, KeyOrder)
    public = _public_key(order)
    act = _act(request)
    async with shared(request, Database).transaction() as connection:
        key = await add_key(
            connection,
            _named(partner_id),
            public_key=public,
            not_before=order.not_before,
            masters=master_keys(shared(request, Settings)),
            act=act,
        )
    return NewKeyAnswer(
        key.id,
        key.kind,
        key_state(act.real_now, key.not_before, None, None),
        secret_text(key.secret) if key.secret else UNSET,
    )


@post(
    "/v1/operator/partners/{partner_id:str}/keys/{key_id:str}/retire",
    status_code=200,
    operation_id="retirePartnerKey",
    **opens("operator:partners:admin", body=RetireOrder),
)
async def retire_one_key(
    request: Request, partner_id: FromPath[str], key_id: FromPath[str]
) -> KeyAnswer:
    """Believe a key for some time only, while the partner changes to its next one."""
    wanted = path_uuid(key_id)
    order = await read_body(request, RetireOrder)
    overlap = timedelta(seconds=order.overlap_s)
    async with shared(request, Database).transaction() as connection:
        await retire_key(connection, _named(partner_id), wanted, overlap=overlap, act=_act(request))
    return await _shown_key(request, partner_id, wanted)


@post(
    "/v1/operator/partners/{partner_id:str}/keys/{key_id:str}/revoke",
    status_code=200,
    operation_id="revokePartnerKey",
    **opens("operator:partners:admin"),
)
async def revoke_one_key(
    request: Request, partner_id: FromPath[str], key_id: FromPath[str]
) -> KeyAnswer:
    """Believe a key no longer, in any process."""
    wanted = path_uuid(key_id)
    async with shared(request, Database).transaction() as connection:
        await revoke_key(connection, _named(partner_id), wanted, act=_act(request))
    return await _shown_key(request, partner_id, wanted)


@get(
    "/v1/operator/parked-events",
    operation_id="listParkedEvents",
    **opens("operator:partners:admin", query=ParkedSearch),
)
async def list_parked_events(request: Request) -> Listing[ParkedEventAnswer]:
    """Events that wait, or waited in vain, with what was sent and why; the first to come first."""
    search = read_query(request, ParkedSearch)
    kind = f"{search.state}-events:{search.partner_id}"
    page = paged(request, kind, search, received_at=datetime, id=UUID)
    async with shared(request, Database).sessions() as session:
        rows = await list_parked(
            session,
            state=search.state,
            partner_id=search.partner_id,
            after=page.after,
            limit=page.rows,
        )
    return page.listing([_parked_answer(row) for row in rows])


@post(
    "/v1/operator/parked-events/{event_id:str}/retry",
    status_code=200,
    operation_id="retryParkedEvent",
    **opens("operator:partners:admin"),
)
async def retry_parked_event(request: Request, event_id: FromPath[str]) -> ParkedStepAnswer:
    """Settle a parked event now, if it can be; else it waits on."""
    wanted = path_uuid(event_id)
    outcome = await release_one(shared(request, Intake), wanted.bytes)
    if outcome is None:
        raise NotFoundError("There is no such parked event.")
    async with shared(request, Database).transaction() as connection:
        detail = {"status": outcome.status}
        await act_of(request).log(connection, "parked-event.retry", wanted, detail)
    return ParkedStepAnswer(
        wanted,
        outcome.status,
        outcome.waits_for or UNSET,
        outcome.action.id if outcome.action else UNSET,
        outcome.error.code if outcome.error else UNSET,
        outcome.error.detail if outcome.error else UNSET,
    )


@post(
    "/v1/operator/parked-events/{event_id:str}/discard",
    status_code=200,
    operation_id="discardParkedEvent",
    **opens("operator:partners:admin"),
)
async def discard_parked_event(request: Request, event_id: FromPath[str]) -> ParkedStepAnswer:
    """Forget a parked event; sent again it is judged anew."""
    wanted = path_uuid(event_id)
    async with shared(request, Database).transaction() as connection:
        if not await discard_event(connection, wanted.bytes):
            raise NotFoundError("There is no such parked event.")
        await act_of(request).log(connection, "parked-event.discard", wanted, {})
    return ParkedStepAnswer(wanted, "discarded")


def _named(partner_id: str) -> str:
    if not is_partner_id(partner_id):
        raise PartnerMissingError
    return partner_id


def _public_key(order: KeyOrder) -> bytes | None:
    if order.kind == "hmac":
        if order.public_key is not None:
            raise fault("#/public_key", "goes with ed25519 only")
        return None
    if order.public_key is None:
        raise fault("#/public_key", "is required for ed25519")
    try:
        return read_public_key(order.public_key)
    except KeyTextError as error:
        raise fault("#/public_key", error.args[0]) from error


def _act(request: Request) -> PartnerAct:
    act = act_of(request)
    return PartnerAct(act.actor, act.request_id, act.now, shared(request, Clock).real_now())


async def _shown(request: Request, partner_id: str) -> PartnerAnswer:
    async with shared(request, Database).sessions() as session:
        partner = await find_partner(session, _named(partner_id))
        if partner is None:
            raise PartnerMissingError
        keys = await keys_of(session, [partner_id])
    return _answer(partner, keys, shared(request, Clock).real_now())


async def _shown_key(request: Request, partner_id: str, key_id: UUID) -> KeyAnswer:
    shown = await _shown(request, partner_id)
    return next(key for key in shown.keys if key.key_id == key_id)


def _answer(partner: Partner, keys: Sequence[PartnerKey], now: datetime) -> PartnerAnswer:
    return PartnerAnswer(
        partner.id,
        partner.name,
        partner.action_types,
        partner.source_prefix,
        partner.disabled,
        partner.created_at,
        [_key_answer(key, now) for key in keys if key.partner_id == partner.id],
    )


def _key_answer(key: PartnerKey, now: datetime) -> KeyAnswer:
    return KeyAnswer(
        key.id,
        "hmac" if key.kind == "hmac" else "ed25519",
        key_state(now, key.not_before, key.not_after, key.revoked_at),
        public_text(key.public_key) if key.public_key else None,
        key.created_at,
        key.not_before,
        key.not_after,
        key.last_used_at,
    )


def _parked_answer(row: PartnerEvent) -> ParkedEventAnswer:
    return ParkedEventAnswer(
        UUID(bytes=row.event_key),
        row.partner_id,
        row.source,
        row.event_id,
        row.body["type"] if row.body else None,
        row.reason or "",
        row.received_at,
        row.received_at + KEPT,
        row.body,
    )


routes: list[HTTPRouteHandler] = [
    make_one_partner,
    list_all_partners,
    get_partner,
    change_one_partner,
    make_key,
    retire_one_key,
    revoke_one_key,
    list_parked_events,
    retry_parked_event,
    discard_parked_event,
]
