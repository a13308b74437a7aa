"""How partners' shared secrets are kept: each under a key of its own, that key under the master.

AES-256-GCM both times, bound to the partner and the key, so that nobody can move a row's secret to
another. Changing the master key touches the inner keys only.
"""

import base64
import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from service.platform.settings import Settings

_KEY_BYTES, _NONCE_BYTES = 32, 12


class EnvelopeError(Exception):
    """A secret that cannot be opened: another master key, or another row's bytes."""


class Sealed(Struct, frozen=True):
    """A secret as its row keeps it. Each part begins with its nonce."""

    secret: bytes
    key: bytes
    master_key_id: str


class MasterKeys(Struct, frozen=True):
    """The master key that seals, and those that open: it and the one before."""

    current_id: str
    by_id: dict[str, bytes]


def master_keys(settings: Settings) -> MasterKeys:
    """The master keys of these settings, which went through `with_secret_key`."""
    texts = [text for text in (settings.master_key, settings.master_key_before) if text]
    by_id = {_id_of(key): key for key in (base64.b64decode(text) for text in texts)}
    return MasterKeys(next(iter(by_id)), by_id)


def seal(masters: MasterKeys, secret: bytes, context: str) -> Sealed:
    """Put a secret away; `context` names the row that it belongs to."""
    inner = secrets.token_bytes(_KEY_BYTES)
    return Sealed(
        _encrypt(inner, secret, context),
        _encrypt(masters.by_id[masters.current_id], inner, context),
        masters.current_id,
    )


def unseal(masters: MasterKeys, sealed: Sealed, context: str) -> bytes:
    """The secret again. Raises EnvelopeError."""
    return _decrypt(_inner(masters, sealed, context), sealed.secret, context)


def rewrap(masters: MasterKeys, sealed: Sealed, context: str) -> Sealed:
    """The same secret under the current master key. Raises EnvelopeError."""
    inner = _inner(masters, sealed, context)
    _decrypt(inner, sealed.secret, context)
    current = masters.by_id[masters.current_id]
    return Sealed(sealed.secret, _encrypt(current, inner, context), masters.current_id)


def _inner(masters: MasterKeys, sealed: Sealed, context: str) -> bytes:
    master = masters.by_id.get(sealed.master_key_id)
    if master is None:
        raise EnvelopeError(f"{context} lies under master key {sealed.master_key_id}, not here.")
    return _decrypt(master, sealed.key, context)


def _encrypt(key: bytes, data: bytes, context: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, context.encode())


def _decrypt(key: bytes, data: bytes, context: str) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context.encode())
    except InvalidTag as error:
        raise EnvelopeError(f"{context} was changed, or belongs to another row.") from error


def _id_of(master: bytes) -> str:
    return hashlib.sha256(b"saxaul master key" + master).hexdigest()[:16]
