"""Claims and counters from before values had a normal form, carried into it page by page.

An action's row and its digest name the claim as it was made, so nothing of it changes: the normal
form is bound beside it. Of two that turn out to be the same the first bound has it; what the other
was paid stays. Repeating a page changes nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from service.actions.hidden import claim_key, hidden_value
from service.actions.report import partner_of
from service.instance.migrate import Step
from service.platform.database import Connection
from service.rules.compile.draft import compile_rulebook
from service.rules.decide.judge import (
    Candidate,
    Claimed,
    by_key_of,
    claims_of,
    spelled,
    spelled_by_key,
)
from service.rules.decide.rulebook import Rulebook, period_names

_CLAIMS_A_PAGE, _PEOPLE_A_PAGE = 1_000, 200


class WrongSecretError(Exception):
    """The secret key is not the one that the claims were made with; the message is one line."""


def steps_of(secret_key: str) -> Mapping[str, Step]:
    """What `saxaul migrate` does after the tables are there, by the name of the step."""
    carrier = _Carrier(secret_key.encode())
    return {"claims": carrier.carry_claims, "counters": carrier.carry_counters}


class _Carrier:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._versions: dict[int, Rulebook | None] = {}

    async def carry_claims(self, connection: Connection, after: bytes) -> bytes | None:
        """Bind the normal forms of a page of claims. Raises WrongSecretError."""
        rows = await connection.fetch(_CLAIMS, after, _CLAIMS_A_PAGE)
        added: dict[bytes, tuple[datetime, UUID, UUID, bytes]] = {}
        told = known = 0
        for row in rows:
            key, owner = row["claim_key"], row["participant_id"]
            keys = await self._keys(connection, row)
            told, known = told + bool(keys), known + (key in keys)
            if key in keys:
                holder = (row["bound_at"], owner, row["action_id"], key)
                for other in keys - {key}:
                    added[other] = min(holder, added.get(other, holder))
        if told and not known:
            raise WrongSecretError("SAXAUL_SECRET_KEY is not the one that claims were made with")
        if added:
            bound = [(other, *holder) for other, holder in added.items()]
            await connection.execute(_ADD, *zip(*bound, strict=True))
        return rows[-1]["claim_key"] if len(rows) == _CLAIMS_A_PAGE else None

    async def _keys(self, connection: Connection, row: Any) -> set[bytes]:
        """All keys of an action: as it spelled the value, and in its normal form."""
        type_, attributes, occurred_at = row["type"], row["attributes"], row["occurred_at"]
        rulebook = await self._version(connection, row["rulebook_version"])
        kind = rulebook.action_types.get(type_) if rulebook else None
        if rulebook is None or kind is None or kind.claim is None or attributes is None:
            return set()
        candidate = Candidate(type_, attributes, occurred_at, "", False, partner_of(row["source"]))
        day = rulebook.program.local_date(occurred_at)
        # Rules that are published next may ignore leading zeros; what was paid stays paid.
        without = replace(kind, claim=replace(kind.claim, ignores_zeros=True))
        claims = {*claims_of(kind, candidate, day), *claims_of(without, candidate, day)}
        if claims:
            texts = ",".join(spelled(attributes[name]) for name in kind.claim.by)
            scope, period = kind.claim.scope, period_names(day)[kind.claim.per_index]
            scope += f"/{candidate.partner_id or ''}" if kind.claim.within_partner else ""
            claims.add(Claimed(scope, f"[{texts}]@{period}"))
        return {claim_key(self._secret, claim, row["participant_id"]) for claim in claims}

    async def _version(self, connection: Connection, number: int) -> Rulebook | None:
        if number not in self._versions:
            files = await connection.fetchval(_FILES, number)
            self._versions[number] = compile_rulebook(files, number).rulebook if files else None
        return self._versions[number]

    async def carry_counters(self, connection: Connection, after: bytes) -> bytes | None:
        """Tell the counters of a page of people as what they count from now on."""
        people = [r[0] for r in await connection.fetch(_PEOPLE, UUID(bytes=after), _PEOPLE_A_PAGE)]
        changed: dict[tuple[UUID, str, str, str], str] = {}
        for owner, counter, period, by_key, value in await connection.fetch(_USED, people):
            was = hidden_value(self._secret, owner, spelled_by_key(value))
            now = hidden_value(self._secret, owner, by_key_of(value))
            if was == by_key != now:
                changed[owner, counter, period, by_key] = now
        if changed:
            rows = [(*key, now) for key, now in changed.items()]
            await connection.execute(_COUNTS_AS, *zip(*rows, strict=True))
        return people[-1].bytes if len(people) == _PEOPLE_A_PAGE else None


_CLAIMS = """
SELECT c.claim_key, c.participant_id, c.action_id, c.bound_at, a.rulebook_version, a.type,
    a.occurred_at, a.source, a.attributes
FROM claims c JOIN actions a ON a.participant_id = c.participant_id AND a.id = c.action_id
WHERE c.claim_key > $1 AND c.of_key IS NULL ORDER BY c.claim_key LIMIT $2"""

_ADD = """
INSERT INTO claims (claim_key, bound_at, participant_id, action_id, of_key)
SELECT * FROM unnest($1::bytea[], $2::timestamptz[], $3::uuid[], $4::uuid[], $5::bytea[]) AS k
ORDER BY 1
ON CONFLICT (claim_key) DO UPDATE SET bound_at = excluded.bound_at, of_key = excluded.of_key,
    participant_id = excluded.participant_id, action_id = excluded.action_id
WHERE claims.of_key IS NOT NULL AND excluded.bound_at < claims.bound_at"""

_FILES = "SELECT files FROM rulebooks WHERE version = $1"

_PEOPLE = """
SELECT DISTINCT participant_id FROM counters WHERE by_key <> '' AND participant_id > $1
ORDER BY participant_id LIMIT $2"""

# A counter's name ends in the attribute that it counts by.
_USED = """
SELECT a.participant_id, c ->> 0, c ->> 1, c ->> 2, a.attributes -> substring(c ->> 0 from '[^/]*$')
FROM actions a
CROSS JOIN LATERAL jsonb_array_elements(a.awards) AS w
CROSS JOIN LATERAL jsonb_array_elements(w -> 'counters') AS c
WHERE a.participant_id = ANY($1::uuid[]) AND a.kind = 'action' AND c ->> 2 <> ''
    AND a.attributes IS NOT NULL"""

_COUNTS_AS = """
UPDATE counters SET counts_as = k.counts_as
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS k (participant_id, counter, period, by_key, counts_as)
WHERE counters.participant_id = k.participant_id AND counters.counter = k.counter
    AND counters.period = k.period AND counters.by_key = k.by_key"""
