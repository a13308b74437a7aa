"""Tables of partners: who may send, and which event is bound to whom."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base


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


class PartnerEvent(Base):
    """Binds a partner's event to one person for ever, or parks it. Inserted before any award."""

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
        Index(None, "partner_id", "received_at", postgresql_where="state = 'parked'"),
    )
