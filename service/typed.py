"""How a person types this program where they are: it need not be on their PATH."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def typed(words: str) -> str:
    """The command of these words: `saxaul run`, or `.venv/bin/saxaul run` after `make run`."""
    ours = Path(sys.executable).with_name("saxaul")
    on_path = shutil.which("saxaul")
    if on_path is not None and Path(on_path).absolute() == ours:
        return f"saxaul {words}"
    program = [str(ours)] if ours.exists() else [sys.executable, "-m", "service"]
    if Path(program[0]).is_relative_to(folder := Path.cwd()):
        program[0] = os.path.relpath(program[0], folder)
    return f"{shlex.join(program)} {words}"
