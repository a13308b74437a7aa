"""Why an award is what it is: the canonical bytes of an action's facts, and their audit.

A transfer's hash covers the digest of its action's facts; here the digest is compared with the
facts themselves, as long as erasure left them.
"""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from service.database import Connection
from service.ledger.audit_checks import ROWS_MAX

NAME, ASKS = "facts", "each action still says what its digest covers"

_encode = msgspec.json.Encoder(order="sorted").encode
# From here on numbers are written with an exponent, which the database does not keep.
_LARGE = 1e16
_PREFETCH = 1_000


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


def facts_digest(salt: bytes, canonical: bytes, rulebook_sha256: str) -> bytes:
    """HMAC-SHA256 of why an award is what it is: the report and the rules with their factors.

    Keyed with the person's salt, so that erasing the salt leaves nothing to guess attributes from.
    """
    return hmac.digest(salt, canonical + rulebook_sha256.encode(), "sha256")


async def audit_facts(
    connection: Connection, ids: Sequence[UUID]
) -> list[tuple[UUID, str, str, str]]:
    """The first actions of these people whose facts are not those that were digested."""
    wrong: list[tuple[UUID, str, str, str]] = []
    async for row in connection.cursor(_FACTS, ids, prefetch=_PREFETCH):
        canonical = canonical_facts(
            row["type"], row["occurred_at"], row["reporter"], row["attributes"]
        )
        sha256 = row["sha256"]
        rules = "" if row["kind"] == "reversal" else sha256.hex() if sha256 else "unknown"
        expected = facts_digest(row["salt"], canonical, rules)
        if expected != row["facts_digest"]:
            what = f"facts of {row['kind']} {row['id']}"
            found = row["facts_digest"].hex()
            wrong.append((row["participant_id"], what, expected.hex(), found))
            if len(wrong) == ROWS_MAX:
                break
    return wrong


_FACTS = """
SELECT a.participant_id, a.id, a.kind, a.type, a.occurred_at, a.reporter, a.attributes,
    a.facts_digest, b.salt, r.sha256
FROM actions a JOIN books b ON b.participant_id = a.participant_id
LEFT JOIN rulebooks r ON r.version = a.rulebook_version
WHERE a.participant_id = ANY($1::uuid[]) AND a.attributes IS NOT NULL AND b.salt IS NOT NULL"""
