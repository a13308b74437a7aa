"""What operators do to partners: open and change them, give them keys, take keys away.

Every act stands in the operators' log, and every process hears of it at the commit.
"""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import astuple

from service.partners.envelope import EnvelopeError, MasterKeys, Sealed, rewrap, seal
from service.partners.keys import KeyState, Kind, key_context, key_state, tell_keys_changed
from service.partners.signature import KEYS_MAX, secret_text
from service.platform.acts import Act
from service.platform.database import Connection
from service.platform.errors import ConflictError, NotFoundError
from service.platform.ids import uuid7

_SECRET_BYTES = 32


class PartnerMissingError(NotFoundError):
    """No such partner."""

    text = "There is no such partner."


class KeyMissingError(NotFoundError):
    """No such key of this partner."""

    text = "This partner has no such key."


class PartnerAct(Struct, frozen=True):
    """What an operator does to a partner, in one transaction; keys go by the wall's clock."""

    connection: Connection
    partner_id: str
    by: Act
    real_now: datetime

    async def done(self, what: str, detail: dict[str, Any]) -> None:
        """Log it, and let every process hear of it at the commit."""
        await tell_keys_changed(self.connection, self.partner_id)
        await self.by.log(self.connection, f"partner.{what}", self.partner_id, detail)


class NewKeyAnswer(Struct, frozen=True, omit_defaults=True):
    """A key just made; keep the secret, it is shown this once."""

    key_id: UUID
    kind: Kind
    state: KeyState
    secret: str | UnsetType = UNSET


async def make_partner(act: PartnerAct, fields: dict[str, Any]) -> None:
    """Open a partner with these columns. Raises ConflictError."""
    columns = (fields["name"], fields["source_prefix"], fields["action_types"])
    if not await act.connection.fetchval(_MAKE, act.partner_id, *columns, act.by.now):
        raise ConflictError("There is a partner {id} already.", id=act.partner_id)
    await act.done("create", fields)


async def change_partner(act: PartnerAct, changes: dict[str, Any]) -> None:
    """Change these columns of a partner. Raises PartnerMissingError."""
    columns = [changes.get(name) for name in ("name", "action_types", "source_prefix", "disabled")]
    if not await act.connection.fetchval(_CHANGE, act.partner_id, *columns):
        raise PartnerMissingError
    await act.done("change", changes)


async def require_enabled(connection: Connection, partner_id: str) -> None:
    """Raises PartnerMissingError unless there is such a partner that may send."""
    if not await connection.fetchval(_IS_ENABLED, partner_id):
        raise PartnerMissingError


async def add_key(
    act: PartnerAct, public_key: bytes | None, not_before: datetime | None, masters: MasterKeys
) -> NewKeyAnswer:
    """Give a partner this key, or a new secret. Raises PartnerMissingError, ConflictError."""
    if not await act.connection.fetchval(_LOCK, act.partner_id):
        raise PartnerMissingError
    if await act.connection.fetchval(_COUNT_KEYS, act.partner_id, act.real_now) >= KEYS_MAX:
        text = "A partner has at most {most} keys at once; revoke one first."
        raise ConflictError(text, most=KEYS_MAX)
    key_id, from_ = uuid7(act.real_now), not_before or act.real_now
    secret = None if public_key else secrets.token_bytes(_SECRET_BYTES)
    kind: Kind = "hmac" if secret else "ed25519"
    stored = _sealed(masters, secret, act.partner_id, key_id) if secret else (None, None, None)
    values = (kind, public_key, *stored, act.real_now, from_)
    await act.connection.execute(_ADD_KEY, act.partner_id, key_id, *values)
    detail = {"key_id": str(key_id), "kind": kind, "not_before": from_.isoformat()}
    await act.done("key.create", detail)
    state = key_state(act.real_now, from_, None, None)
    return NewKeyAnswer(key_id, kind, state, secret_text(secret) if secret else UNSET)


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
    values = ("hmac", None, *_sealed(masters, secret, partner_id, key_id), real_now, real_now)
    await connection.execute(_ADD_KEY, partner_id, key_id, *values)
    await tell_keys_changed(connection, partner_id)


def _sealed(masters: MasterKeys, secret: bytes, partner_id: str, key_id: UUID) -> tuple[Any, ...]:
    return astuple(seal(masters, secret, key_context(partner_id, key_id)))


async def end_key(act: PartnerAct, key_id: UUID, overlap: timedelta | None) -> None:
    """Believe a key for so long only, or no longer: again, that changes nothing.

    Raises KeyMissingError.
    """
    how = "revoke" if overlap is None else "retire"
    until = act.real_now + (overlap or timedelta())
    if not await act.connection.fetchval(_END[how], act.partner_id, key_id, until):
        raise KeyMissingError
    detail = {"key_id": str(key_id)} | ({} if overlap is None else {"not_after": until.isoformat()})
    await act.done(f"key.{how}", detail)


async def rewrap_keys(connection: Connection, masters: MasterKeys) -> tuple[int, list[str]]:
    """Bring all secrets under the current master key: how many, and which could not be opened."""
    done, failed = 0, []
    rows = await connection.fetch(_OTHERWISE_SEALED, masters.current_id)
    for partner_id, key_id, *sealed in rows:
        try:
            fresh = rewrap(masters, Sealed(*sealed), key_context(partner_id, key_id))
        except EnvelopeError as error:
            failed.append(str(error))
            continue
        await connection.execute(_SEAL_AGAIN, partner_id, key_id, fresh.key, fresh.master_key_id)
        done += 1
    return done, failed


_MAKE = """
INSERT INTO partners (id, name, source_prefix, action_types, created_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING true"""

_IS_ENABLED = "SELECT EXISTS (SELECT FROM partners WHERE id = $1 AND NOT disabled)"

_LOCK = "SELECT true FROM partners WHERE id = $1 FOR NO KEY UPDATE"

_CHANGE = """
UPDATE partners SET name = coalesce($2, name), action_types = coalesce($3, action_types),
    source_prefix = coalesce($4, source_prefix), disabled = coalesce($5, disabled)
WHERE id = $1 RETURNING true"""

_COUNT_KEYS = """
SELECT count(*) FROM partner_keys
WHERE partner_id = $1 AND revoked_at IS NULL AND (not_after IS NULL OR not_after > $2)"""

_ADD_KEY = """
INSERT INTO partner_keys (partner_id, id, kind, public_key, sealed_secret, sealed_key,
    master_key_id, created_at, not_before)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""

_END = {
    "retire": """
UPDATE partner_keys SET not_after = least(not_after, $3)
WHERE partner_id = $1 AND id = $2 RETURNING true""",
    "revoke": """
UPDATE partner_keys SET revoked_at = coalesce(revoked_at, $3)
WHERE partner_id = $1 AND id = $2 RETURNING true""",
}

_OTHERWISE_SEALED = """
SELECT partner_id, id, sealed_secret, sealed_key, master_key_id FROM partner_keys
WHERE master_key_id <> $1 ORDER BY partner_id, id FOR NO KEY UPDATE"""

_SEAL_AGAIN = """
UPDATE partner_keys SET sealed_key = $3, master_key_id = $4 WHERE partner_id = $1 AND id = $2"""
