"""`saxaul ... | head -1`: who reads no further ends a command, quietly."""

import os
import subprocess
import sys

import pytest

from tests.processes import PATIENCE_S, ROOT


@pytest.mark.real_processes
@pytest.mark.parametrize(
    "words",
    [
        ("config", "show"),
        ("--help",),
        ("partner", "test-vectors"),
        ("rules", "check", "rules"),
        ("rules", "schema"),
        ("demo",),
    ],
)
def test_a_command_whose_output_nobody_reads_ends_without_a_word(tmp_path, words):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "service", *words],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
