"""The table of those who asked to be forgotten."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base
from service.platform.persons import of_persons


class Erasure(Base):
    """Who asked to be forgotten, so that a restored database can forget them again.

    `finished_at` is null while attributes of the person's actions are still to be erased.
    """

    __tablename__ = "erasures"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    erased_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "erased_at", postgresql_where="finished_at IS NULL"),
        of_persons(
            kept="a restored database must forget them again",
            not_exported="who stands there is nobody's participant any more",
        ),
    )
