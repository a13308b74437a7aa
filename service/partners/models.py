"""Tables of partners: who may send, with which keys, for whom, and which event is bound to whom."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base
from service.platform.persons import DELETE, of_persons


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
        # That the card was somebody's stays known: what it brings is not the next owner's.
        of_persons("""
    UPDATE links SET participant_id = NULL, ended_at = coalesce(ended_at, linked_at)
    WHERE participant_id = $1"""),
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
        of_persons(DELETE),
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
        of_persons(
            # What is not recorded yet of this person, with what takes it back.
            """DELETE FROM partner_events WHERE event_key IN (
        SELECT event_key FROM partner_events WHERE event_key IN (
            SELECT unnest(ARRAY[e.event_key, r.event_key]) FROM links l
            JOIN partner_events e ON e.partner_id = l.partner_id
                AND e.subject_key = l.subject_key AND e.state = 'parked' AND e.target_key IS NULL
            LEFT JOIN partner_events r ON r.target_key = e.event_key AND r.state = 'parked'
            WHERE l.participant_id = $1)
        ORDER BY 1 FOR UPDATE)""",
            # What takes back an event that has not come waits on, but says no more of whom.
            """UPDATE partner_events SET subject_key = NULL,
        body = jsonb_set(body || '{"subject": null}', '{data,reason}', '"erased"')
    WHERE event_key IN (
        SELECT r.event_key FROM links l
        JOIN partner_events r ON r.partner_id = l.partner_id AND r.subject_key = l.subject_key
            AND r.state = 'parked' AND r.target_key IS NOT NULL
        WHERE l.participant_id = $1 AND NOT EXISTS (SELECT FROM partner_events e
            JOIN links m ON m.partner_id = e.partner_id AND m.subject_key = e.subject_key
            WHERE e.event_key = r.target_key AND e.state = 'parked' AND m.participant_id = $1)
        ORDER BY 1 FOR NO KEY UPDATE OF r)""",
            not_exported="those that wait stand as parked_events; what became of others is actions",
        ),
    )
