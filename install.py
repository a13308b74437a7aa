"""Makes .venv, or adds to it: `python install.py requirements-run.txt`, as the Makefile calls it.

Needs nothing but Python. In a terminal one line tells how far it is, elsewhere a line a stage.
"""

import ensurepip
import os
import re
import selectors
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
_VENV = _ROOT / ".venv"
_PYTHON = str(_VENV / "bin" / "python")
_SITE = _VENV / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
_PIP = [_PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-compile"]
# Byte code is made afterwards, on all cores, but for what is seldom or never run.
_SELDOM = (
    r"/(faker|mypy|mypyc|pip|psutil|setuptools)/|/pygments/lexers/"
    r"|/sqlalchemy/dialects/(mssql|mysql|oracle)/"
)
_COMPILE = [_PYTHON, "-W", "ignore", "-m", "compileall", "-qq", "-j", "0", "-x", _SELDOM]
# Wherever the clone lies: found by its own place, started without looking into the folder it is in.
_PROGRAM = '#!/bin/sh\nexec "$(dirname "$(readlink -f "$0")")/python" -P -m service "$@"\n'
_EVERY_S = 0.2


def make_environment() -> None:
    """An empty environment with pip, in which the program runs from this folder."""
    bundled = Path(ensurepip.__file__).with_name("_bundled")
    # Debian and others keep it in a folder that all Pythons share.
    shared = Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or bundled)
    wheels = [*shared.glob("pip-*.whl"), *bundled.glob("pip-*.whl")]
    venv.create(_VENV, symlinks=True, with_pip=not wheels)
    if wheels:
        # To unpack it takes half a second; to let it install itself, four.
        zipfile.ZipFile(wheels[0]).extractall(_SITE)
    (_SITE / "saxaul.pth").write_text("../../../..\n")
    program = _VENV / "bin" / "saxaul"
    program.write_text(_PROGRAM)
    program.chmod(0o755)


def install(requirements: Path) -> None:
    """Install what is locked there, two packages at a time."""
    text = requirements.read_text(encoding="utf-8")
    packages = re.findall(r"^[a-z].*?(?=^[a-z]|\Z)", text, re.MULTILINE | re.DOTALL)
    calls = []
    for number in (0, 1):
        half = _VENV / f"half-{number}.txt"
        half.write_text("".join(packages[number::2]), encoding="utf-8")
        calls.append([*_PIP, "--require-hashes", "--requirement", str(half)])
    _run(calls, f"installing {len(packages)} packages of {requirements.name}", len(packages))


def _run(calls: list[list[str]], what: str, total: int) -> None:
    """Run these at once, and tell how far they are. Exits with what they said when one fails."""
    began, said, seen = time.monotonic(), b"", 0
    watched = sys.stdout.isatty()
    _tell(f"{what}\n")
    reading, writing = os.pipe()
    started = [subprocess.Popen(call, stdout=writing, stderr=writing, cwd=_ROOT) for call in calls]
    os.close(writing)
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while True:
            if selector.select(_EVERY_S):
                chunk = os.read(reading, 65_536)
                if not chunk:
                    break
                said += chunk
                seen = len(re.findall(rb"(?m)^(?:Collecting|Requirement already) ", said))
            if watched:
                count = f"{seen} of {total}, " if total else ""
                _tell(f"\r\033[K  {count}{time.monotonic() - began:.0f} s")
    os.close(reading)
    if watched:
        _tell("\r\033[K")
    codes = [process.wait() for process in started]
    if any(codes):
        sys.exit(said.decode(errors="replace"))


def _tell(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    """Make what is missing."""
    if not Path(_PYTHON).exists():
        make_environment()
    install(_ROOT / sys.argv[1])
    _run([[*_COMPILE, str(_SITE), str(_ROOT / "service"), str(_ROOT / "kit")]], "compiling", 0)


if __name__ == "__main__":
    main()
