"""What limits count by and what is claimed is hidden: both outlive erasure."""

import hmac
from uuid import UUID

from service.rules.judge import Judged
from service.rules.rulebook import CounterKey


def claim_key(secret: bytes, claim: tuple[str, str]) -> bytes:
    """HMAC-SHA256 of a claim's scope and value, so that a table of claims tells nothing."""
    return hmac.digest(secret, "\0".join(("claim", *claim)).encode(), "sha256")


def hide_values(judged: Judged, participant_id: UUID, secret: bytes) -> None:
    """Put a keyed hash in the place of each value that a limit of this action counts by."""
    if any(key.by_key for key in judged.counters):
        judged.counters = tuple([_hidden(key, participant_id, secret) for key in judged.counters])


def _hidden(key: CounterKey, participant_id: UUID, secret: bytes) -> CounterKey:
    if not key.by_key:
        return key
    message = b"by\0" + participant_id.bytes + key.by_key.encode()
    return key._replace(by_key=hmac.digest(secret, message, "sha256")[:16].hex())
