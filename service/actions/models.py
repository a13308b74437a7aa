"""Tables of the main job: actions, counters of limits, claims paid once, events of partners."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base
from service.platform.persons import DELETE, of_persons


class Action(Base):
    """A recorded low-carbon act or its reversal, with all that decided its award.

    Append-only but for `attributes`, which erasure sets to null, as the exact amounts in `awards`
    go with them; the primary key is the dedupe key.
    """

    __tablename__ = "actions"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    occurred_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    recorded_at: Mapped[datetime]
    ripens_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    saved_g: Mapped[int] = mapped_column(BigInteger)
    energy_g: Mapped[int] = mapped_column(BigInteger)
    rulebook_version: Mapped[int]
    streak_days: Mapped[int]
    kind: Mapped[str]
    exclusive: Mapped[bool]
    verified: Mapped[bool]
    type: Mapped[str]
    source: Mapped[str]
    reporter: Mapped[str]
    region: Mapped[str]
    reverses: Mapped[UUID | None]
    fingerprint: Mapped[bytes]
    facts_digest: Mapped[bytes]
    claim_key: Mapped[bytes | None]
    attributes: Mapped[dict[str, Any] | None]
    awards: Mapped[list[dict[str, Any]]]

    __table_args__ = (
        CheckConstraint("kind IN ('action', 'reversal')", name="kind_is_known"),
        CheckConstraint(
            "(kind = 'reversal') = (reverses IS NOT NULL)", name="reversal_names_its_action"
        ),
        CheckConstraint(
            "kind = 'reversal' OR (saved_g >= 0 AND energy_g >= 0)", name="award_not_negative"
        ),
        CheckConstraint("octet_length(fingerprint) = 16", name="fingerprint_is_128_bits"),
        Index(None, "participant_id", "occurred_at"),
        Index(None, "recorded_at", postgresql_using="brin"),
        # A reversal bears the time of its action, which may be of any age.
        Index(None, "participant_id", "recorded_at", postgresql_where="kind = 'reversal'"),
        of_persons(kept="awards are the ledger's; erase.py takes out attributes, part by part"),
    )


class Counter(Base):
    """How much of a limit a person has used in a period; written under the book's lock.

    A rule's row of a day also holds what its actions came to: exactly, the whole grams that were
    awarded and a rest, which is below 0 where more was awarded.
    `counts_as`: the `by_key` of the same value in its normal form, for rows from before there was
    one.
    """

    __tablename__ = "counters"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    counter: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    by_key: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)
    grams: Mapped[int] = mapped_column(BigInteger)
    earned_g: Mapped[int] = mapped_column(BigInteger, server_default="0")
    earned_rest_ng: Mapped[int] = mapped_column(BigInteger, server_default="0")
    saved_g: Mapped[int] = mapped_column(BigInteger, server_default="0")
    saved_rest_ng: Mapped[int] = mapped_column(BigInteger, server_default="0")
    ends_on: Mapped[date | None]
    counts_as: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("n >= 0", name="n_not_negative"),
        CheckConstraint("grams >= 0", name="grams_not_negative"),
        CheckConstraint(
            "earned_g >= 0 AND earned_g * 1e9 + earned_rest_ng >= 0", name="earned_not_negative"
        ),
        CheckConstraint(
            "saved_g >= 0 AND saved_g * 1e9 + saved_rest_ng >= 0", name="saved_not_negative"
        ),
        Index(None, "ends_on"),
        Index(None, "participant_id", "counts_as", postgresql_where="counts_as IS NOT NULL"),
        {"postgresql_with": {"fillfactor": "70"}, **of_persons(DELETE)},
    )


class Claim(Base):
    """A value that is paid once, over all people: a box, a ticket, a meter's month.

    `of_key` is the claim that the action's row names, where this is another one that it holds: what
    a partner told is its person's own claim too; and an action from before claims had a normal form
    holds that as well.
    """

    __tablename__ = "claims"

    claim_key: Mapped[bytes] = mapped_column(primary_key=True)
    participant_id: Mapped[UUID]
    action_id: Mapped[UUID]
    bound_at: Mapped[datetime]
    of_key: Mapped[bytes | None]

    __table_args__ = (
        CheckConstraint("octet_length(claim_key) = 32", name="claim_key_is_hmac"),
        Index(None, "of_key", postgresql_where="of_key IS NOT NULL"),
        of_persons(
            kept="what was paid once is not paid again",
            not_exported="found by their hash only; each stands with its action as claim_key",
        ),
    )


class PartnerEvent(Base):
    """Binds a partner's event to one person for ever, or parks it. Inserted before any award.

    `target_key` is that of the event which a reversal takes back; `subject_key` finds what waits
    for a link.
    """

    __tablename__ = "partner_events"

    event_key: Mapped[bytes] = mapped_column(primary_key=True)
    partner_id: Mapped[str]
    source: Mapped[str]
    event_id: Mapped[str]
    fingerprint: Mapped[bytes]
    participant_id: Mapped[UUID | None]
    action_id: Mapped[UUID | None]
    state: Mapped[str]
    reason: Mapped[str | None]
    body: Mapped[dict[str, Any] | None]
    subject_key: Mapped[bytes | None]
    target_key: Mapped[bytes | None]
    received_at: Mapped[datetime]

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
