"""Tables of people: the way from a token to a participant, and what they say of themselves."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base
from service.platform.persons import DELETE, of_persons


class Identity(Base):
    """Which participant a token's subject is. Keyed by an HMAC, so that nobody can compute it."""

    __tablename__ = "identities"

    subject_key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    participant_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("octet_length(subject_key) = 32", name="subject_key_is_hmac"),
        Index(None, "participant_id"),
        of_persons(DELETE),
    )


class Participant(Base):
    """What a person chose to show. Erasure deletes the row; the book stays, nameless."""

    __tablename__ = "participants"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    display_name: Mapped[str] = mapped_column(Text)
    region: Mapped[str | None] = mapped_column(Text)
    visibility: Mapped[str] = mapped_column(Text, server_default="public")
    takeable: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

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
