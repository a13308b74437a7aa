"""A partner's own key: what deliveries are signed with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from kit.partner.signing import (
    PRIVATE_PREFIX,
    read_private_key,
    sign_ed25519,
    sign_hmac,
    signed_headers,
)
from service.partners.signature import SECRET_PREFIX, KeyTextError, read_secret


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Signs deliveries with a shared secret (`v1`) or a private key (`v1a`)."""

    sign: Callable[[str, int, bytes], str]

    def headers(self, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
        """The three headers of a delivery made now, which is real time."""
        timestamp = int(now.timestamp())
        return signed_headers(message_id, timestamp, [self.sign(message_id, timestamp, body)])


def signing_key(text: str) -> SigningKey:
    """The key of a text such as `whsec_...` or `whsk_...`. Raises KeyTextError."""
    if text.startswith(SECRET_PREFIX):
        return SigningKey(partial(sign_hmac, read_secret(text)))
    if text.startswith(PRIVATE_PREFIX):
        return SigningKey(partial(sign_ed25519, read_private_key(text)))
    raise KeyTextError(f"must begin with {SECRET_PREFIX} or {PRIVATE_PREFIX}")
