"""Why an award is what it is: the canonical bytes of an action's facts, and their digest.

A transfer's hash covers the digest of its action's facts, so the chain of a book protects all that
its actions say, not their grams alone.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import structs

from service.actions.store import Action
from service.platform.canonical import FORM, encoded

_TOLD = ("type", "occurred_at", "reporter", "attributes")
# What an action's row says beside the report itself: all but whose it is, and the digest.
_REST = {*Action.__struct_fields__} - {*_TOLD, "participant_id", "facts_digest"}
_DECIDED = attrgetter(*sorted(_REST))
# The same in digests of the earlier form. No column is ever added here.
_DECIDED_EARLIER = attrgetter(
    *("id", "seq", "kind", "recorded_at", "ends_at", "exclusive", "ripens_at", "expires_at"),
    *("saved_g", "energy_g", "rulebook_version", "streak_days", "verified", "source", "region"),
    *("reverses", "fingerprint", "claim_key", "awards"),
)
_encode = msgspec.json.Encoder(order="sorted").encode


def canonical_facts(
    type_: str, occurred_at: datetime, reporter: str, attributes: Mapping[str, Any]
) -> bytes:
    """One text for what was reported, of values that are `as_stored`."""
    return encoded((type_, occurred_at, reporter, attributes))


def facts_digest(salt: bytes, told: bytes, rulebook_sha256: str, action: Action) -> bytes:
    """HMAC-SHA256 of why an award is what it is: the report, the rules with their factors, the row.

    `told` are the canonical facts; `action` is complete but for its digest, and all that it holds
    is `as_stored`. Keyed with the person's salt, so that erasing the salt leaves nothing to guess
    attributes from.
    """
    parts = (FORM, told, rulebook_sha256.encode(), encoded(_DECIDED(action)))
    # `hmac.digest` lets other threads run for a microsecond's work, and waits to go on.
    return hmac.new(salt, b"".join(parts), "sha256").digest()


def earlier_digest(salt: bytes, rulebook_sha256: str, action: Action, offset: timedelta) -> bytes:
    """The digest of the earlier form: it covered a partner's time with the offset that was sent."""
    if offset:
        zone = timezone(offset)
        ends_at = action.ends_at and action.ends_at.astimezone(zone)
        action = structs.replace(
            action, occurred_at=action.occurred_at.astimezone(zone), ends_at=ends_at
        )
    told = _encode((action.type, action.occurred_at, action.reporter, action.attributes))
    parts = (told, rulebook_sha256.encode(), _encode(_DECIDED_EARLIER(action)))
    return hmac.digest(salt, b"".join(parts), "sha256")
