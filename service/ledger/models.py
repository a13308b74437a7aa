"""Tables of the ledger: a book a person, and the transfers that it is the sum of."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from service.ledger.accounts import Account
from service.platform.database import Base
from service.platform.persons import of_persons


class Book(Base):
    """One participant's accounts in whole grams. The checks make an unbalanced book impossible."""

    __tablename__ = "books"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    issuance: Mapped[int] = mapped_column(BigInteger, server_default="0")
    ripening: Mapped[int] = mapped_column(BigInteger, server_default="0")
    available: Mapped[int] = mapped_column(BigInteger, server_default="0")
    pledged: Mapped[int] = mapped_column(BigInteger, server_default="0")
    planted: Mapped[int] = mapped_column(BigInteger, server_default="0")
    expired: Mapped[int] = mapped_column(BigInteger, server_default="0")
    gifts: Mapped[int] = mapped_column(BigInteger, server_default="0")
    arrears: Mapped[int] = mapped_column(BigInteger, server_default="0")
    saved_g: Mapped[int] = mapped_column(BigInteger, server_default="0")
    seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    action_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    audited_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    last_at: Mapped[datetime]
    active_days: Mapped[int] = mapped_column(BigInteger, server_default="0")
    active_anchor: Mapped[date | None]
    active_before: Mapped[int] = mapped_column(server_default="0")
    trees: Mapped[int] = mapped_column(server_default="0")
    closed: Mapped[bool] = mapped_column(server_default="false")
    suspended: Mapped[bool] = mapped_column(server_default="false")
    head: Mapped[bytes]
    salt: Mapped[bytes | None]

    __table_args__ = (
        CheckConstraint(
            " + ".join(account.column for account in Account) + " = 0", name="sums_to_zero"
        ),
        # Taken back by adjustment and reversed as well, more may go back than was ever issued: then
        # the difference stands in arrears, or came as a gift.
        CheckConstraint("issuance + arrears + least(gifts, 0) <= 0", name="issuance_is_covered"),
        *[
            CheckConstraint(f"{name} >= 0", name=f"{name}_not_negative")
            for name in ("ripening", "available", "pledged", "planted", "expired", "trees")
        ],
        CheckConstraint("arrears <= 0", name="arrears_not_positive"),
        CheckConstraint("available = 0 OR arrears = 0", name="debt_is_repaid_first"),
        CheckConstraint("octet_length(head) = 32", name="head_is_sha256"),
        {
            "postgresql_with": {"fillfactor": "50"},
            **of_persons(kept="nameless: it is closed and loses what tells of a person"),
        },
    )


class Transfer(Base):
    """One move of grams inside a book. Append-only: a trigger refuses UPDATE, DELETE, TRUNCATE."""

    __tablename__ = "transfers"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    amount_g: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    cause_id: Mapped[UUID]
    counter_id: Mapped[UUID | None]
    debit: Mapped[int] = mapped_column(SmallInteger)
    credit: Mapped[int] = mapped_column(SmallInteger)
    cause: Mapped[str]
    hash: Mapped[bytes]

    __table_args__ = (
        CheckConstraint("amount_g > 0", name="amount_is_positive"),
        CheckConstraint("seq > 0", name="seq_is_positive"),
        CheckConstraint("debit BETWEEN 1 AND 8", name="debit_is_account"),
        CheckConstraint("credit BETWEEN 1 AND 8", name="credit_is_account"),
        CheckConstraint("debit <> credit", name="sides_differ"),
        CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),
        Index(None, "at", postgresql_using="brin"),
        # Adjustments are rare; what people earned is told without them.
        Index(None, "participant_id", postgresql_where=text("cause = 'adjust'")),
        of_persons(kept="the chain of a nameless book"),
    )
