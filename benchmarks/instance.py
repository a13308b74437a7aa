"""A real instance in a temporary folder, and servers beside it: ended in order, whatever happens.

Ctrl-C and SIGTERM end a benchmark alike, with all that it started; at its sudden death the kernel
tells its children to end.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx

from kit.ports import free_port
from service.development.issuer import DevelopmentIssuer
from service.instance.servers import servers
from service.platform.clock import Clock
from service.platform.settings import Settings, load_settings, with_secret_key

ROOT = Path(__file__).parent.parent
_LAUNCH = str(ROOT / "service" / "instance" / "launch.py")
_ENDS = (signal.SIGINT, signal.SIGTERM)


def start(arguments: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
    """A Python module in a process group of its own, quiet, from the project's root."""
    launcher = [sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), str(int(signal.SIGTERM))]
    return subprocess.Popen(
        [*launcher, "", sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the address answers at all. Raises SystemExit when its process ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        if _answers(url):
            return
        time.sleep(0.02)
    raise SystemExit(f"{url} did not answer")


def _answers(url: str) -> bool:
    """Whether it does. No client that loads all certificates first: that would cost a core."""
    parts = urlsplit(url)
    asking = http.client.HTTPConnection(parts.netloc, timeout=5)
    try:
        asking.request("GET", parts.path)
        return asking.getresponse().status != http.HTTPStatus.SERVICE_UNAVAILABLE
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asking.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process in order. A second Ctrl-C does not break that off; a minute does."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDS}
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Instance:
    """One embedded instance in a folder of its own, which may be killed and started again."""

    def __init__(self, home: Path) -> None:
        """`start` begins."""
        self.home, self.port = home, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to find it."""
        return {"SAXAUL_HOME": str(self.home), "SAXAUL_PORT": str(self.port)}

    @property
    def settings(self) -> Settings:
        """Its settings, with the keys that it made."""
        return with_secret_key(load_settings(self.environment))

    def start(self) -> None:
        """Start and wait until it serves."""
        self.process = start(["service", "run"], **self.environment)
        wait_for(f"{self.url}/health/ready", self.process)

    def kill(self) -> None:
        """SIGKILL to everything of it."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            end(self.process)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `saxaul` command against it."""
        return subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def require(self, *arguments: str) -> str:
        """The last line of a `saxaul` command. Raises SystemExit with all it said if it fails."""
        done = self.command(*arguments)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout.splitlines()[-1]

    def audit(self) -> None:
        """Recompute the ledger; of a very large one what moved. Raises SystemExit unless clean."""
        self.require("ledger", "audit")

    def client(self) -> httpx.AsyncClient:
        """Whoever speaks with it at leisure."""
        return httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False)

    def tokens(self, subjects: Sequence[str], role: Any = "participant") -> list[str]:
        """Tokens of these people, or of an operator who may do everything."""
        issuer, now = DevelopmentIssuer(self.settings), Clock().real_now()
        scopes = ("planting:write",) if role == "operator" else ()
        return [issuer.sign(role, subject, scopes, now) for subject in subjects]

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection to its database."""
        async with servers(self.settings, "benchmark") as found:
            connection = await asyncpg.connect(found.database_url)
            try:
                yield connection
            finally:
                await connection.close()


async def clock_of(client: httpx.AsyncClient) -> datetime:
    """The programme's time."""
    return datetime.fromisoformat((await client.get("/v1/dev/clock")).json()["now"])


@contextlib.contextmanager
def running() -> Iterator[Instance]:
    """A fresh instance, with PostgreSQL that waits for the disk; nothing of it stays."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="saxaul-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's own user must reach its data
        instance = Instance(Path(folder) / "state")
        try:
            instance.start()
            yield instance
        finally:
            instance.stop()


@contextlib.contextmanager
def served(app: str, **environment: str) -> Iterator[int]:
    """The port of an ASGI application on the same kind of server as the API's."""
    port = free_port()
    options = ["--interface", "asgi", "--http", "1", "--no-ws", "--loop", "uvloop"]
    options += ["--workers", "1", "--log-level", "warning", "--host", "127.0.0.1"]
    process = start(["granian", *options, "--port", str(port), app], **environment)
    try:
        wait_for(f"http://127.0.0.1:{port}/bare", process)
        yield port
    finally:
        end(process)
