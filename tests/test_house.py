"""The house keeps its plan: arrows run down, tables have owners.

Each rule is also tried on a small house in which it is broken, so that it cannot pass by seeing
nothing.
"""

import pytest

from tests.house import (
    FLOORS,
    KIT_MAY_IMPORT,
    RANKS,
    READS_HIGHER,
    USUAL_LINES_MAX,
    WRITES_ELSEWHERE,
    House,
)


@pytest.fixture(scope="module")
def house():
    return House()


@pytest.fixture
def planted(tmp_path):
    """A house of these files."""

    def make(**files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return House(tmp_path)

    return make


def test_every_folder_has_a_rank(house):
    placed = {folder for _, folders in RANKS for folder in folders}
    found = {module.folder for module in house.modules if not module.folder.startswith("kit")}
    assert {folder.partition("/")[0] for folder in found} - {""} == placed
    assert {folder for folder in found if folder.startswith("rules/")} == {
        f"rules/{floor}" for floor in FLOORS
    }


def test_imports_run_down(house):
    assert house.upward() == []


def test_the_rules_import_nothing_of_ours(house):
    known = {
        imported.name
        for module in house.modules
        if module.folder.startswith("rules")
        for imported in house.imports_of(module)
    }
    assert {name for name in known if not name.startswith("service.rules")} == set()


def test_each_file_of_the_root_has_its_reason(house):
    root = {module.name for module in house.modules if module.folder == ""}
    assert root == {"service", "service.__main__", "service.app", "service.tables"}


def test_sql_names_no_table_of_a_higher_rank_and_writes_its_own_only(house):
    assert house.strangers_tables() == []


def test_files_are_usually_short(house):
    assert house.usual_lines() <= USUAL_LINES_MAX


def test_exceptions_are_needed(house):
    texts = {
        (module.folder, table)
        for module in house.modules
        for text in module.texts()
        for folder, table in {*WRITES_ELSEWHERE, *READS_HIGHER}
        if module.folder == folder and table in text
    }
    assert texts == {*WRITES_ELSEWHERE, *READS_HIGHER}
    known = {
        imported.name
        for module in house.modules
        if module.folder.startswith("kit")
        for imported in house.imports_of(module)
    }
    assert all(any(name.startswith(each) for name in known) for each in KIT_MAY_IMPORT)


def test_an_upward_arrow_is_seen(planted):
    low = "from service.partners.keys import PartnerKeys\n"
    upward = planted(service__ledger__books=low, service__partners__keys="").upward()
    assert upward == ["service.ledger.books imports service.partners.keys"]
    both = planted(
        service__ledger__books="",
        service__rulebooks__publish="from service.ledger import books\n",
        service__partners__keys="import service.ledger.books\n",
    )
    assert both.upward() == ["service.rulebooks.publish imports service.ledger.books"]


@pytest.mark.parametrize(
    "text",
    [
        "import service\nX = service.partners.keys.PartnerKeys\n",
        "from importlib import import_module\nX = import_module('service.partners.keys')\n",
    ],
)
def test_an_upward_arrow_that_is_hidden_is_seen(planted, text):
    house = planted(service____init__="", service__ledger__books=text, service__partners__keys="")
    assert house.upward() == ["service.ledger.books imports service.partners.keys"]


@pytest.mark.parametrize(
    "sql",
    [
        "update books set seq = 1",
        "TRUNCATE TABLE books",
        "DELETE FROM public.books",
        'UPDATE "books" SET seq = 1',
        "MERGE INTO books USING x ON true WHEN MATCHED THEN DELETE",
        "COPY books FROM STDIN",
        "WITH w AS (INSERT\n  INTO books VALUES (1)) SELECT 1",
    ],
)
def test_sql_that_writes_another_ones_table_is_seen_however_it_is_spelled(planted, sql):
    house = planted(
        service__ledger__models='class Book:\n    __tablename__ = "books"\n',
        service__planting__prune=f"X = {sql!r}\n",
    )
    assert house.strangers_tables() == ["service.planting.prune writes books of ledger/"]


def test_sql_that_does_not_name_what_it_writes_is_seen(planted):
    house = planted(service__planting__prune='T = "books"\nX = f"UPDATE {T} SET seq = 1"\n')
    assert house.strangers_tables() == [
        "service.planting.prune writes a table that its SQL does not name"
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM books b, trees t",
        "DELETE FROM books USING trees",
        "SELECT 1 FROM ONLY trees",
        "SELECT 1 FROM (trees JOIN books USING (id))",
    ],
)
def test_sql_that_reads_a_higher_ones_table_is_seen_however_it_is_spelled(planted, sql):
    house = planted(
        service__ledger__models='class Book:\n    __tablename__ = "books"\n',
        service__planting__models='class Tree:\n    __tablename__ = "trees"\n',
        service__ledger__count=f"X = {sql!r}\n",
    )
    found = ["service.ledger.count reads trees of planting/, which is higher"]
    assert house.strangers_tables() == found


def test_what_the_kit_may_not_know_is_seen(planted):
    inside = "from service.ledger.books import Book\n"
    house = planted(kit__replay__run=inside, service__ledger__books="", service__app="import kit.a")
    assert house.upward() == ["kit.replay.run imports service.ledger.books"]
    assert planted(service__energy__collect="import kit.a\n", kit__a="").upward() == [
        "service.app imports kit.a",
        "service.energy.collect imports kit.a",
        "kit.replay.run imports service.ledger.books",
    ]


def test_sql_on_another_ones_table_is_seen(planted):
    house = planted(
        service__ledger__models='class Book:\n    __tablename__ = "books"\n',
        service__planting__models='class Tree:\n    __tablename__ = "trees"\n',
        service__planting__prune='"""UPDATE books, it says."""\nX = "UPDATE books SET seq = 1"\n',
        service__ledger__count='X = f"""SELECT count(*) {1} FROM books JOIN trees USING (id)"""\n',
        service__planting__count='X = "SELECT 1 FROM trees JOIN books USING (id)"\n',
    )
    assert house.strangers_tables() == [
        "service.ledger.count reads trees of planting/, which is higher",
        "service.planting.prune writes books of ledger/",
    ]


def test_long_files_are_seen_when_they_are_usual(planted):
    short = {f"service__ledger__short_{n}": "A = 1\n" for n in range(9)}
    long = "A = 1\n" * (USUAL_LINES_MAX + 1)
    assert planted(**short, service__ledger__long=long).usual_lines() == 1
    assert planted(service__ledger__longer=long).usual_lines() == USUAL_LINES_MAX + 1
