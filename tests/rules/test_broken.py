"""Broken rule sets: each with the exact lines that an operator reads. None becomes a rulebook.

The expected lines stand at the end of a file, as comments; those of a folder in its expected.txt.
"""

from pathlib import Path

import pytest

from service.rules.compile.draft import compile_rulebook
from service.rules.trial.check import check_folder

BROKEN = Path(__file__).parent / "broken"
FILES = sorted(BROKEN.glob("*.yaml"))
FOLDERS = sorted(path.parent for path in BROKEN.glob("*/expected.txt"))


def judged(draft, expected):
    assert [str(problem) for problem in draft.problems] == expected
    if any(": error: " in line for line in expected):
        assert draft.rulebook is None
        assert draft.examples == ()
    else:
        assert draft.rulebook is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_fault_is_told_at_its_place(path):
    text = path.read_text()
    marker = "# expect "
    body, _, _ = text.partition("\n" + marker)
    expected = [
        f"{path.name}:{line.removeprefix(marker)}"
        for line in text.splitlines()
        if line.startswith(marker)
    ]
    assert expected
    judged(compile_rulebook({path.name: body + "\n"}), expected)


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_every_fault_of_all_files_is_told_in_one_go(path, monkeypatch):
    monkeypatch.chdir(BROKEN)
    expected = (path / "expected.txt").read_text().splitlines()
    assert expected
    judged(check_folder(Path(path.name)), expected)


@pytest.mark.parametrize("name", ["languages", "factor-units", "unseen"])
def test_what_was_let_pass_once_goes_on_deciding(name):
    text = (BROKEN / f"{name}.yaml").read_text()
    draft = compile_rulebook({"a.yaml": text}, version=7)
    assert {problem.severity for problem in draft.problems} == {"warning"}
    assert draft.rulebook is not None


def test_there_are_many():
    broken = [path for path in FILES if ": error: " in path.read_text()]
    broken += [path for path in FOLDERS if ": error: " in (path / "expected.txt").read_text()]
    assert len(broken) >= 60
    others = {path.name for path in BROKEN.iterdir()} - {path.name for path in (*FILES, *FOLDERS)}
    assert others == set()
