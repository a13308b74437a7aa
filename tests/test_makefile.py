"""The Makefile, where it decides by itself: whether .venv is still that of this folder."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.instance import ROOT


@pytest.fixture
def clone(tmp_path):
    """A folder with the Makefile and an environment that was made there."""
    folder = tmp_path / "a clone"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements-dev.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / ".installed").write_text(str(folder))
    return folder


def remakes(folder):
    """Whether `make setup` would make the environment anew; nothing is done."""
    planned = subprocess.run(
        ["make", "-n", "setup"], cwd=folder, capture_output=True, text=True, check=True
    )
    return "-m venv .venv" in planned.stdout


def test_an_environment_serves_where_it_was_made(clone):
    assert not remakes(clone)


def test_a_moved_clone_makes_its_own(clone):
    assert remakes(clone.rename(clone.with_name("moved")))


def test_a_copied_clone_makes_its_own(clone):
    assert remakes(shutil.copytree(clone, clone.with_name("copy"), symlinks=True))


def test_an_environment_whose_python_is_gone_is_made_anew(clone):
    (clone / ".venv" / "bin" / "python").unlink()
    (clone / ".venv" / "bin" / "python").symlink_to("/nonexistent/python")
    assert remakes(clone)


def test_newer_requirements_are_installed(clone):
    later = (clone / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(clone / "requirements-dev.txt", (later, later))
    assert remakes(clone)
