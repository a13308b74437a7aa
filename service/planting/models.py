"""Tables of planting: projects and their stock, plots, pledges, trees and each step of a tree."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.platform.database import Base
from service.platform.persons import of_persons

STATUSES = "('pledged', 'allocated', 'planted', 'verified', 'lost', 'replaced', 'cancelled')"


class Project(Base):
    """A planting project as people see it; rarely written (a reference table on Citus).

    Without `funded` all of its capacity is paid for; the day `season_until` is past it.
    """

    __tablename__ = "projects"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    species: Mapped[str]
    place: Mapped[str]
    country: Mapped[str]
    partner: Mapped[str]
    image_url: Mapped[str | None]
    price_g: Mapped[int] = mapped_column(BigInteger)
    capacity: Mapped[int]
    funded: Mapped[int | None]
    season_from: Mapped[date | None]
    season_until: Mapped[date | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("price_g > 0", name="price_is_positive"),
        CheckConstraint("capacity > 0", name="capacity_is_positive"),
        CheckConstraint("funded BETWEEN 0 AND capacity", name="funded_within_capacity"),
        CheckConstraint("season_until > season_from", name="season_ends_after_it_began"),
        CheckConstraint(
            "(season_from IS NULL) = (season_until IS NULL)", name="season_has_both_ends"
        ),
    )


class Stock(Base):
    """How many trees of a project are promised and how far they are; the last row a pledge locks.

    `pledged` counts every tree that is not cancelled, `planted` those of them that stand,
    `verified` those that somebody looked at.
    """

    __tablename__ = "stock"

    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    for_sale: Mapped[int]
    pledged: Mapped[int] = mapped_column(server_default="0")
    planted: Mapped[int] = mapped_column(server_default="0")
    verified: Mapped[int] = mapped_column(server_default="0")

    __table_args__ = (
        CheckConstraint("pledged BETWEEN 0 AND for_sale", name="never_oversold"),
        CheckConstraint("planted BETWEEN 0 AND pledged", name="planted_within_pledged"),
        CheckConstraint("verified BETWEEN 0 AND planted", name="verified_within_planted"),
    )


class Plot(Base):
    """A piece of land of a project, with its position as GeoJSON.

    `to_allocate` is what an allocation over many people still has to do: more than 0 between its
    chunks, and after a crash, until the next call ends it.
    """

    __tablename__ = "plots"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    position: Mapped[dict[str, Any]]
    area_m2: Mapped[float]
    to_allocate: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("area_m2 > 0", name="area_is_positive"),
        CheckConstraint("to_allocate >= 0", name="to_allocate_not_negative"),
        Index(None, "project_id"),
    )


class Pledge(Base):
    """Energy a person promised to a project, for one or more trees.

    `region` is the person's at that time: there the trees count, and a cancellation takes them
    back there.
    """

    __tablename__ = "pledges"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID]
    trees: Mapped[int]
    amount_g: Mapped[int] = mapped_column(BigInteger)
    dedication: Mapped[str | None]
    region: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("trees BETWEEN 1 AND 1000", name="trees_within_bounds"),
        CheckConstraint("amount_g > 0", name="amount_is_positive"),
        of_persons(
            "UPDATE pledges SET dedication = NULL WHERE participant_id = $1"
            " AND dedication IS NOT NULL"
        ),
    )


class Tree(Base):
    """One promised tree and where it stands; its number is public proof.

    `pledged_seq` and `planted_seq` name the transfers of its owner's book that reserved and spent
    its grams: they are spent once, also when the tree was lost and planted again.
    """

    __tablename__ = "trees"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(primary_key=True)
    pledge_id: Mapped[UUID]
    project_id: Mapped[UUID]
    plot_id: Mapped[UUID | None]
    status: Mapped[str]
    price_g: Mapped[int] = mapped_column(BigInteger)
    pledged_at: Mapped[datetime]
    step: Mapped[int] = mapped_column(server_default="1")
    pledged_seq: Mapped[int] = mapped_column(BigInteger)
    planted_seq: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint(f"status IN {STATUSES}", name="status_is_known"),
        CheckConstraint("price_g > 0", name="price_is_positive"),
        CheckConstraint(
            "planted_seq IS NOT NULL OR status NOT IN ('planted', 'verified')",
            name="planted_is_paid",
        ),
        CheckConstraint(
            "plot_id IS NOT NULL OR status IN ('pledged', 'cancelled')", name="allocated_has_plot"
        ),
        Index(None, "participant_id", "pledge_id"),
        Index(None, "project_id", "status", "pledged_at"),
        Index(None, "plot_id", "status"),
        of_persons(kept="a tree stands, whoever it was of"),
    )


class TreeNumber(Base):
    """Whose tree a public number names, keyed by its own lookup."""

    __tablename__ = "tree_numbers"

    number: Mapped[str] = mapped_column(primary_key=True)
    participant_id: Mapped[UUID]

    __table_args__ = (
        of_persons(kept="a tree's public proof", not_exported="only leads to the trees"),
    )


class TreeStep(Base):
    """One change of a tree, append-only: a trigger refuses UPDATE, DELETE, TRUNCATE."""

    __tablename__ = "tree_steps"

    participant_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[str]
    at: Mapped[datetime]
    plot_id: Mapped[UUID | None]
    evidence_id: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint(f"status IN {STATUSES}", name="status_is_known"),
        of_persons(kept="a tree's life"),
    )


class PlotEvidence(Base):
    """What an operator showed for one step of a plot's trees; stored once for all of them."""

    __tablename__ = "plot_evidence"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plot_id: Mapped[UUID] = mapped_column(ForeignKey("plots.id"))
    at: Mapped[datetime]
    items: Mapped[list[dict[str, Any]]]

    __table_args__ = (Index(None, "plot_id"),)
