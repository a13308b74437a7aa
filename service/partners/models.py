"""Tables of partners: who may send, and with which keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base


class Partner(Base):
    """An organisation that posts verified events of the action types granted to it."""

    __tablename__ = "partners"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    source_prefix: Mapped[str]
    action_types: Mapped[list[str]]
    disabled: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[datetime]

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
        ForeignKey("partners.id", ondelete="CASCADE"), primary_key=True
    )
    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    public_key: Mapped[bytes | None]
    sealed_secret: Mapped[bytes | None]
    sealed_key: Mapped[bytes | None]
    master_key_id: Mapped[str | None]
    created_at: Mapped[datetime]
    not_before: Mapped[datetime]
    not_after: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

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
