"""Tables of people: who a token or a partner's reference is, and what they say of themselves."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base
from service.platform.persons import DELETE, of_persons


class Identity(Base):
    """Which participant a token's subject is. Keyed by an HMAC, so that nobody can compute it."""

    __tablename__ = "identities"

    subject_key: Mapped[bytes] = mapped_column(primary_key=True)
    participant_id: Mapped[UUID]
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("octet_length(subject_key) = 32", name="subject_key_is_hmac"),
        Index(None, "participant_id"),
        of_persons(DELETE),
    )


class Participant(Base):
    """What a person chose to show. Erasure deletes the row; the book stays, nameless."""

    __tablename__ = "participants"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    display_name: Mapped[str]
    region: Mapped[str | None]
    visibility: Mapped[str] = mapped_column(server_default="public")
    takeable: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(
            "visibility IN ('public', 'friends', 'hidden')", name="visibility_is_known"
        ),
        CheckConstraint(
            "char_length(display_name) BETWEEN 1 AND 64", name="display_name_has_length"
        ),
        CheckConstraint(
            "display_name IS NFKC NORMALIZED AND display_name = btrim(display_name)",
            name="display_name_is_normal",
        ),
        Index(None, "display_name"),
        of_persons(DELETE),
    )


class Link(Base):
    """A partner's own reference of a person, as an HMAC, and the person who agreed to it.

    A link that ended stays, to tell a card that was sold from one that was nobody's; of a person
    who was erased nothing but that is left. What happened before `since` was another's.
    """

    __tablename__ = "links"

    partner_id: Mapped[str] = mapped_column(primary_key=True)
    subject_key: Mapped[bytes] = mapped_column(primary_key=True)
    participant_id: Mapped[UUID | None]
    linked_at: Mapped[datetime]
    since: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("octet_length(subject_key) = 32", name="subject_key_is_hmac"),
        CheckConstraint(
            "participant_id IS NOT NULL OR ended_at IS NOT NULL", name="nobodys_has_ended"
        ),
        Index(None, "participant_id"),
        # That the card was somebody's stays known: what it brings is not the next owner's.
        of_persons("""
    UPDATE links SET participant_id = NULL, ended_at = coalesce(ended_at, linked_at)
    WHERE participant_id = $1"""),
    )


class LinkCode(Base):
    """A person's consent on its way to a partner: used once, within minutes of real time."""

    __tablename__ = "link_codes"

    code_key: Mapped[bytes] = mapped_column(primary_key=True)
    partner_id: Mapped[str]
    participant_id: Mapped[UUID]
    expires_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("octet_length(code_key) = 32", name="code_key_is_hmac"),
        Index(None, "participant_id"),
        Index(None, "expires_at"),
        of_persons(DELETE),
    )
