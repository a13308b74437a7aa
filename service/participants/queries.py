"""Reads of people: what they show of themselves, what they hold."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from service.http.decode import Time
from service.ledger.accounts import Account
from service.ledger.balances import BALANCES, Balances
from service.participants.identities import subject_key
from service.platform.reads import Reads, Row


class Suspension(msgspec.Struct, frozen=True):
    """Since when nothing moves in somebody's book, and why, if an operator said so."""

    reason: str | None
    at: Time


class Totals(msgspec.Struct, frozen=True):
    """What somebody did so far: energy earned by actions, CO2e avoided, trees pledged."""

    earned_g: int
    saved_g: int
    trees: int


class ParticipantAnswer(msgspec.Struct, frozen=True):
    """A participant; who was erased has a book and no name."""

    participant_id: UUID
    state: Literal["active", "suspended", "erased"]
    display_name: str | None
    region: str | None
    visibility: str | None
    created_at: Time | None
    balances: Balances
    totals: Totals
    suspension: Suspension | UnsetType = UNSET


async def find_participant(reads: Reads, participant_id: UUID) -> ParticipantAnswer | None:
    """One participant, also one who was erased."""
    row = await reads.first(_PARTICIPANT, participant_id)
    return None if row is None else _answer(row)


async def list_by_subject(
    reads: Reads, secret_key: str, issuers: Sequence[str], subject: str
) -> list[ParticipantAnswer]:
    """Whom this subject is, by each of these issuers."""
    keys = [subject_key(secret_key, issuer, subject) for issuer in issuers]
    return [_answer(row) for row in await reads.fetch(_OF_SUBJECT, keys)]


async def list_by_alias(
    reads: Reads, *, alias: str | None, after: UUID | None, limit: int
) -> list[ParticipantAnswer]:
    """Participants in the order of their ids, all of them or those with this display name."""
    first = after or UUID(int=0)
    if alias is None:
        rows = await reads.fetch(_ALL, first, limit)
    else:
        rows = await reads.fetch(_OF_ALIAS, first, limit, alias)
    return [_answer(row) for row in rows]


def _answer(row: Row) -> ParticipantAnswer:
    """Who was found. What they earned leaves out adjustments."""
    suspension = Suspension(*row[9:11]) if row[10] else UNSET
    told = (*row[:6], Balances(*row[11:]), Totals(*row[6:9]), suspension)
    return ParticipantAnswer(*told)


# What operators added less what they took back is no earning; why somebody is suspended is told by
# the last act on them.
_PARTICIPANTS = f"""
SELECT b.participant_id,
    CASE WHEN b.closed THEN 'erased' WHEN b.suspended THEN 'suspended' ELSE 'active' END,
    p.display_name, p.region, p.visibility, p.created_at, -b.issuance - (
        SELECT coalesce(sum(CASE t.debit WHEN {Account.ISSUANCE:d} THEN t.amount_g
            ELSE -t.amount_g END), 0)::bigint
        FROM transfers t WHERE t.participant_id = b.participant_id AND t.cause = 'adjust'),
    b.saved_g, b.trees, a.detail->>'reason', a.at, {", ".join(BALANCES)}
FROM books b LEFT JOIN participants p USING (participant_id)
LEFT JOIN LATERAL (
    SELECT detail, at FROM audit_log WHERE b.suspended AND object = b.participant_id::text
        AND act = 'participant.suspend' ORDER BY seq DESC LIMIT 1) a ON true"""  # noqa: S608 - constant columns

_PARTICIPANT = _PARTICIPANTS + " WHERE b.participant_id = $1"

_OF_SUBJECT = f"""{_PARTICIPANTS}
WHERE b.participant_id IN (SELECT participant_id FROM identities WHERE subject_key = ANY($1))
ORDER BY b.participant_id"""  # noqa: S608 - constant columns

_ALL = _PARTICIPANTS + " WHERE b.participant_id > $1 ORDER BY b.participant_id LIMIT $2"

_OF_ALIAS = f"""{_PARTICIPANTS}
WHERE b.participant_id > $1 AND p.display_name = $3 ORDER BY b.participant_id LIMIT $2"""
