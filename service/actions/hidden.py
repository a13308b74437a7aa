"""What limits count by and what is claimed is hidden: both outlive erasure."""

import hmac
from functools import partial
from operator import attrgetter
from uuid import UUID

from service.rules.decide.judge import Claimed, Judged

_by_key = attrgetter("by_key")


def claim_key(secret: bytes, claim: Claimed, participant_id: UUID) -> bytes:
    """HMAC-SHA256 of a claim's scope and value, so that a table of claims tells nothing."""
    own = (participant_id.hex,) if claim.is_own else ()
    return hmac.digest(
        secret, "\0".join(("claim", claim.scope, claim.value, *own)).encode(), "sha256"
    )


def claim_keys(secret: bytes, judged: Judged, participant_id: UUID) -> list[bytes]:
    """The keys of all that an action claims; the first is the one that its row names."""
    return [claim_key(secret, claim, participant_id) for claim in judged.claims]


def hide_values(judged: Judged, participant_id: UUID, secret: bytes) -> None:
    """Put a keyed hash in the place of each value that a limit of this action counts by."""
    if any(map(_by_key, judged.counters)):
        hide = partial(hidden_value, secret, participant_id)
        judged.counters = tuple(
            [k._replace(by_key=hide(k.by_key)) if k.by_key else k for k in judged.counters]
        )


def hidden_value(secret: bytes, participant_id: UUID, by_key: str) -> str:
    """What stands in a counter for a value; another text for each person."""
    message = b"by\0" + participant_id.bytes + by_key.encode()
    return hmac.digest(secret, message, "sha256")[:16].hex()
