"""Broken rule sets: each with the exact lines that an operator reads. None becomes a rulebook.

The expected lines stand at the end of each file, as comments.
"""

from pathlib import Path

import pytest

from service.rules.compile import compile_rulebook

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.yaml"))


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_every_fault_is_told_at_its_place(path):
    text = path.read_text()
    marker = "# expect "
    body, _, _ = text.partition("\n" + marker)
    expected = [
        f"{path.name}:{line.removeprefix(marker)}"
        for line in text.splitlines()
        if line.startswith(marker)
    ]
    draft = compile_rulebook({path.name: body + "\n"})
    assert [str(problem) for problem in draft.problems] == expected
    if any(": error: " in line for line in expected):
        assert draft.rulebook is None
        assert draft.examples == ()
    else:
        assert draft.rulebook is not None


def test_there_are_many():
    assert len(BROKEN) >= 30
