"""The program as a user starts it: `saxaul run` with all its processes, in a group of its own."""

import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from click.testing import CliRunner

from kit.ports import free_port
from service.__main__ import main
from tests.logs import logging_kept

ROOT = Path(__file__).parent.parent
PATIENCE_S = 60
"""How long a test waits for what happens in moments, on a machine that does much else."""


class Instance:
    """One state folder and port; it can be started, stopped and killed any number of times."""

    def __init__(self, home, *, project=ROOT, **settings):
        """Take more settings by their names: `workers=2`. `project` is the folder it starts in."""
        self.home = home
        self.project = project
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = home.with_name(f"{home.name}-output")
        self.settings = {"home": home, "port": self.port, **settings}
        self.process = None
        self.variables = {}

    def start(self):
        """Start, and wait until it is ready and has said where to look."""
        before = len(self.said())
        self.process = self.command("run", wait=False)
        wait_for(lambda: self.is_ready() and "Ctrl-C" in self.said()[before:], self)

    def command(self, *words, wait=True):
        """A `saxaul` command with the same settings: its result, or its process unless waited."""
        environment = self._environment()
        command = [sys.executable, "-m", "service", *words]
        if wait:
            return subprocess.run(
                command,
                env=environment,
                cwd=self.project,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE_S,
                check=False,
            )
        with self.output.open("ab") as output:
            return subprocess.Popen(
                command,
                env=environment,
                cwd=self.project,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def type(self, *words):
        """A `saxaul` command with the same settings, in this process: that spares its loading."""
        with logging_kept():
            told = CliRunner().invoke(main, words, env=self._environment())
        assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
        return subprocess.CompletedProcess(words, told.exit_code, told.stdout, told.stderr)

    def _environment(self):
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home.parent),
            **self.variables,
            **{f"SAXAUL_{name.upper()}": str(value) for name, value in self.settings.items()},
        }

    def stop(self, number=signal.SIGTERM):
        """Ask it to stop; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_S)

    def kill(self):
        """`kill -9` of the whole group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=PATIENCE_S)

    def end(self):
        """Leave nothing behind, whatever the test did."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def said(self):
        """All that it has printed and logged so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def is_ready(self):
        """Whether it answers; a process that ended never will."""
        assert self.process.poll() is None, self.said()
        # Asked twenty times a second: no client that loads all certificates first.
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            asking.request("GET", "/health/ready")
            return asking.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asking.close()

    def children(self, word):
        """Process ids of its group whose command line holds this word, the oldest first."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                # Ids are given anew from the first when the last was given.
                began = int((folder / "stat").read_text().rpartition(")")[2].split()[19])
                group = os.getpgid(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
            if group == self.process.pid and f"service {word}" in line:
                found.append((began, int(folder.name)))
        return [process_id for _, process_id in sorted(found)]


def wait_for(condition, instance=None):
    """Return as soon as the condition holds; fail with the instance's output after a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, instance.said() if instance else "it never happened"
        time.sleep(0.05)


def is_running(pid):
    """Whether a process lives; a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
