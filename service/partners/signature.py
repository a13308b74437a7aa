"""Signatures the Standard Webhooks way, and how they are checked.

Signed are `webhook-id`, `webhook-timestamp` and the body's bytes, joined by dots: `v1` is
HMAC-SHA256 with a shared secret, `v1a` is ed25519. Pure: no clock, no database, no settings.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
import re
from collections.abc import Container, Iterable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from service.platform.errors import SaxaulError
from service.rules.told import Told

SECRET_PREFIX, PUBLIC_PREFIX = "whsec_", "whpk_"
SECRET_BYTES = range(24, 65)
PUBLIC_KEY_BYTES = 32
SIGNATURES_MAX = 8
# More keys a partner cannot have: whatever fails is compared with as many of each kind.
KEYS_MAX = 3

_HEADERS = (b"webhook-id", b"webhook-timestamp", b"webhook-signature")
_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
_ENTRY = re.compile(rb"([A-Za-z0-9]{1,16}),([A-Za-z0-9+/]{1,512}={0,2})")
_SIGNATURE_MAX = 4_096
_LENGTHS = {"v1": 32, "v1a": 64}


class HeaderError(SaxaulError):
    """A header of a signed request is missing or malformed; the text says which and how."""

    code = "signature-malformed"


class KeyTextError(ValueError):
    """A text that should be a key is none; the text says what it must look like."""


class Stamp(Struct, frozen=True):
    """The three headers of a signed request: pairs of version and bytes are its signatures.

    `signed_prefix` is what was signed before the body.
    """

    message_id: str
    timestamp: int
    signatures: tuple[tuple[str, bytes], ...]
    signed_prefix: bytes


VerifyingKey = bytes | Ed25519PublicKey
"""A shared secret that `v1` signatures are checked with, or a public key for `v1a`."""


def read_stamp(headers: Iterable[tuple[bytes, bytes]]) -> Stamp:
    """The stamp of a request; names are lower case. Raises HeaderError.

    Entries of versions that nobody here knows are passed over, and those beyond the eighth.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _HEADERS:
            if name in found:
                raise HeaderError("{name} is given more than once.", name=name.decode())
            found[name] = value
    for name in _HEADERS:
        if name not in found:
            raise HeaderError("The header {name} is missing.", name=name.decode())
    message_id, timestamp, signature = (found[name] for name in _HEADERS)
    if _ID.fullmatch(message_id) is None:
        raise HeaderError("webhook-id must be 1 to 64 letters, digits, _ and -.")
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise HeaderError("webhook-timestamp must be whole seconds since 1970, digits only.")
    return Stamp(
        message_id.decode("ascii"),
        int(timestamp),
        tuple(_read_signatures(signature)),
        message_id + b"." + timestamp + b".",
    )


def verify(stamp: Stamp, body: bytes, keys: Sequence[VerifyingKey]) -> int | None:
    """Which of these keys made one of the signatures: its index; None when none did.

    A failure costs the same whatever keys there are: the missing ones are stood in for.
    """
    message = stamp.signed_prefix + body
    shared = [entry for version, entry in stamp.signatures if version == "v1"]
    asymmetric = [entry for version, entry in stamp.signatures if version == "v1a"]
    tried_hmac = tried_ed25519 = 0
    for index, key in enumerate(keys):
        if isinstance(key, bytes):
            tried_hmac += 1
            if shared and _fits_hmac(key, message, shared):
                return index
        else:
            tried_ed25519 += 1
            if _fits_ed25519(key, message, asymmetric):
                return index
    for _ in range(KEYS_MAX - tried_hmac if shared else 0):
        _fits_hmac(_NOBODYS_SECRET, message, shared)
    for _ in range(KEYS_MAX - tried_ed25519):
        _fits_ed25519(_NOBODYS_KEY, message, asymmetric)
    return None


def secret_text(secret: bytes) -> str:
    """A shared secret as partners get it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def public_text(public: bytes) -> str:
    """A public key as Standard Webhooks writes it."""
    return PUBLIC_PREFIX + base64.b64encode(public).decode()


def read_secret(text: str) -> bytes:
    """The bytes of `whsec_...`. Raises KeyTextError."""
    return key_bytes(text, SECRET_PREFIX, SECRET_BYTES, "24 to 64")


def read_public_key(text: str) -> bytes:
    """The 32 bytes of `whpk_...`, or of their bare base64. Raises KeyTextError."""
    return key_bytes(text, PUBLIC_PREFIX, {PUBLIC_KEY_BYTES}, PUBLIC_KEY_BYTES)


def _read_signatures(header: bytes) -> Iterable[tuple[str, bytes]]:
    entries = header.split(b" ")[:SIGNATURES_MAX] if len(header) <= _SIGNATURE_MAX else []
    if not entries:
        raise HeaderError("webhook-signature has more than {most} bytes.", most=_SIGNATURE_MAX)
    for entry in entries:
        parts = _ENTRY.fullmatch(entry)
        if parts is None:
            raise HeaderError(
                "webhook-signature must hold entries such as v1,<base64> with a space between."
            )
        version = parts[1].decode("ascii")
        if version not in _LENGTHS:
            continue
        try:
            signature = base64.b64decode(parts[2], validate=True)
        except binascii.Error as error:
            text = "A {version} entry of webhook-signature is no base64."
            raise HeaderError(text, version=version) from error
        if len(signature) != _LENGTHS[version]:
            text = "A {version} signature has {size} bytes."
            raise HeaderError(text, version=version, size=_LENGTHS[version])
        yield version, signature


def _fits_hmac(secret: bytes, message: bytes, signatures: Sequence[bytes]) -> bool:
    expected = hmac.digest(secret, message, "sha256")
    # All are compared, so that the time tells nothing of where one fits.
    fits = [hmac.compare_digest(expected, signature) for signature in signatures]
    return True in fits


def _fits_ed25519(public: Ed25519PublicKey, message: bytes, signatures: Sequence[bytes]) -> bool:
    for signature in signatures:
        try:
            public.verify(signature, message)
        except InvalidSignature:
            continue
        return True
    return False


def key_bytes(text: str, prefix: str, sizes: Container[int], size: object) -> bytes:
    """The bytes of a key's text, of one of these sizes, told as `size`. Raises KeyTextError."""
    try:
        key = base64.b64decode(text.removeprefix(prefix).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise KeyTextError(Told("must be {prefix} and standard base64", prefix=prefix)) from error
    if len(key) not in sizes:
        rule = "must be {prefix} and the base64 of {size} bytes"
        raise KeyTextError(Told(rule, prefix=prefix, size=size))
    return key


# What a partner that does not exist is checked against.
_NOBODYS_SECRET = bytes(32)
_NOBODYS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
