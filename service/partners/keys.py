"""Whose signature it is: the keys of partners, as every process knows them at any moment.

A process keeps what it read for a few seconds, forgets it at once when it hears of a change, and
looks again before it refuses a signature. Unknown partners go the same way as known ones, so that
neither answer nor effort tells who exists. All of it goes by real time.
"""

import asyncio
import re
from datetime import datetime
from time import monotonic
from typing import Any, Literal
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from service.partners.envelope import EnvelopeError, MasterKeys, Sealed, unseal
from service.partners.signature import Stamp, VerifyingKey, verify
from service.platform.clock import Clock
from service.platform.database import Connection, Database
from service.platform.errors import UnauthenticatedError

KEYS_CHANNEL = "saxaul_partner_keys"
KeyState = Literal["pending", "active", "retiring", "revoked"]
Kind = Literal["hmac", "ed25519"]

# The longest that a revoked key may be believed when the word of it was lost.
_BELIEVED_S = 5.0
_KNOWN_MAX = 10_000
_FLUSH_S = 2.0
# So often a process looks again because a signature fits no key that it knows.
_LOOKS_PER_S, _LOOKS_BURST = 20.0, 50.0
_PARTNER_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")

_log = structlog.get_logger(__name__)


class SignatureRefusedError(UnauthenticatedError):
    """No key of this partner made the signature, or there is no such partner."""

    challenge = "Signature"
    text = "The signature fits no key of this partner."


class Partner(Struct, frozen=True):
    """A partner that may send, with what it may send."""

    id: str
    source_prefix: str
    action_types: frozenset[str]

    @classmethod
    def of(cls, row: Any) -> "Partner":
        """The partner of a row that joins it."""
        return cls(row["partner_id"], row["source_prefix"], frozenset(row["action_types"]))

    def owns(self, source: str) -> bool:
        """Whether a source is this partner's: its prefix, or its prefix continued."""
        prefix = self.source_prefix
        return source == prefix or source.startswith((f"{prefix}:", f"{prefix}/"))


class _Key(Struct, frozen=True):
    id: UUID
    verifying: VerifyingKey
    not_before: datetime
    not_after: datetime | None


class _Known(Struct, frozen=True):
    partner: Partner | None
    keys: tuple[_Key, ...]
    read_s: float


def key_state(
    now: datetime, not_before: datetime, not_after: datetime | None, revoked_at: datetime | None
) -> KeyState:
    """What a key is good for at this real time; a retiring one is still believed."""
    if revoked_at is not None or (not_after is not None and not_after <= now):
        return "revoked"
    if not_before > now:
        return "pending"
    return "active" if not_after is None else "retiring"


def key_context(partner_id: str, key_id: UUID) -> str:
    """What a sealed secret is bound to."""
    return f"{partner_id}|{key_id}|1"


def is_partner_id(text: str) -> bool:
    """Whether a partner may be called this."""
    return _PARTNER_ID.fullmatch(text) is not None


