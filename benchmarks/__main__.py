"""All figures, one after the other, into docs/benchmarks.md: `make bench`.

    python -m benchmarks [--whole] [NAME ...]

Each benchmark is short here, so that all of them take about 20 minutes on two cores that do nothing
else. --whole: what grows is measured in the sizes of its targets, which takes about as long again
and 30 GB of disk. NAME ...: only these are measured again, the page keeps the others. What ends
with anything but a clean audit leaves the page as it was.
"""

import argparse
import importlib.util
import os
import platform
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.instance import ROOT, end
from benchmarks.turns import progress

PAGE = ROOT / "docs" / "benchmarks.md"
BENCHMARKS = {
    "record": "--seconds 2",
    "morning": "",
    "redeem": "--seconds 2",
    "reads": "--seconds 0.5",
    "ingest": "",
    "naive": "--seconds 2",
    "growth": "--people 100000 --actions 0,100000,1000000 --guests 200 --seconds 1",
    "tail": "--seconds 10",
    "start": "--actions 200000 --parts 5",
    "campaign": "",
    "simulate": "",
    "hostile": "",
}
WHOLE = {"growth": "", "start": ""}
_PAGE = """\
# Benchmarks

<!-- Written by `make bench`; whatever is changed here by hand is lost. -->

Each figure is measured beside what it is compared with: in turns, in the same run, on the same
machine, by a client that shares this machine. So ratios tell something, and figures a second only
of the machine. Its load is told as it was when a benchmark began and when it ended: with others'
work on the machine ratios spread, and say less. The runs are short: options of
`python -m benchmarks.NAME` make them longer. Where there is a target, a table tells it beside the
figure, whose median counts, and a line below it each that was not met.
"""
_PART = """
## {title}

`python -m benchmarks.{name}{options}` on {machine}; load {before:.1f} to {after:.1f}

{told}

```text
{output}
```
"""
_COMMAND = re.compile(r"^`python -m benchmarks\.(\w+)", re.MULTILINE)


def machine() -> str:
    """What this is, in a few words."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    words = [
        f"{os.cpu_count()} processors ({cpu[1] if cpu else platform.machine()})",
        f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        f"{datetime.now(UTC):%Y-%m-%d}",
    ]
    return ", ".join(word for word in words if word)


def run(name: str, options: str) -> str:
    """What a benchmark prints. Raises SystemExit when it fails."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *options.split()]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate()
    finally:
        end(process)
    if process.returncode:
        raise SystemExit(f"benchmarks.{name} failed with {process.returncode}:\n{output}")
    return "\n".join(line.rstrip() for line in output.strip().splitlines())


def part(name: str, options: str) -> str:
    """A benchmark's section of the page."""
    spec = importlib.util.find_spec(f"benchmarks.{name}")
    assert spec is not None
    assert spec.origin is not None
    docstring = Path(spec.origin).read_text(encoding="utf-8").split('"""')[1]
    title, *paragraphs = docstring.strip().split("\n\n")
    told = "\n\n".join(each for each in paragraphs if not each.startswith(("    ", "python -m")))
    options = f" {options}" if options else ""
    before, output = os.getloadavg()[0], run(name, options)
    section = _PART.format(
        title=title,
        name=name,
        options=options,
        machine=machine(),
        before=before,
        after=os.getloadavg()[0],
        told=told,
        output=output,
    )
    return re.sub(r"\n{3,}", "\n\n", section)


def kept_parts() -> dict[str, str]:
    """The sections that the page has, by the name of their benchmark."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    sections = [f"\n{section}" for section in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]]
    found = [(_COMMAND.search(section), section.rstrip("\n") + "\n") for section in sections]
    return {command[1]: section for command, section in found if command}


def main() -> None:
    """Run what was named, or all, then write the page."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--whole", action="store_true", help="growth in the sizes of its targets")
    parser.add_argument("names", nargs="*", metavar="NAME", help="measure these alone again")
    args = parser.parse_args()
    if unknown := {*args.names} - BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sizes = BENCHMARKS | (WHOLE if args.whole else {})
    parts = kept_parts() if args.names else {}
    for name in args.names or BENCHMARKS:
        progress.rule(f"{name} {sizes[name]}")
        began = time.monotonic()
        parts[name] = part(name, sizes[name])
        progress.log(f"{name}: {time.monotonic() - began:.0f} s")
    PAGE.write_text(_PAGE + "".join(parts[n] for n in BENCHMARKS if n in parts), encoding="utf-8")
    progress.log(f"{PAGE} is written")


if __name__ == "__main__":
    main()
