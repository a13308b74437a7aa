"""What people are told to type works where they are."""

import sys

import pytest

from service.platform.terminal import typed


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A clone with the program in its folder .venv, which is on nobody's PATH."""
    programs = tmp_path / "clone" / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "saxaul").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(tmp_path / "clone")
    return programs


def test_in_the_clone_it_is_short(installed):
    assert typed("run") == ".venv/bin/saxaul run"


def test_elsewhere_it_is_whole(installed, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert typed("run") == f"{installed}/saxaul run"


def test_on_the_path_it_is_its_name(installed, monkeypatch):
    monkeypatch.setenv("PATH", f"/usr/bin:{installed}")
    assert typed("rules list") == "saxaul rules list"


def test_another_one_on_the_path_is_not_this_one(installed, tmp_path, monkeypatch):
    (tmp_path / "saxaul").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typed("run") == ".venv/bin/saxaul run"


def test_without_its_script_it_is_a_module(installed):
    (installed / "saxaul").unlink()
    assert typed("run") == ".venv/bin/python -m service run"