class PartnerKeys:
    """The keys of all partners, for one process."""

    def __init__(self, database: Database, clock: Clock, masters: MasterKeys) -> None:
        """`run` beside it writes down when keys were used last."""
        self._database = database
        self._clock = clock
        self._masters = masters
        self._known: dict[str, _Known] = {}
        self._drops = 0
        self._used: dict[tuple[str, UUID], datetime] = {}
        self._looks, self._looked_s = _LOOKS_BURST, monotonic()

    async def follow(self, connection: Connection) -> None:
        """Learn of every change at once, for as long as this connection lives."""
        await connection.add_listener(KEYS_CHANNEL, self._on_change)
        self._drops += 1
        self._known.clear()

    def _on_change(self, _connection: Any, _pid: int, _channel: str, partner_id: object) -> None:
        self._drops += 1
        self._known.pop(str(partner_id), None)

    async def verify(self, partner_id: str, stamp: Stamp, body: bytes) -> Partner:
        """Who signed this. Raises SignatureRefusedError."""
        began_s = monotonic()
        known = await self._read(partner_id, unread_before_s=began_s - _BELIEVED_S)
        partner = self._checked(known, stamp, body)
        if partner is None and known.read_s < began_s and self._may_look():
            known = await self._read(partner_id, unread_before_s=began_s)
            partner = self._checked(known, stamp, body)
        if partner is None:
            raise SignatureRefusedError
        return partner

    def _checked(self, known: _Known, stamp: Stamp, body: bytes) -> Partner | None:
        now = self._clock.real_now()
        keys = [
            key
            for key in known.keys
            if key.not_before <= now and (key.not_after is None or now < key.not_after)
        ]
        index = verify(stamp, body, [key.verifying for key in keys])
        if index is None or known.partner is None:
            return None
        self._used[known.partner.id, keys[index].id] = now
        return known.partner

    def _may_look(self) -> bool:
        """Whether one more look is due: strangers must not make a process ask for each request."""
        now_s = monotonic()
        refilled = self._looks + (now_s - self._looked_s) * _LOOKS_PER_S
        self._looks, self._looked_s = min(_LOOKS_BURST, refilled), now_s
        if self._looks < 1:
            return False
        self._looks -= 1
        return True

    async def _read(self, partner_id: str, *, unread_before_s: float) -> _Known:
        known = self._known.get(partner_id)
        if known is not None and known.read_s >= unread_before_s:
            return known
        drops, read_s = self._drops, monotonic()
        # What cannot be a name is looked for all the same: under one that nobody has.
        name = partner_id if is_partner_id(partner_id) else ""
        rows = await self._database.pool.fetch(_READ, name)
        keys = tuple(key for row in rows if (key := self._opened(row)) is not None)
        known = _Known(Partner.of(rows[0]) if rows else None, keys, read_s)
        if drops == self._drops:
            self._known.pop(partner_id, None)
            if len(self._known) >= _KNOWN_MAX:
                del self._known[next(iter(self._known))]
            self._known[partner_id] = known
        return known

    def _opened(self, row: Any) -> _Key | None:
        if row["kind"] is None:
            return None
        if row["kind"] == "ed25519":
            verifying: VerifyingKey = Ed25519PublicKey.from_public_bytes(row["public_key"])
        else:
            sealed = Sealed(row["sealed_secret"], row["sealed_key"], row["master_key_id"])
            context = key_context(row["partner_id"], row["key_id"])
            try:
                verifying = unseal(self._masters, sealed, context)
            except EnvelopeError as error:
                # The partner's other keys still hold; operators must mend this one.
                _log.error("partner_key_unusable", key=context, error=str(error))
                return None
        return _Key(row["key_id"], verifying, row["not_before"], row["not_after"])

    async def run(self) -> None:
        """Write down when keys were used, every few seconds, until cancelled."""
        try:
            while True:
                await asyncio.sleep(_FLUSH_S)
                await self._note_use()
        except asyncio.CancelledError:
            await self._note_use()
            raise

    async def _note_use(self) -> None:
        if not self._used:
            return
        used, self._used = self._used, {}
        try:
            await self._database.pool.execute(_NOTE_USE, *zip(*used, strict=True), used.values())
        except Exception as error:  # noqa: BLE001 - it is written down the next time
            self._used = used | self._used
            _log.warning("key_use_not_noted", error=repr(error))


async def tell_keys_changed(connection: Connection, partner_id: str) -> None:
    """Tell every process, at the commit of this transaction, to read this partner's keys anew."""
    await connection.execute("SELECT pg_notify($1, $2)", KEYS_CHANNEL, partner_id)


_READ = """
SELECT p.id AS partner_id, p.source_prefix, p.action_types, k.id AS key_id, k.kind, k.public_key,
    k.sealed_secret, k.sealed_key, k.master_key_id, k.not_before, k.not_after
FROM partners p
LEFT JOIN partner_keys k ON k.partner_id = p.id AND k.revoked_at IS NULL
WHERE p.id = $1 AND NOT p.disabled
ORDER BY k.created_at DESC, k.id"""

_NOTE_USE = """
UPDATE partner_keys SET last_used_at = greatest(last_used_at, d.used_at)
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[]) AS d (partner_id, id, used_at)
WHERE partner_keys.partner_id = d.partner_id AND partner_keys.id = d.id"""
