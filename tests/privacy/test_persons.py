"""Tables of persons say what erasure does to them; one that says nothing is found here."""

import subprocess
import sys
from uuid import UUID

import pytest
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.platform.persons import DELETE, of_persons
from service.privacy.erase import erasing_texts
from service.tables import metadata

# Ids of other things than persons; any other id may be somebody's.
# Tables that tell of nobody whom erasure would have to find.
_OF_THINGS = {
    "active_rulebook", "audit_head", "audit_log", "campaign_budgets", "development_clock",
    "partner_keys", "partners", "plot_evidence", "plots", "projects", "relay_lanes",
    "rulebook_activations", "rulebooks", "stock", "unfinished_migrations",
}  # fmt: skip
_IDS_OF_THINGS = {"id", "evidence_id", "owner", "plot_id", "project_id"}


def silent(of: MetaData) -> set[str]:
    """Tables that neither say what becomes of them with a person, nor are known to hold none."""
    return {
        name
        for name, table in of.tables.items()
        if name not in _OF_THINGS and not table.info.keys() & {"on_erasure", "kept"}
    }


@pytest.fixture
def base():
    class Base(DeclarativeBase):
        metadata = MetaData()

    return Base


def test_every_table_of_persons_says_what_erasure_does_to_it():
    assert silent(metadata) == set()


def test_tables_of_things_name_nobody():
    names = {"display_name", "subject_key", "participant_id"}
    for table in _OF_THINGS:
        for column in metadata.tables[table].c:
            is_id = column.type.python_type is UUID
            assert column.name not in names, column
            assert not is_id or column.name in _IDS_OF_THINGS, column


@pytest.mark.parametrize("column", ["participant_id", "taker_id", "owner", "friend"])
def test_a_table_that_says_nothing_is_found(base, column):
    class Friend(base):
        __tablename__ = "friends"

        id: Mapped[UUID] = mapped_column(primary_key=True)

    setattr(Friend, column, mapped_column(column, Friend.__table__.c.id.type.__class__()))
    assert silent(base.metadata) == {"friends"}


def test_what_a_new_table_tells_is_done_after_what_is_there(base):
    class Friend(base):
        __tablename__ = "friends"

        participant_id: Mapped[UUID] = mapped_column(primary_key=True)

        __table_args__ = (of_persons(DELETE, "UPDATE friends SET who = NULL"),)

    class Identity(base):
        __tablename__ = "identities"

        participant_id: Mapped[UUID] = mapped_column(primary_key=True)

        __table_args__ = (of_persons(DELETE),)

    assert silent(base.metadata) == set()
    assert erasing_texts(base.metadata) == [
        "DELETE FROM identities WHERE participant_id = $1",
        "DELETE FROM friends WHERE participant_id = $1",
        "UPDATE friends SET who = NULL",
    ]


@pytest.mark.parametrize("module", ["commands", "routes"])
def test_who_erases_or_exports_knows_all_tables_of_itself(module):
    """In a process in which nobody else has loaded them, as that of a command is."""
    asked = f"import service.privacy.{module}; from service.platform.database import Base as b"
    told = subprocess.check_output([sys.executable, "-c", f"{asked}; print(*b.metadata.tables)"])
    assert set(told.decode().split()) == set(metadata.tables)


def test_erasure_locks_rows_in_the_order_of_before():
    assert [text.split()[:3] for text in erasing_texts(metadata)] == [
        ["DELETE", "FROM", "identities"],
        ["DELETE", "FROM", "participants"],
        ["DELETE", "FROM", "idempotency_keys"],
        ["DELETE", "FROM", "counters"],
        ["UPDATE", "pledges", "SET"],
        ["DELETE", "FROM", "partner_events"],
        ["UPDATE", "partner_events", "SET"],
        ["UPDATE", "links", "SET"],
        ["DELETE", "FROM", "link_codes"],
    ]
