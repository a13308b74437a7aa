"""Rule files from a folder, or by name and text, as trees of nodes.

With limits on each and on all, so that no set can cost more than its size.
"""

import codecs
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path, PurePath

from service.rules.language.nodes import Node, Reader
from service.rules.language.problems import LoadError, Problem, Problems, of_file, shown_name
from service.rules.language.weight import weight_of

_SUFFIXES = frozenset((".yaml", ".yml"))
FILE_BYTES_MAX = 256 * 1024
FILES_MAX = 64
FILES_BYTES_MAX = 2 * 1024 * 1024
# Values of all files, lists and mappings counted twice: 1,000 rules as full as those that are
# shipped, with a type and a factor for each, have as many.
WEIGHT_MAX = 125_000

_FILE_NAME = re.compile(r"[\w][\w .-]{0,95}\.ya?ml")


def rule_paths(folder: Path) -> list[Path]:
    """What of a folder is read, in order of names. Raises OSError."""
    return sorted(path for path in folder.iterdir() if is_read(path))


def is_read(path: Path) -> bool:
    """Whether this is named like rules. Locks and notes of editors have names with a dot first."""
    return path.suffix in _SUFFIXES and not path.name.startswith(".")


def read_folder(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """Read the rule files of a folder as text, by their path; name what cannot be read."""
    files: dict[str, str] = {}
    try:
        paths = rule_paths(folder)
    except OSError as error:
        return files, [of_file(folder, f"cannot be read: {error.strerror}")]
    problems = [] if paths else [of_file(folder, "this folder holds no .yaml file")]
    for path in paths[: FILES_MAX + 1]:
        name = str(path)
        try:
            data = _bytes_of(path)
        except OSError as error:
            problems.append(of_file(path, f"cannot be read: {error.strerror}"))
            continue
        try:
            files[name] = data.decode()
        except UnicodeDecodeError as error:
            if len(data) > FILE_BYTES_MAX:
                files[name] = data.decode("utf-8", "replace")
                continue
            line = data.count(b"\n", 0, error.start) + 1
            start = data.rfind(b"\n", 0, error.start) + 1
            column = len(data[start : error.start].decode()) + 1
            message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
            problems.append(Problem(shown_name(name), line, column, "", message))
    return files, problems


def _bytes_of(path: Path) -> bytes:
    """Read one file, but not more than is allowed. A pipe or device is not even waited for."""
    if not stat.S_ISREG(path.stat().st_mode):
        what = "a folder" if path.is_dir() else "a pipe, socket or device"
        raise OSError(None, f"it is {what}, not a file")
    # Whoever puts a pipe there in between is not waited for either.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
        return stream.read(FILE_BYTES_MAX + 1).removeprefix(codecs.BOM_UTF8)


def load(files: Mapping[str, str]) -> tuple[dict[str, Node], Problems]:
    """Parse every file; each that cannot be parsed is one problem. Raises EnoughError."""
    problems = Problems()
    nodes: dict[str, Node] = {}
    if len(files) > FILES_MAX:
        problems.append(of_file(min(files), f"a rule set has at most {FILES_MAX} files"))
        return {}, problems
    sizes = {name: len(text.encode("utf-8", "surrogatepass")) for name, text in files.items()}
    if sum(sizes.values()) > FILES_BYTES_MAX:
        message = f"all files together have at most {FILES_BYTES_MAX // 1024} KiB"
        problems.append(of_file(min(files), message))
        return {}, problems
    _check_names(files, problems)
    readers: dict[str, Reader] = {}
    weight = 0
    for name in sorted(files):
        if sizes[name] > FILE_BYTES_MAX:
            problems.append(of_file(name, f"a file has at most {FILE_BYTES_MAX // 1024} KiB"))
            continue
        try:
            readers[name] = Reader(shown_name(name), files[name], problems)
        except LoadError as error:
            problems.append(error.problem)
            continue
        weight += weight_of(readers[name].text)
        if weight > WEIGHT_MAX:
            # Nothing is made of such a set, and the other files are not even looked at.
            message = f"all files together have at most {WEIGHT_MAX:,} values, lists counted twice"
            problems.append(of_file(name, message))
            return {}, problems
    for name, reader in readers.items():
        try:
            nodes[name] = reader.document()
        except LoadError as error:
            problems.append(error.problem)
    return nodes, problems


def _check_names(files: Mapping[str, str], problems: Problems) -> None:
    """A version keeps its files by their bare names, so these must be good and different."""
    homes: dict[str, str] = {}
    for name in sorted(files):
        bare = PurePath(name).name
        if not _FILE_NAME.fullmatch(bare):
            message = "a rule file is named like mobility.yaml: letters, digits, - _ and ."
            problems.append(of_file(name, message))
        elif bare in homes:
            message = f"two files of a rule set are named {bare}; the other is {homes[bare]}"
            problems.append(of_file(name, message))
        homes.setdefault(bare, name)
