"""Why an award is what it is: the canonical bytes of an action's facts, and their digest.

A transfer's hash covers the digest of its action's facts, so the chain of a book protects all that
its actions say, not their grams alone.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from service.actions.store import Action

_encode = msgspec.json.Encoder(order="sorted").encode
# From here on numbers are written with an exponent, which the database does not keep.
_LARGE = 1e16
# What an action's row says beside the report itself; times are in UTC.
_DECIDED = attrgetter(
    *("id", "seq", "kind", "recorded_at", "ends_at", "exclusive", "ripens_at", "expires_at"),
    *("saved_g", "energy_g", "rulebook_version", "streak_days", "verified", "source", "region"),
    *("reverses", "fingerprint", "claim_key", "awards"),
)


def canonical_facts(
    type_: str, occurred_at: datetime, reporter: str, attributes: Mapping[str, Any]
) -> bytes:
    """One text for what was reported; `occurred_at` in UTC, attributes as `storable` gives them."""
    return _encode((type_, occurred_at, reporter, attributes))


def storable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that come back from the database as they went in: as jsonb keeps numbers."""
    return {
        name: _storable(value) if type(value) is float else value
        for name, value in attributes.items()
    }


def _storable(value: float) -> float | int:
    if value == 0:
        return 0.0
    return int(value) if abs(value) >= _LARGE else value


def facts_digest(salt: bytes, canonical: bytes, rulebook_sha256: str, action: Action) -> bytes:
    """HMAC-SHA256 of why an award is what it is: the report, the rules with their factors, the row.

    `action` is complete but for its digest. Keyed with the person's salt, so that erasing the salt
    leaves nothing to guess attributes from.
    """
    decided = _encode(_DECIDED(action))
    return hmac.digest(salt, b"".join((canonical, rulebook_sha256.encode(), decided)), "sha256")
