"""Tables of the rules: published versions, which one decides, and what campaigns have left."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base


class RulebookVersion(Base):
    """A published set of rule files; never changed."""

    __tablename__ = "rulebooks"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[bytes]
    files: Mapped[dict[str, str]]
    author: Mapped[str]
    note: Mapped[str]
    based_on: Mapped[int | None]
    created_at: Mapped[datetime]

    __table_args__ = (CheckConstraint("version > 0", name="version_is_positive"),)


class RulebookActivation(Base):
    """When a version became the one that decides."""

    __tablename__ = "rulebook_activations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    activated_at: Mapped[datetime]
    activated_by: Mapped[str]


class ActiveRulebook(Base):
    """The version that decides now: one row. `folder_sha256` is what the folder last published."""

    __tablename__ = "active_rulebook"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    version: Mapped[int]
    folder_sha256: Mapped[bytes | None]

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)


class CampaignBudget(Base):
    """What is left of a campaign's budget; `seq` counts its draws, so that they can be replayed."""

    __tablename__ = "campaign_budgets"

    campaign: Mapped[str] = mapped_column(primary_key=True)
    budget_g: Mapped[int] = mapped_column(BigInteger)
    left_g: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger, server_default="0")

    __table_args__ = (CheckConstraint("left_g BETWEEN 0 AND budget_g", name="left_within_budget"),)
