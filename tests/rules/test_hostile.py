"""Hostile rule sets are refused or harmless, and never pay.

`python -m benchmarks.hostile` tells how long each takes.
"""

import os
import socket

import pytest

from service.rules.compile.draft import compile_rulebook
from service.rules.decide.judge import Judged, judge
from service.rules.trial.check import check_folder, failed_examples, problems_json
from tests.rules.hostile import SETS
from tests.rules.sets import NOW, PROGRAM, candidate, decide, walk_rules


def judged_anyhow(rulebook):
    """Judge a long and a short text, where the set has any; answer what it pays."""
    kind = rulebook.action_types.get("mobility.walk")
    for text in ("a" * 99 + "!", "a"):
        given = {"steps": 3, "shoe": text}
        if kind is not None and "code" in kind.attributes:
            given["code"] = text
        outcome = judge(rulebook, candidate("mobility.walk", given), NOW)
        if isinstance(outcome, Judged):
            yield decide(rulebook, outcome).energy_g


@pytest.mark.parametrize("name", SETS)
def test_it_is_refused_or_harmless(name):
    make, told = SETS[name]
    files = make()
    draft = compile_rulebook(files)
    assert problems_json(draft.problems)
    assert not any("\n" in str(problem) for problem in draft.problems)
    if told is None:
        assert draft.errors == []
        assert all(paid in {0, 3, 5} for paid in judged_anyhow(draft.rulebook))
        assert failed_examples(draft) == []
    else:
        assert draft.rulebook is None
        lines = [str(problem) for problem in draft.problems]
        assert any(line.startswith(told) for line in lines), lines[:5]


@pytest.mark.parametrize(
    "earns",
    [
        "steps * 1e308 * 1e308",
        "steps * 1e308 * 1e308 * 0",
        "0 - steps * 1e308 * 1e308",
        "steps * 1e308 * 1e308 - steps * 1e308 * 1e308",
        "floor(steps * 1e308 * 1e308)",
        "min(0 - steps, 5)",
        "steps * 1000001",
        "1 / (steps / 1e15) / 1e-300",
    ],
)
def test_what_is_no_number_of_grams_pays_nothing(earns):
    rulebook = walk_rules(f"id: a, earns: '{earns}'")
    judged = judge(rulebook, candidate("mobility.walk", {"steps": 3}), NOW)
    (award,) = decide(rulebook, judged).awards
    assert (award.failed, award.saved_g, award.energy_g) == (True, 0, 0)


def told(folder):
    return [str(problem).removeprefix(f"{folder}/") for problem in check_folder(folder).problems]


NOT_A_FILE = "cannot be read: it is a pipe, socket or device, not a file"


def test_what_is_no_file_is_not_waited_for(tmp_path):
    (tmp_path / "good.yaml").write_text(PROGRAM)
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "nowhere.yaml").symlink_to(tmp_path / "nothing")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket.yaml")
        os.close(here)
        assert told(tmp_path) == [
            "folder.yaml:1:1: error: cannot be read: it is a folder, not a file",
            "loop.yaml:1:1: error: cannot be read: Too many levels of symbolic links",
            "nowhere.yaml:1:1: error: cannot be read: No such file or directory",
            f"pipe.yaml:1:1: error: {NOT_A_FILE}",
            f"socket.yaml:1:1: error: {NOT_A_FILE}",
            f"zero.yaml:1:1: error: {NOT_A_FILE}",
        ]


def test_a_link_to_a_file_is_that_file(tmp_path):
    # Clusters hand configuration to programs as links to files.
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text(PROGRAM)
    (tmp_path / "program.yaml").symlink_to(tmp_path / "data" / "x")
    (tmp_path / "users.yaml").symlink_to("/etc/passwd")
    assert {line.partition(":")[0] for line in told(tmp_path)} == {"users.yaml"}


def test_files_without_end_are_not_read_to_the_end(tmp_path):
    with (tmp_path / "sparse.yaml").open("wb") as stream:
        stream.truncate(1 << 40)
    assert told(tmp_path) == ["sparse.yaml:1:1: error: a file has at most 256 KiB"]


def test_names_that_are_no_text_are_told_on_one_line(tmp_path):
    for name in (b"\xff.yaml", b"a\nb.yaml", b"\x1b[31m.yaml", b"program.yaml"):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as stream:  # noqa: PTH123
            stream.write(PROGRAM.encode() if name == b"program.yaml" else b"badges: []")
    name = "1:1: error: a rule file is named like mobility.yaml: letters, digits, - _ and ."
    assert told(tmp_path) == [
        f"\\udcff.yaml:{name}",
        f"\\x1b[31m.yaml:{name}",
        f"a\\nb.yaml:{name}",
    ]
