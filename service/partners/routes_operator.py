"""Partners over HTTP, the operators' side: open and change them, and their keys."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from service.http.access import Request, act_of, get, patch, post
from service.http.answer import Listing
from service.http.decode import Time, path_uuid, read_body
from service.http.faults import fault
from service.http.pages import Page, paged
from service.http.shared import shared
from service.http.texts import label
from service.partners.administer import (
    NewKeyAnswer,
    PartnerAct,
    PartnerMissingError,
    add_key,
    change_partner,
    end_key,
    make_partner,
)
from service.partners.envelope import master_keys
from service.partners.keys import KeyState, Kind, is_partner_id, key_state
from service.partners.signature import KeyTextError, public_text, read_public_key
from service.platform.clock import Clock
from service.platform.database import Database
from service.platform.reads import Row
from service.platform.settings import Settings

PartnerId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$(?!\n)")]
Name = Annotated[str, Meta(min_length=1, max_length=200), label]
Prefix = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[!-~]+$(?!\n)")]
Types = Annotated[list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(max_length=200)]


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


class PartnerAnswer(Struct, frozen=True):
    """A partner with its keys, the newest first."""

    id: str
    name: str
    action_types: list[str]
    source_prefix: str
    disabled: bool
    created_at: Time
    keys: list[KeyAnswer]


@post(
    "/v1/operator/partners",
    "operator:partners:admin",
    status=201,
    operation_id="makePartner",
    body=PartnerBody,
    problems=("conflict",),
)
async def make_one_partner(request: Request) -> PartnerAnswer:
    """Open a partner. It can send nothing before it has a key."""
    fields = msgspec.to_builtins(await read_body(request, PartnerBody))
    partner_id = fields.pop("id")
    fields["action_types"] = sorted(set(fields["action_types"]))
    async with _acting(request, partner_id) as act:
        await make_partner(act, fields)
    return await _shown(request, partner_id)


@get("/v1/operator/partners", "operator:partners:admin", operation_id="listPartners", query=Page)
async def list_all_partners(request: Request) -> Listing[PartnerAnswer]:
    """All partners with their keys and when these were used last."""
    page = paged(request, "partners", id=str)
    rows = await shared(request, Database).lists.fetch(_LIST, page.after or "", page.rows)
    return page.listing(await _answers(request, rows))


@get("/v1/operator/partners/{partner_id:str}", "operator:partners:admin")
async def get_partner(request: Request, partner_id: FromPath[str]) -> PartnerAnswer:
    """One partner."""
    return await _shown(request, partner_id)


@patch(
    "/v1/operator/partners/{partner_id:str}",
    "operator:partners:admin",
    operation_id="changePartner",
    body=PartnerChanges,
)
async def change_one_partner(request: Request, partner_id: FromPath[str]) -> PartnerAnswer:
    """Change a partner; every process follows at once."""
    changes = msgspec.to_builtins(await read_body(request, PartnerChanges))
    if "action_types" in changes:
        changes["action_types"] = sorted(set(changes["action_types"]))
    async with _acting(request, partner_id) as act:
        await change_partner(act, changes)
    return await _shown(request, partner_id)


@post(
    "/v1/operator/partners/{partner_id:str}/keys",
    "operator:partners:admin",
    status=201,
    body=KeyOrder,
    problems=("conflict",),
)
async def make_partner_key(request: Request, partner_id: FromPath[str]) -> NewKeyAnswer:
    """Give a partner a key; it works at once. At most 3 keys that are not revoked."""
    order = await read_body(request, KeyOrder)
    public, masters = _public_key(order), master_keys(shared(request, Settings))
    async with _acting(request, partner_id) as act:
        return await add_key(act, public, order.not_before, masters)


@post(
    "/v1/operator/partners/{partner_id:str}/keys/{key_id:str}/retire",
    "operator:partners:admin",
    body=RetireOrder,
)
async def retire_partner_key(
    request: Request, partner_id: FromPath[str], key_id: FromPath[str]
) -> KeyAnswer:
    """Believe a key for some time only, while the partner changes to its next one."""
    wanted = path_uuid(key_id)
    order = await read_body(request, RetireOrder)
    async with _acting(request, partner_id) as act:
        await end_key(act, wanted, timedelta(seconds=order.overlap_s))
    return await _shown_key(request, partner_id, wanted)


@post("/v1/operator/partners/{partner_id:str}/keys/{key_id:str}/revoke", "operator:partners:admin")
async def revoke_partner_key(
    request: Request, partner_id: FromPath[str], key_id: FromPath[str]
) -> KeyAnswer:
    """Believe a key no longer, in any process."""
    wanted = path_uuid(key_id)
    async with _acting(request, partner_id) as act:
        await end_key(act, wanted, None)
    return await _shown_key(request, partner_id, wanted)


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


@asynccontextmanager
async def _acting(request: Request, partner_id: str) -> AsyncIterator[PartnerAct]:
    if not is_partner_id(partner_id):
        raise PartnerMissingError
    async with shared(request, Database).transaction() as connection:
        real_now = shared(request, Clock).real_now()
        yield PartnerAct(connection, partner_id, act_of(request), real_now)


async def _shown(request: Request, partner_id: str) -> PartnerAnswer:
    # What cannot be a name may hold what no database takes.
    name = partner_id if is_partner_id(partner_id) else ""
    partners = await shared(request, Database).lists.fetch(_PARTNER, name)
    if not partners:
        raise PartnerMissingError
    return (await _answers(request, partners))[0]


async def _shown_key(request: Request, partner_id: str, key_id: UUID) -> KeyAnswer:
    shown = await _shown(request, partner_id)
    return next(key for key in shown.keys if key.key_id == key_id)


async def _answers(request: Request, partners: Sequence[Row]) -> list[PartnerAnswer]:
    ids, now = [partner["id"] for partner in partners], shared(request, Clock).real_now()
    keys = await shared(request, Database).lists.fetch(_KEYS, ids)
    told = [
        {**partner, "keys": [_told_key(key, now) for key in keys if key["partner_id"] == id_]}
        for id_, partner in zip(ids, partners, strict=True)
    ]
    return msgspec.convert(told, list[PartnerAnswer])


def _told_key(key: Row, now: datetime) -> dict[str, Any]:
    return {
        **key,
        "key_id": key["id"],
        "state": key_state(now, key["not_before"], key["not_after"], key["revoked_at"]),
        "public_key": public_text(key["public_key"]) if key["public_key"] else None,
    }


_LIST = "SELECT * FROM partners WHERE id > $1 ORDER BY id LIMIT $2"

_PARTNER = "SELECT * FROM partners WHERE id = $1"

_KEYS = "SELECT * FROM partner_keys WHERE partner_id = ANY($1) ORDER BY created_at DESC, id"
