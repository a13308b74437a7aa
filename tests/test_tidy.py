"""The rules that a program can check in a file: sizes, places of calls, what must be said."""

import ast
import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path

import pytest

import service
from service.__main__ import ADDED, COMMANDS
from service.platform.errors import PROBLEMS, SaxaulError
from service.platform.settings import Settings, meanings
from service.platform.terminal import commands_of
from service.tables import metadata
from tests.house import House

ROOT = Path(__file__).parent.parent
HOUSE = House()
NAMES = {module.name: module.path for module in HOUSE.modules}
FILES = list(NAMES.values())
FUNCTION_LINES_MAX, FILE_LINES_MAX, POSITIONAL_MAX = 60, 500, 5


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(name):
    """The modules of ours that a module imports, by name."""
    yield from (module.name for module in HOUSE.imports_of(HOUSE.by_name[name]))


def functions_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def shown(path, node):
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def test_imports_have_no_cycle():
    done, path = set(), []

    def visit(name):
        if name in path:
            pytest.fail(" -> ".join([*path[path.index(name) :], name]))
        if name not in done:
            path.append(name)
            for imported in imports_of(name):
                if imported != name:
                    visit(imported)
            path.pop()
            done.add(name)

    for name in NAMES:
        visit(name)


def test_imports_stand_at_the_top():
    inside = [
        shown(path, node)
        for path in FILES
        for function in functions_of(tree_of(path))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


def test_imports_are_absolute():
    relative = [
        shown(path, node)
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_sizes():
    found = []
    for path in FILES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES_MAX:
            found.append(f"{path.relative_to(ROOT)} has {lines} lines")
        for node in functions_of(tree_of(path)):
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                found.append(f"{shown(path, node)} {node.name} has {length} lines")
            positional = [*node.args.posonlyargs, *node.args.args]
            owned = positional and positional[0].arg in {"self", "cls"}
            if len(positional) - bool(owned) > POSITIONAL_MAX:
                found.append(f"{shown(path, node)} {node.name} has many positional parameters")
    assert found == []


def dotted(node):
    """The dotted name of an expression such as `datetime.now`; "" for another one."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


ONLY_IN = {
    r"(datetime|dt|date)\.(now|utcnow|today)|time\.time(_ns)?": {"clock.py"},
    r"os\.(environ|getenv|putenv)": {"settings.py"},
    r".*\.(commit|rollback)": {"database.py"},
}


@pytest.mark.parametrize(("pattern", "places"), ONLY_IN.items())
def test_some_things_are_done_in_one_place_only(pattern, places):
    elsewhere = [
        f"{shown(path, node)} {dotted(node)}"
        for path in FILES
        if path.name not in places
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and re.fullmatch(pattern, dotted(node))
    ]
    assert elsewhere == []


def texts_of(tree):
    """Every text but docstrings."""
    told = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in told:
            yield node


def texts_with(pattern, files):
    return [
        shown(path, node)
        for path in files
        for node in texts_of(tree_of(path))
        if re.search(pattern, node.value, re.IGNORECASE | re.DOTALL)
    ]


def test_no_statement_asks_the_database_what_time_it_is():
    files = [*FILES, *(ROOT / "migrations").rglob("*.py")]
    asked = r"\b(now|clock_timestamp|statement_timestamp)\(\)|\bcurrent_(timestamp|date|time)\b"
    assert texts_with(asked, files) == []


def test_book_locks_are_taken_in_the_ledger_only():
    files = [path for path in FILES if path.parent.name != "ledger"]
    assert texts_with(r"\bbooks\b[^;]*\bFOR (NO KEY )?UPDATE", files) == []


def test_rows_are_locked_for_update_only_to_be_deleted():
    # A plain FOR UPDATE collides with every foreign-key check on the row.
    assert texts_with(r"^(?!.*\bDELETE\b).*\bFOR UPDATE\b", FILES) == []


def test_routes_and_models_keep_their_annotations():
    postponed = [
        shown(path, node)
        for path in FILES
        if path.name == "models.py" or path.name.startswith("routes")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    assert postponed == []


def test_modules_say_what_they_are_for():
    silent = [str(path.relative_to(ROOT)) for path in FILES if not ast.get_docstring(tree_of(path))]
    assert silent == []


def test_nothing_is_left_to_do():
    left = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)
    ]
    assert left == []


def test_every_table_is_known_to_the_migrations():
    listed = set(imports_of("service.tables"))
    tables = {
        name for name, path in NAMES.items() if "__tablename__" in path.read_text(encoding="utf-8")
    }
    assert tables - listed == set()
    assert len(metadata.tables) >= len(tables)


def test_every_error_has_a_code_with_status_and_title():
    for module in pkgutil.walk_packages(service.__path__, "service."):
        if module.name != "service.__main__":
            importlib.import_module(module.name)

    def below(kind):
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    assert {kind.code for kind in below(SaxaulError)} - set(PROBLEMS) == set()


def test_every_command_is_reached_by_its_name():
    for name, module in COMMANDS.items():
        assert name in {made.name for made in commands_of(importlib.import_module(module))}, name
    reached = {*COMMANDS.values(), *ADDED.values()}
    reached |= {name for module in reached for name in imports_of(module)}
    made = re.compile(r"^@click\.(command|group)\(", re.MULTILINE)
    offered = {name for name, path in NAMES.items() if made.search(path.read_text())}
    assert offered - reached == {"service.__main__"}


def test_every_setting_is_explained():
    told = meanings()
    assert [*told] == [*Settings.__struct_fields__]
    for name, meaning in told.items():
        assert meaning.endswith("."), name
