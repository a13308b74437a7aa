"""What operators do to partners: open and change them, give them keys, take keys away.

Every act stands in the operators' log, and every process hears of it at the commit.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from service.partners.envelope import EnvelopeError, MasterKeys, Sealed, rewrap, seal
from service.partners.keys import Kind, key_context, tell_keys_changed
from service.partners.signature import KEYS_MAX
from service.platform.acts import Act
from service.platform.database import Connection
from service.platform.errors import ConflictError, NotFoundError
from service.platform.ids import uuid7

_SECRET_BYTES = 32
_CHANGEABLE = ("name", "action_types", "source_prefix", "disabled")


class PartnerMissingError(NotFoundError):
    """No such partner."""

    text = "There is no such partner."


class KeyMissingError(NotFoundError):
    """No such key of this partner."""

    text = "This partner has no such key."


@dataclass(frozen=True, slots=True)
class PartnerAct(Act):
    """Who acts, and when: by the programme's clock for the log, by the wall's for keys."""

    real_now: datetime


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. The secret is known here and nowhere again."""

    id: UUID
    kind: Kind
    secret: bytes | None
    not_before: datetime


async def make_partner(
    connection: Connection, partner_id: str, fields: Mapping[str, Any], act: PartnerAct
) -> None:
    """Open a partner with these columns. Raises ConflictError."""
    made = await connection.fetchval(
        _MAKE,
        partner_id,
        fields["name"],
        fields["source_prefix"],
        fields["action_types"],
        act.now,
    )
    if made is None:
        raise ConflictError("There is a partner {id} already.", id=partner_id)
    await tell_keys_changed(connection, partner_id)
    await act.log(connection, "partner.create", partner_id, dict(fields))


async def change_partner(
    connection: Connection, partner_id: str, changes: Mapping[str, Any], act: PartnerAct
) -> None:
    """Change these columns of a partner. Raises PartnerMissingError."""
    row = await connection.fetchrow(_LOCK, partner_id)
    if row is None:
        raise PartnerMissingError
    changed = {name: changes.get(name, row[name]) for name in _CHANGEABLE}
    await connection.execute(_CHANGE, partner_id, *changed.values())
    await tell_keys_changed(connection, partner_id)
    await act.log(connection, "partner.change", partner_id, dict(changes))


async def require_enabled(connection: Connection, partner_id: str) -> None:
    """Raises PartnerMissingError unless there is such a partner that may send."""
    if not await connection.fetchval(_IS_ENABLED, partner_id):
        raise PartnerMissingError


async def add_key(
    connection: Connection,
    partner_id: str,
    *,
    public_key: bytes | None,
    not_before: datetime | None,
    masters: MasterKeys,
    act: PartnerAct,
) -> NewKey:
    """Give a partner a key: this public one, or a new shared secret.

    Raises PartnerMissingError, ConflictError.
    """
    if await connection.fetchrow(_LOCK, partner_id) is None:
        raise PartnerMissingError
    if await connection.fetchval(_COUNT_KEYS, partner_id, act.real_now) >= KEYS_MAX:
        text = "A partner has at most {most} keys at once; revoke one first."
        raise ConflictError(text, most=KEYS_MAX)
    key_id, from_ = uuid7(act.real_now), not_before or act.real_now
    secret = None
    kind: Kind = "ed25519"
    stored: tuple[Any, ...] = (kind, public_key, None, None, None)
    if public_key is None:
        secret, kind = secrets.token_bytes(_SECRET_BYTES), "hmac"
        stored = _sealed(masters, secret, partner_id, key_id)
    await connection.execute(_ADD_KEY, partner_id, key_id, *stored, act.real_now, from_)
    await tell_keys_changed(connection, partner_id)
    detail = {"key_id": str(key_id), "kind": kind, "not_before": from_.isoformat()}
    await act.log(connection, "partner.key.create", partner_id, detail)
    return NewKey(key_id, kind, secret, from_)


