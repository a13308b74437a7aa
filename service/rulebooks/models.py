"""Tables of the rules: published versions, which one decides, and what campaigns have left."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base


class RulebookVersion(Base):
    """A published set of rule files; never changed."""

    __tablename__ = "rulebooks"

    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    files: Mapped[dict[str, str]] = mapped_column(JSONB)
    author: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)
    based_on: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (CheckConstraint("version > 0", name="version_is_positive"),)


class RulebookActivation(Base):
    """When a version became the one that decides."""

    __tablename__ = "rulebook_activations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    activated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    activated_by: Mapped[str] = mapped_column(Text)


class ActiveRulebook(Base):
    """The version that decides now: one row. `folder_sha256` is what the folder last published."""

    __tablename__ = "active_rulebook"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(Integer)
    folder_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)


class CampaignBudget(Base):
    """What is left of a campaign's budget; `seq` counts its draws, so that they can be replayed."""

    __tablename__ = "campaign_budgets"

    campaign: Mapped[str] = mapped_column(Text, primary_key=True)
    budget_g: Mapped[int] = mapped_column(BigInteger)
    left_g: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger, server_default="0")

    __table_args__ = (CheckConstraint("left_g BETWEEN 0 AND budget_g", name="left_within_budget"),)
