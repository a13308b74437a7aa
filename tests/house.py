"""The house as it stands, drawn from its own lines alone: ranks, folders, sizes, arrows, tables.

`make house` prints it; tests/test_house.py holds it against the rules below. The plan is in
docs/decisions/0031-the-house.md.
"""

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent

# A folder imports only folders of a lower rank. The files at the root stand above them all.
RANKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ground", ("platform", "rules")),
    ("wire", ("http", "instance")),
    ("heart", ("ledger", "rulebooks")),
    ("people and things", ("energy", "operations", "participants", "planting")),
    ("what people do", ("actions", "development", "leaderboards")),
    ("what looks at everybody", ("audit", "partners", "privacy", "simulate")),
    ("the program", ("run",)),
)
# The rules are a library of their own, with floors of their own.
FLOORS = ("cel", "language", "decide", "compile", "trial", "tell")
# What programs on the other side of the wire may know of the service, and why.
KIT_MAY_IMPORT = {
    "service.instance": "they look for a running instance, or start a fresh one",
    "service.partners.signature": "they sign as partners do",
    "service.platform.clock": "real time, from the one place that asks for it",
    "service.platform.settings": "where the instance is",
}
# Who writes tables of others, and why. Everybody else asks the owner's functions.
WRITES_ELSEWHERE = {
    ("actions", "campaign_budgets"): "the door draws from budgets in the award's own transaction",
    (
        "leaderboards",
        "relay_lanes",
    ): "relays take turns in it; what is applied is purged by its rows",
    ("privacy", "actions"): "erasure's one change of an append-only row",
}
# Who reads a table of a higher rank, and why.
READS_HIGHER = {
    ("energy", "actions"): "what is collected counts where its action was recorded",
}

# Nine in ten files of service/ have at most this many lines: a longer one holds two things.
USUAL_LINES_MAX = 300


def rank_of(folder: str) -> int:
    """The rank of a folder of service/; the root's files stand above all."""
    for rank, (_, folders) in enumerate(RANKS):
        if folder.partition("/")[0] in folders:
            return rank
    return len(RANKS)


def may_import(importer: str, imported: str) -> bool:
    """Whether a folder of service/ may know another one."""
    if importer in {imported, ""}:
        return True
    ours, theirs = importer.split("/"), imported.split("/")
    if ours[0] == theirs[0] == "rules":
        return len(ours) < 2 or len(theirs) < 2 or FLOORS.index(ours[1]) > FLOORS.index(theirs[1])
    return rank_of(importer) > rank_of(imported)