async def keep_demo_partner(
    connection: Connection,
    columns: tuple[str, str, str, list[str], datetime],
    secret: bytes,
    masters: MasterKeys,
    real_now: datetime,
) -> None:
    """Make the demo's partner, with the secret that lies in the state folder, if it has no key."""
    await connection.execute(_MAKE, *columns)
    partner_id = columns[0]
    if await connection.fetchval(_COUNT_KEYS, partner_id, real_now):
        return
    key_id = uuid7(real_now)
    stored = _sealed(masters, secret, partner_id, key_id)
    await connection.execute(_ADD_KEY, partner_id, key_id, *stored, real_now, real_now)
    await tell_keys_changed(connection, partner_id)


def _sealed(
    masters: MasterKeys, secret: bytes, partner_id: str, key_id: UUID
) -> tuple[str, None, bytes, bytes, str]:
    """A shared secret as the columns of its row, from `kind` on."""
    sealed = seal(masters, secret, key_context(partner_id, key_id))
    return "hmac", None, sealed.secret, sealed.key, sealed.master_key_id


async def retire_key(
    connection: Connection, partner_id: str, key_id: UUID, *, overlap: timedelta, act: PartnerAct
) -> None:
    """Believe a key for so long only. Raises KeyMissingError."""
    until = act.real_now + overlap
    if await connection.fetchval(_RETIRE, partner_id, key_id, until) is None:
        raise KeyMissingError
    await tell_keys_changed(connection, partner_id)
    detail = {"key_id": str(key_id), "not_after": until.isoformat()}
    await act.log(connection, "partner.key.retire", partner_id, detail)


async def revoke_key(
    connection: Connection, partner_id: str, key_id: UUID, *, act: PartnerAct
) -> None:
    """Believe a key no longer; again, it changes nothing. Raises KeyMissingError."""
    if await connection.fetchval(_REVOKE, partner_id, key_id, act.real_now) is None:
        raise KeyMissingError
    await tell_keys_changed(connection, partner_id)
    await act.log(connection, "partner.key.revoke", partner_id, {"key_id": str(key_id)})


async def rewrap_keys(connection: Connection, masters: MasterKeys) -> tuple[int, list[str]]:
    """Bring all secrets under the current master key: how many, and which could not be opened."""
    done, failed = 0, []
    for row in await connection.fetch(_OTHERWISE_SEALED, masters.current_id):
        context = key_context(row["partner_id"], row["id"])
        sealed = Sealed(row["sealed_secret"], row["sealed_key"], row["master_key_id"])
        try:
            fresh = rewrap(masters, sealed, context)
        except EnvelopeError as error:
            failed.append(str(error))
            continue
        await connection.execute(
            _SEAL_AGAIN, row["partner_id"], row["id"], fresh.key, fresh.master_key_id
        )
        done += 1
    return done, failed


_MAKE = """
INSERT INTO partners (id, name, source_prefix, action_types, created_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING true"""

_IS_ENABLED = "SELECT EXISTS (SELECT FROM partners WHERE id = $1 AND NOT disabled)"

_LOCK = """
SELECT name, action_types, source_prefix, disabled FROM partners
WHERE id = $1 FOR NO KEY UPDATE"""

_CHANGE = """
UPDATE partners SET name = $2, action_types = $3, source_prefix = $4, disabled = $5
WHERE id = $1"""

_COUNT_KEYS = """
SELECT count(*) FROM partner_keys
WHERE partner_id = $1 AND revoked_at IS NULL AND (not_after IS NULL OR not_after > $2)"""

_ADD_KEY = """
INSERT INTO partner_keys (partner_id, id, kind, public_key, sealed_secret, sealed_key,
    master_key_id, created_at, not_before)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""

_RETIRE = """
UPDATE partner_keys SET not_after = least(not_after, $3)
WHERE partner_id = $1 AND id = $2 RETURNING true"""

_REVOKE = """
UPDATE partner_keys SET revoked_at = coalesce(revoked_at, $3)
WHERE partner_id = $1 AND id = $2 RETURNING true"""

_OTHERWISE_SEALED = """
SELECT partner_id, id, sealed_secret, sealed_key, master_key_id FROM partner_keys
WHERE master_key_id <> $1 ORDER BY partner_id, id FOR NO KEY UPDATE"""

_SEAL_AGAIN = """
UPDATE partner_keys SET sealed_key = $3, master_key_id = $4 WHERE partner_id = $1 AND id = $2"""
