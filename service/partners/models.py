"""Tables of partners: who may send, and with which keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base


class Partner(Base):
    """An organisation that posts verified events of the action types granted to it."""

    __tablename__ = "partners"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    source_prefix: Mapped[str] = mapped_column(Text)
    action_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    disabled: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("id ~ '^[a-z0-9][a-z0-9-]{1,62}$'", name="id_is_slug"),
        CheckConstraint("source_prefix <> ''", name="source_prefix_not_empty"),
    )


class PartnerKey(Base):
    """A key that a partner signs with. A secret lies under a key of its own, that one under ours.

    Its state follows from its times, which are real: pending, active, retiring, revoked.
    """

    __tablename__ = "partner_keys"

    partner_id: Mapped[str] = mapped_column(
        Text, ForeignKey("partners.id", ondelete="CASCADE"), primary_key=True
    )
    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    public_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    master_key_id: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    not_before: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    not_after: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("kind IN ('hmac', 'ed25519')", name="kind_is_known"),
        CheckConstraint(
            "(kind = 'ed25519') = (public_key IS NOT NULL)", name="public_key_of_its_kind"
        ),
        CheckConstraint(
            "(kind = 'hmac') = (sealed_secret IS NOT NULL AND sealed_key IS NOT NULL"
            " AND master_key_id IS NOT NULL)",
            name="secret_is_sealed",
        ),
        Index(None, "master_key_id"),
    )
