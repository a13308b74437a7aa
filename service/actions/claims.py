"""Claims: a box, a ticket, a meter's month is paid once, over all people.

Bound in key order before it is known who of a batch gets them, and settled in the same transaction
with whoever was paid; what nobody got is free again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from service.actions.refusals import AlreadyClaimedError
from service.actions.report import Report
from service.database import Connection
from service.errors import SaxaulError

RowKey = tuple[UUID, UUID]
"""A row of `actions`: the participant's id and the action's."""


@dataclass(slots=True)
class Claims:
    """Claims of a batch: bound for the first report that wants one, settled with whoever got it."""

    now: datetime
    keys: Mapping[Report, bytes]
    bound: dict[bytes, RowKey]
    held: dict[bytes, datetime]
    taken: dict[bytes, RowKey] = field(default_factory=dict)

    def refusal(self, report: Report) -> SaxaulError | None:
        """Why this report is not paid: its claim was, earlier or in this batch."""
        key = self.keys.get(report)
        if key in self.held:
            return AlreadyClaimedError(self.held[key])
        return AlreadyClaimedError(self.now) if key in self.taken else None

    def take(self, report: Report) -> bytes | None:
        """The claim of a report that is paid."""
        key = self.keys.get(report)
        if key is not None:
            self.taken[key] = report.row
        return key

    async def settle(self, connection: Connection) -> None:
        """Free what nobody got; give the rest to whom it went, if that is not the first."""
        free = [key for key in self.bound if key not in self.taken and key not in self.held]
        moved = {key: row for key, row in self.taken.items() if row != self.bound[key]}
        if free or moved:
            await _settle(connection, free, moved)


async def bind_claims(
    connection: Connection, wanted: Mapping[Report, bytes], now: datetime
) -> Claims:
    """Bind each claim for the first report that wants it; `wanted` in order of arrival."""
    claims = Claims(now, wanted, {}, {})
    for report, key in wanted.items():
        claims.bound.setdefault(key, report.row)
    if claims.bound:
        claims.held = await hold_claims(connection, claims.bound, now)
    return claims


async def hold_claims(
    connection: Connection, wanted: Mapping[bytes, RowKey], now: datetime
) -> dict[bytes, datetime]:
    """Bind in key order, in one statement; give back what others hold, with the time since when."""
    held: dict[bytes, datetime] = {}
    missing = sorted(wanted)
    while missing:
        await connection.execute(
            _BIND,
            missing,
            [wanted[key][0] for key in missing],
            [wanted[key][1] for key in missing],
            now,
        )
        rows = await connection.fetch(_READ, missing)
        held |= {
            key: bound_at
            for key, participant_id, action_id, bound_at in rows
            if (participant_id, action_id) != wanted[key]
        }
        # A holder that was reversed between the two statements has freed its claim: bind again.
        missing = sorted(set(missing) - {row[0] for row in rows})
    return held


async def _settle(
    connection: Connection, free: Sequence[bytes], moved: Mapping[bytes, RowKey]
) -> None:
    await connection.execute("DELETE FROM claims WHERE claim_key = ANY($1::bytea[])", free)
    await connection.execute(
        _MOVE, list(moved), [row[0] for row in moved.values()], [row[1] for row in moved.values()]
    )


_BIND = """
INSERT INTO claims (claim_key, participant_id, action_id, bound_at)
SELECT k.claim_key, k.participant_id, k.action_id, $4
FROM unnest($1::bytea[], $2::uuid[], $3::uuid[]) AS k (claim_key, participant_id, action_id)
ORDER BY k.claim_key
ON CONFLICT DO NOTHING"""

_READ = """
SELECT claim_key, participant_id, action_id, bound_at FROM claims
WHERE claim_key = ANY($1::bytea[])"""

_MOVE = """
UPDATE claims SET participant_id = k.participant_id, action_id = k.action_id
FROM unnest($1::bytea[], $2::uuid[], $3::uuid[]) AS k (claim_key, participant_id, action_id)
WHERE claims.claim_key = k.claim_key"""
