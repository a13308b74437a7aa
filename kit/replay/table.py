"""CSV as spreadsheets and data frames write it: marked, with empty rows and cells at the end."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

Cells = dict[str, str]


class FileFaultError(Exception):
    """The file as a whole is not what it should be; the message is one line."""


def read_table(
    path: Path,
    needed: Sequence[str],
    hint: str,
    *,
    renamed: Mapping[str, str] | None = None,
    errors: str = "strict",
) -> Iterator[tuple[int, Cells, list[str]]]:
    """The line, cells and what exceeds the columns, of each row; what is empty is left out.

    `needed` are columns, with others that will do as `one|other`, and `hint` is told when one is
    missing; `renamed` are the names that some have without regard to case and spaces. Raises
    FileFaultError.
    """
    try:
        # Some such files begin with a byte order mark.
        with path.open(encoding="utf-8-sig", errors=errors, newline="") as file:
            rows = csv.reader(file)
            spelt = [name.strip() for name in next(rows, [])]
            known = renamed or {}
            names = [known.get(_plain(name), name) for name in spelt]
            _refuse_twice(path, spelt, names)
            for column in needed:
                if not {*column.split("|")} & {*names}:
                    raise FileFaultError(f"{path} has no column {column.partition('|')[0]}: {hint}")
            for row in rows:
                cells = {name: cell for name, cell in zip(names, row, strict=False) if cell.strip()}
                more = [cell for cell in row[len(names) :] if cell.strip()]
                if cells or more:
                    yield rows.line_num, cells, more
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise FileFaultError(f"{path} cannot be read: {error}") from error


def _refuse_twice(path: Path, spelt: Sequence[str], names: Sequence[str]) -> None:
    """A column stands once, under whichever of its names. Raises FileFaultError."""
    found = defaultdict(list)
    for way, name in zip(spelt, names, strict=True):
        found[_plain(name)].append(way)
    for name, ways in found.items():
        if name and ways[1:]:
            said = list(dict.fromkeys(ways))
            told = f"one column twice, as {' and '.join(said)}"
            told = told if said[1:] else f"the column {said[0]} twice"
            raise FileFaultError(f"{path} names {told}: which one counts?")


def _plain(name: str) -> str:
    return name.lower().replace(" ", "")