@dataclass(frozen=True)
class Module:
    """A file of ours."""

    path: Path
    name: str
    folder: str

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    def texts(self) -> Iterator[str]:
        """Every text in it but docstrings."""
        told = {
            id(node.body[0].value)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(self.tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in told:
                yield node.value


class House:
    """The modules of service/ and kit/ below a folder, with what they import and write."""

    def __init__(self, root: Path = ROOT) -> None:
        self.modules = [
            self._module(root, path)
            for part in ("service", "kit")
            for path in sorted((root / part).rglob("*.py"))
        ]
        self.by_name = {module.name: module for module in self.modules}
        self.owner = {
            table: module.folder
            for module in self.modules
            for table in re.findall(r'__tablename__ = "(\w+)"', module.text)
        }

    @staticmethod
    def _module(root: Path, path: Path) -> Module:
        place = path.relative_to(root)
        name = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
        folder = "/".join(
            place.parent.parts[1:] if place.parts[0] == "service" else place.parent.parts
        )
        return Module(path, name, folder)

    def imports_of(self, module: Module) -> Iterator[Module]:
        """The modules of ours that a module imports."""
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in self.by_name else node.module for name in inner]
            elif isinstance(node, ast.Attribute):
                names = [ast.unparse(node)]  # service.ledger.books, after `import service`
            elif isinstance(node, ast.Call) and re.search("import", ast.unparse(node.func)):
                names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            else:
                continue
            yield from (self.by_name[name] for name in dict.fromkeys(names) if name in self.by_name)

    def arrows(self) -> Counter[tuple[str, str]]:
        """From folder to folder, with how many imports stand for it."""
        found: Counter[tuple[str, str]] = Counter()
        for module in self.modules:
            for imported in self.imports_of(module):
                if imported.folder not in {module.folder, ""}:
                    found[module.folder, imported.folder] += 1
        return found

    def upward(self) -> list[str]:
        """Imports that do not run down."""
        return [
            f"{module.name} imports {imported.name}"
            for module in self.modules
            for imported in self.imports_of(module)
            if not self._runs_down(module, imported)
        ]

    @staticmethod
    def _runs_down(module: Module, imported: Module) -> bool:
        if module.folder.startswith("kit"):
            return imported.folder.startswith("kit") or any(
                f"{imported.name}.".startswith(f"{known}.") for known in KIT_MAY_IMPORT
            )
        if imported.folder.startswith("kit"):
            return False
        if imported.folder == "":
            # The version stands in `service`, all tables in a file beside it, which tell erasure
            # and export what is of a person; the program starts the app.
            is_told = imported.name == "service.tables" and module.folder == "privacy"
            return imported.name == "service" or is_told or module.folder in {"", "run"}
        return may_import(module.folder, imported.folder)

    def usual_lines(self) -> int:
        """What nine in ten files of service/ do not exceed."""
        sizes = sorted(each.lines for each in self.modules if not each.folder.startswith("kit"))
        return sizes[(len(sizes) * 9 - 1) // 10]

    def strangers_tables(self) -> list[str]:
        """SQL that writes a table of another folder, or reads one of a higher rank."""
        wrong = []
        for module in self.modules:
            mine = module.folder
            for text in module.texts():
                for table in re.findall(_WRITES, text):
                    owner = self.owner.get(table, mine)
                    if owner != mine and (mine, table) not in WRITES_ELSEWHERE:
                        wrong.append(f"{module.name} writes {table} of {owner}/")
                if re.search(_UNNAMED, text):
                    wrong.append(f"{module.name} writes a table that its SQL does not name")
                for table in re.findall(_READS, text) if _SQL.search(text) else ():
                    owner = self.owner.get(table, mine)
                    if rank_of(owner) > rank_of(mine) and (mine, table) not in READS_HIGHER:
                        wrong.append(f"{module.name} reads {table} of {owner}/, which is higher")
        return list(dict.fromkeys(wrong))

    def drawn(self) -> Iterator[str]:
        """The house in lines, the highest rank first."""
        sizes: dict[str, list[int]] = defaultdict(list)
        for module in self.modules:
            sizes[module.folder].append(module.lines)
        ranks = [*((name, folders) for name, folders in RANKS), ("the root", ("",))]
        down = Counter(importer for importer, _ in self.arrows())
        yield f"{'':26}{'folder':20}{'files':>6}{'lines':>8}{'knows':>7}"
        for rank, (name, folders) in reversed([*enumerate(ranks)]):
            shown = [f for f in sorted(sizes) if f.partition("/")[0] in folders and f != "kit"]
            for index, folder in enumerate(shown):
                label = f"{rank} {name}" if not index else ""
                yield _row(label, folder or "service/", sizes[folder], down[folder])
        for folder in (f for f in sorted(sizes) if f.startswith("kit")):
            yield _row("beside", folder, sizes[folder], down[folder])
        every = [module for module in self.modules if not module.folder.startswith("kit")]
        yield (
            f"service/: {sum(module.lines for module in every):,} lines in {len(every)} files,"
            f" nine in ten of at most {self.usual_lines()}; {len(self.arrows())} arrows"
            f" between folders, {len(self.upward())} of them upwards"
        )


def _row(label: str, folder: str, lines: Iterable[int], down: int) -> str:
    lines = list(lines)
    return f"{label:26}{folder:20}{len(lines):6}{sum(lines):8,}{down:7}"


# A table as SQL may name it, in the places where it is written, and where it is read.
_TABLE = r'(?:ONLY\s+)?(?:"?public"?\.)?"?(\w+)"?'
_WRITES = re.compile(
    r"\b(?:INSERT\s+INTO|(?<!FOR )(?<!KEY )UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|MERGE\s+INTO"
    rf"|COPY(?=[^;]*\bFROM\b))\s+{_TABLE}",
    re.IGNORECASE,
)
_UNNAMED = re.compile(r"\b(?:INSERT INTO|UPDATE|DELETE FROM|MERGE INTO)\s+$")
_READS = re.compile(rf"(?:\b(?:FROM|JOIN|USING)\s*\(?|,)\s*{_TABLE}", re.IGNORECASE)
_SQL = re.compile(r"\b(?:SELECT|INSERT|UPDATE|DELETE|MERGE|COPY|FROM|JOIN)\b", re.IGNORECASE)

if __name__ == "__main__":
    house = House()
    sys.stdout.write("\n".join(house.drawn()) + "\n")
    faults = [*house.upward(), *house.strangers_tables()]
    sys.stdout.write("".join(f"{fault}\n" for fault in faults))
    sys.exit(bool(faults))
