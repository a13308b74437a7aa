"""The Makefile and install.py: whether .venv is still that of this folder, and what is in it."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.processes import ROOT

SETS = {name: f"requirements-{name}.txt" for name in ("run", "dev")}


@pytest.fixture(params=["a clone", '50% "of" it\'s $HOME `a \\ #a?b «小 明»'])
def clone(tmp_path, request):
    """A folder with the Makefile and an environment that was made there."""
    folder = tmp_path / request.param
    (folder / ".venv" / "bin").mkdir(parents=True)
    node = "tests/kit/partner/node/package-lock.json"
    (folder / node).parent.mkdir(parents=True)
    for name in ("Makefile", "install.py", node, *SETS.values()):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / ".installed").write_text(str(folder))
    (folder / ".venv" / ".installed-dev").touch()
    return folder


def planned(folder, target="setup"):
    """What a target would install, and whether into a new environment; nothing is done."""
    plan = subprocess.run(
        ["make", "-n", target], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    anew = "rm -rf .venv" in plan and 'test "yes" = yes' not in plan
    return anew, re.findall(r"install\.py requirements-(\w+)\.txt", plan)


def test_an_environment_serves_where_it_was_made(clone):
    assert planned(clone) == planned(clone, "run") == (False, [])


def test_a_moved_clone_makes_its_own(clone):
    assert planned(clone.rename(clone.with_name("moved"))) == (True, ["run", "dev"])


def test_a_copied_clone_makes_its_own(clone):
    copy = shutil.copytree(clone, clone.with_name("copy"), symlinks=True)
    assert planned(copy) == (True, ["run", "dev"])
    assert planned(copy, "run") == (True, ["run"])


def test_an_environment_whose_python_is_gone_is_made_anew(clone):
    (clone / ".venv" / "bin" / "python").unlink()
    (clone / ".venv" / "bin" / "python").symlink_to("/nonexistent/python")
    assert planned(clone) == (True, ["run", "dev"])


@pytest.mark.parametrize(("newer", "wanted"), [("run", ["run", "dev"]), ("dev", ["dev"])])
def test_newer_requirements_are_installed(clone, newer, wanted):
    later = (clone / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(clone / SETS[newer], (later, later))
    assert planned(clone) == (False, wanted)


def test_running_needs_no_more_than_it_runs_and_tests_add_the_rest(clone):
    shutil.rmtree(clone / ".venv")
    for target in ("run", "demo"):
        assert planned(clone, target) == (True, ["run"])
    for target in ("test", "check", "bench"):
        assert planned(clone, target) == (True, ["run", "dev"])


def test_after_a_run_the_tests_install_what_is_missing(clone):
    (clone / ".venv" / ".installed-dev").unlink()
    assert planned(clone, "run") == (False, [])
    assert planned(clone, "test") == (False, ["dev"])


def test_what_runs_is_the_same_in_all_sets():
    server, run, dev = (
        dict(re.findall(r"^([a-z][\w.-]*)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.txt", *SETS.values())
    )
    assert server.items() < run.items() < dev.items()
    assert not run.keys() & {"mypy", "pytest", "ruff", "hypothesis"}


def install(folder, requirements):
    """Call install.py where no registry is asked."""
    (folder / "requirements.txt").write_text(requirements)
    shutil.copy(ROOT / "install.py", folder)
    (folder / "service").mkdir()
    (folder / "service" / "__main__.py").write_text("import sys; print(sys.argv[1:], __file__)")
    return subprocess.run(
        [sys.executable, "install.py", "requirements.txt"],
        cwd=folder,
        env=os.environ | {"PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_program_runs_from_anywhere_in_a_folder_of_any_name(tmp_path):
    folder = tmp_path / 'it\'s "$HOME" 植树'
    folder.mkdir()
    done = install(folder, "")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["installing 0 packages of requirements.txt", "compiling"]
    typed = [folder / ".venv" / "bin" / "saxaul", "rules", "check"]
    told = subprocess.run(typed, cwd="/", capture_output=True, text=True, check=True).stdout
    assert told == f"['rules', 'check'] {folder / 'service' / '__main__.py'}\n"


def test_what_cannot_be_installed_is_said(tmp_path):
    done = install(tmp_path, f"saxaul-none==1 --hash=sha256:{'00' * 32}\n")
    assert done.returncode == 1
    assert "No matching distribution found for saxaul-none==1" in done.stderr
