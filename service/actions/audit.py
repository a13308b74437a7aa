"""What `ledger audit` compares above the ledger: what decided on an award.

The digest that a transfer's hash covers is compared with what it was made from, as long as erasure
left that; the days of a streak are counted anew; a published version is what its hash says.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from uuid import UUID

from service.actions.facts import canonical_facts, facts_digest
from service.actions.store import Action
from service.database import Connection
from service.ledger.audit import Compare
from service.ledger.audit_checks import ROWS_MAX

ASKS: Mapping[str, str] = MappingProxyType(
    {
        "facts": "each action still says what its digest covers",
    }
)
_PREFETCH = 1_000


async def audit_facts(
    connection: Connection, ids: Sequence[UUID]
) -> list[tuple[UUID, str, str, str]]:
    """The first actions of these people whose facts are not those that were digested."""
    wrong: list[tuple[UUID, str, str, str]] = []
    async for row in connection.cursor(_FACTS, ids, prefetch=_PREFETCH):
        *fields, salt, sha256 = row
        action = Action(*fields)
        canonical = canonical_facts(
            action.type, action.occurred_at, action.reporter, action.attributes or {}
        )
        rules = "" if action.kind == "reversal" else sha256.hex() if sha256 else "unknown"
        expected = facts_digest(salt, canonical, rules, action)
        if expected != action.facts_digest:
            what = f"facts of {action.kind} {action.id}"
            found = action.facts_digest.hex()
            wrong.append((action.participant_id, what, expected.hex(), found))
            if len(wrong) == ROWS_MAX:
                break
    return wrong


COMPARES: Mapping[str, Compare] = MappingProxyType({"facts": audit_facts})

_COLUMNS = ", ".join(f"a.{name}" for name in Action.__dataclass_fields__)

_FACTS = f"""
SELECT {_COLUMNS}, b.salt, r.sha256
FROM actions a JOIN books b ON b.participant_id = a.participant_id
LEFT JOIN rulebooks r ON r.version = a.rulebook_version
WHERE a.participant_id = ANY($1::uuid[]) AND a.attributes IS NOT NULL
    AND b.salt IS NOT NULL"""  # noqa: S608 - constant columns
