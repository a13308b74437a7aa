"""Who asks: what workflows know of whoever sent a request, and write into the audit log."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent this request."""

    subject: str
    scopes: frozenset[str]
    request_id: str
    participant: UUID | None

    @property
    def participant_id(self) -> UUID:
        """The participant; only routes that open to participants may ask."""
        assert self.participant is not None
        return self.participant
