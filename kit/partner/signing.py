"""Signing the Standard Webhooks way, as partners do; `service/partners/signature.py` checks it."""

import base64
import hmac
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.partners.signature import key_bytes

PRIVATE_PREFIX = "whsk_"


def sign_hmac(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The `v1` entry of webhook-signature; `timestamp` in seconds since 1970."""
    message = _signed(message_id, timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(secret, message, "sha256")).decode()


def sign_ed25519(private: Ed25519PrivateKey, message_id: str, timestamp: int, body: bytes) -> str:
    """The `v1a` entry of webhook-signature; `timestamp` in seconds since 1970."""
    signature = private.sign(_signed(message_id, timestamp, body))
    return "v1a," + base64.b64encode(signature).decode()


def signed_headers(message_id: str, timestamp: int, signatures: Iterable[str]) -> dict[str, str]:
    """The headers of a signed request; several signatures while a key is being replaced."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def read_private_key(text: str) -> Ed25519PrivateKey:
    """The key of `whsk_...`: the seed, with or without its public half. Raises KeyTextError."""
    key = key_bytes(text, PRIVATE_PREFIX, {32, 64}, "32 or 64")
    return Ed25519PrivateKey.from_private_bytes(key[:32])


def _signed(message_id: str, timestamp: int, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body
