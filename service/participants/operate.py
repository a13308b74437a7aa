"""What operators do with a participant: suspend, resume."""

from uuid import UUID

from service.ledger.books import lock_book, suspend_book
from service.platform.acts import Act
from service.platform.database import Database


async def set_suspended(
    database: Database, participant_id: UUID, *, suspended: bool, reason: str | None, act: Act
) -> None:
    """Suspend or resume somebody; what is so already stays so, without an entry in the log.

    Raises BookMissingError, ParticipantErasedError.
    """
    async with database.transaction() as connection:
        book = await lock_book(connection, participant_id)
        book.require_not_erased()
        if book.suspended == suspended:
            return
        await suspend_book(connection, participant_id, suspended=suspended)
        before, after = {"suspended": book.suspended}, {"suspended": suspended}
        detail = {"reason": reason, "before": before, "after": after}
        what = "participant.suspend" if suspended else "participant.resume"
        await act.log(connection, what, participant_id, detail)
