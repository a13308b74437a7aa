"""Reads of the ledger: statements."""

from collections.abc import Sequence
from uuid import UUID

from service.platform.reads import Reads, Row

_FROM_THE_LAST = 2**63 - 1


async def list_transfers(
    reads: Reads, participant_id: UUID, *, before: int | None, limit: int
) -> Sequence[Row]:
    """The transfers of a book, the newest first, from below this seq on, each with its reason.

    Adjustments have one, which the log of the operators' acts keeps.
    """
    first = _FROM_THE_LAST if before is None else before
    return await reads.fetch(_LIST, participant_id, first, limit)


async def has_book(reads: Reads, participant_id: UUID) -> bool:
    """Whether there is, or was, such a participant."""
    return await reads.first(_BOOK, participant_id) is not None


_LIST = """
SELECT seq, debit, credit, amount_g, cause, cause_id, at, hash, CASE WHEN cause = 'adjust' THEN (
    SELECT detail->>'reason' FROM audit_log
    WHERE object = t.participant_id::text AND act = 'participant.adjust'
        AND detail->>'adjustment' = t.cause_id::text) END
FROM transfers t WHERE participant_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"""

_BOOK = "SELECT FROM books WHERE participant_id = $1"
