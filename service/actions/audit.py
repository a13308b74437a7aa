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
from service.ledger.audit import Compare, CompareAll
from service.ledger.audit_checks import ROWS_MAX
from service.rules.compile import sha256_of

ASKS: Mapping[str, str] = MappingProxyType(
    {
        "facts": "each action still says what its digest covers",
        "rules": "each published version is what its hash says",
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


async def audit_rules(connection: Connection) -> list[tuple[None, str, str, str]]:
    """Published versions whose files are not those that were hashed, and versions that are gone."""
    wrong: list[tuple[None, str, str, str]] = []
    expected = 0
    async for version, sha256, files in connection.cursor(_VERSIONS, prefetch=1):
        expected += 1
        if version != expected:
            wrong.append((None, f"version {expected} of the rules", "published", "missing"))
            expected = version
        found = sha256_of(files)
        if found != sha256.hex():
            wrong.append((None, f"files of version {version} of the rules", sha256.hex(), found))
    rows = await connection.fetch(_UNPUBLISHED)
    wrong += [
        (None, f"version {version} of the rules", "published", "missing") for (version,) in rows
    ]
    return wrong[:ROWS_MAX]


COMPARES: Mapping[str, Compare] = MappingProxyType({"facts": audit_facts})
WHOLE: Mapping[str, CompareAll] = MappingProxyType({"rules": audit_rules})

_COLUMNS = ", ".join(f"a.{name}" for name in Action.__dataclass_fields__)

_FACTS = f"""
SELECT {_COLUMNS}, b.salt, r.sha256
FROM actions a JOIN books b ON b.participant_id = a.participant_id
LEFT JOIN rulebooks r ON r.version = a.rulebook_version
WHERE a.participant_id = ANY($1::uuid[]) AND a.attributes IS NOT NULL
    AND b.salt IS NOT NULL"""  # noqa: S608 - constant columns

_VERSIONS = "SELECT version, sha256, files FROM rulebooks ORDER BY version"

_UNPUBLISHED = """
SELECT DISTINCT version FROM (
    SELECT version FROM rulebook_activations UNION SELECT version FROM active_rulebook
) AS used
WHERE NOT EXISTS (SELECT FROM rulebooks r WHERE r.version = used.version) ORDER BY version"""
