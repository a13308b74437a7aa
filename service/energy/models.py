"""Tables of energy on its way: bubbles, and who took from them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base
from service.platform.persons import of_persons


class Bubble(Base):
    """Earned energy until it is collected, taken, expired or reversed. Its owner's book covers it.

    The id of an action's bubble is the action's id.
    """

    __tablename__ = "bubbles"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    energy_g: Mapped[int] = mapped_column(BigInteger)
    remaining_g: Mapped[int] = mapped_column(BigInteger)
    collected_g: Mapped[int] = mapped_column(BigInteger, server_default="0")
    taken_g: Mapped[int] = mapped_column(BigInteger, server_default="0")
    expired_g: Mapped[int] = mapped_column(BigInteger, server_default="0")
    reversed_g: Mapped[int] = mapped_column(BigInteger, server_default="0")
    ripens_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    origin: Mapped[str]
    origin_id: Mapped[UUID]

    __table_args__ = (
        CheckConstraint("energy_g > 0", name="energy_is_positive"),
        CheckConstraint(
            "remaining_g + collected_g + taken_g + expired_g + reversed_g = energy_g",
            name="parts_sum_to_energy",
        ),
        CheckConstraint(
            "least(remaining_g, collected_g, taken_g, expired_g, reversed_g) >= 0",
            name="parts_not_negative",
        ),
        CheckConstraint("expires_at > ripens_at", name="expires_after_ripening"),
        CheckConstraint("origin IN ('action', 'gift')", name="origin_is_known"),
        Index(None, "expires_at"),
        {
            "postgresql_with": {"fillfactor": "80"},
            **of_persons(kept="its grams expire as everybody's"),
        },
    )


class Take(Base):
    """A friend took from a bubble; once a bubble and friend."""

    __tablename__ = "takes"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    bubble_id: Mapped[UUID] = mapped_column(primary_key=True)
    taker_id: Mapped[UUID] = mapped_column(primary_key=True)
    taken_g: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("taken_g > 0", name="taken_is_positive"),
        of_persons(
            kept="explains the grams of a bubble",
            not_exported="tells of friends; what was taken stands with the bubbles",
        ),
    )
