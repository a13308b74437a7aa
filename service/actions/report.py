"""One action on its way in, and the partner's event that it came as."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.ledger.orders import Order
from service.participants.links import Subject
from service.rules.decide.judge import Candidate

_PARTNER = "partner:"


# What is made for each action is a Struct: a dataclass takes five to twenty times as long to make.
class EventRef(Struct, frozen=True):
    """The partner's event that a report came as; `key` is that of its row in partner_events."""

    key: bytes
    partner_id: str
    source: str
    event_id: str
    subject_key: bytes

    @property
    def subject(self) -> Subject:
        """Whom it tells of, as links know it."""
        return self.partner_id, self.subject_key


class Report(Order):
    """One action on its way in.

    Its id is drawn before any transaction, so that a lost answer to a COMMIT can be looked up.
    `keyed` says that the id follows from a key, so that a row with it may be there already.
    `written` is when its row was booked by a transaction whose COMMIT may have got no answer.
    `received_at` is set for what was parked: whether it came too late is decided by its arrival.
    `rivals` are people whose report it takes the claim from: their books are locked with its own.
    """

    id: UUID
    candidate: Candidate
    source: str
    fingerprint: bytes
    canonical: bytes
    keyed: bool
    key: str = ""
    written: datetime | None = None
    event: EventRef | None = None
    received_at: datetime | None = None
    rivals: tuple[UUID, ...] = ()

    @property
    def people(self) -> tuple[UUID, ...]:
        """Its person, and those whom it takes a claim from."""
        return (self.participant_id, *self.rivals)

    @property
    def row(self) -> tuple[UUID, UUID]:
        """The primary key that its row of `actions` has."""
        return self.participant_id, self.id


def partner_source(partner_id: str) -> str:
    """The source of what a partner told, as its row keeps it."""
    return _PARTNER + partner_id


def partner_of(source: str) -> str | None:
    """The partner who told; None for others."""
    return source.removeprefix(_PARTNER) if source.startswith(_PARTNER) else None
