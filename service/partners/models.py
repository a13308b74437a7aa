"""Tables of partners: who may send, with which keys, for whom, and which event is bound to whom."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
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


class Link(Base):
    """A partner's own reference of a person, as an HMAC, and the person who agreed to it.

    A link that ended stays, to tell a card that was sold from one that was nobody's; of a person
    who was erased nothing but that is left. What happened before `since` was another's.
    """

    __tablename__ = "links"

    partner_id: Mapped[str] = mapped_column(Text, primary_key=True)
    subject_key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    participant_id: Mapped[UUID | None]
    linked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("octet_length(subject_key) = 32", name="subject_key_is_hmac"),
        CheckConstraint(
            "participant_id IS NOT NULL OR ended_at IS NOT NULL", name="nobodys_has_ended"
        ),
        Index(None, "participant_id"),
    )


class LinkCode(Base):
    """A person's consent on its way to a partner: used once, within minutes of real time."""

    __tablename__ = "link_codes"

    code_key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    partner_id: Mapped[str] = mapped_column(Text)
    participant_id: Mapped[UUID]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("octet_length(code_key) = 32", name="code_key_is_hmac"),
        Index(None, "participant_id"),
        Index(None, "expires_at"),
    )


class PartnerEvent(Base):
    """Binds a partner's event to one person for ever, or parks it. Inserted before any award.

    `target_key` is that of the event which a reversal takes back; `subject_key` finds what waits
    for a link.
    """

    __tablename__ = "partner_events"

    event_key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    partner_id: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    event_id: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    participant_id: Mapped[UUID | None]
    action_id: Mapped[UUID | None]
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    body: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    subject_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    target_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint(
            "state IN ('parked', 'bound', 'reversed_before', 'reversed', 'discarded')",
            name="state_is_known",
        ),
        CheckConstraint("state = 'parked' OR body IS NULL", name="body_only_while_parked"),
        CheckConstraint(
            "state <> 'bound' OR (participant_id IS NOT NULL AND action_id IS NOT NULL)",
            name="bound_names_its_action",
        ),
        CheckConstraint("octet_length(event_key) = 16", name="event_key_is_uuid"),
        Index(None, "partner_id", "received_at", postgresql_where="state = 'parked'"),
        Index(
            "ix_partner_events_discarded",
            "partner_id",
            "received_at",
            postgresql_where="state = 'discarded'",
        ),
        Index(None, "partner_id", "subject_key", postgresql_where="state = 'parked'"),
        Index(None, "target_key", postgresql_where="state = 'parked'"),
        Index(None, "received_at", postgresql_where="state NOT IN ('bound', 'reversed')"),
    )
