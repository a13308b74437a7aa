"""What `ledger audit` compares of published rules: a version is what its hash says."""

from service.platform.checks import ROWS_MAX, AnyCheck, CompareAll, Off
from service.platform.database import Connection
from service.rules.compile.draft import sha256_of


async def audit_rules(connection: Connection) -> list[Off]:
    """Published versions whose files are not those that were hashed, and versions that are gone."""
    wrong: list[Off] = []
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


_VERSIONS = "SELECT version, sha256, files FROM rulebooks ORDER BY version"

_UNPUBLISHED = """
SELECT DISTINCT version FROM (
    SELECT version FROM rulebook_activations UNION SELECT version FROM active_rulebook
) AS used
WHERE NOT EXISTS (SELECT FROM rulebooks r WHERE r.version = used.version) ORDER BY version"""

CHECKS: tuple[AnyCheck, ...] = (
    CompareAll("rules", "each published version is what its hash says", audit_rules),
)
