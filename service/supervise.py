"""`saxaul run`: servers, migrations, API and worker as one thing that starts and stops whole."""

import asyncio
import errno
import multiprocessing
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import httpx
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels

from service.clock import Clock
from service.database import speak_json
from service.demo import seed_demo
from service.embedded import (
    Servers,
    has_server_ended,
    needs_embedded,
    servers,
    started_servers,
    take_home,
)
from service.embedded.children import start_child, stop_child
from service.migrate import migrate
from service.rules.publish import RulebookInvalidError, publish_folder_if_changed
from service.settings import Settings, shared_metrics

_READY_S = 60.0
# The worker comes back after 1 s, then 2, 4 ... 30; having lived a minute it begins again at 1.
_BACKOFF_MAX_S = 30.0
_BACKOFF_RESET_S = 60.0
# The sockets of a run that was killed close within moments.
_PORT_PATIENCE_S = 3.0


class RunError(Exception):
    """The program cannot start or go on; the message is one line for a person."""


async def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Run everything until SIGINT, SIGTERM or SIGHUP. Raises RunError, EmbeddedError."""
    running = asyncio.ensure_future(_run(settings, say))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _cancel_once(running))
    try:
        await running
    except asyncio.CancelledError:
        say("stopped")


async def prepare(settings: Settings, found: Servers, say: Callable[[str], None]) -> None:
    """Bring database and rules to what this program wants."""
    try:
        await migrate(found.database_url)
    except (OSError, asyncpg.PostgresError) as error:
        which = "at SAXAUL_DATABASE_URL" if settings.database_url else "embedded"
        raise RunError(f"the migrations failed on PostgreSQL {which}: {error}") from error
    connection = await asyncpg.connect(found.database_url)
    try:
        await speak_json(connection)
        await _publish_rules(settings, connection, say)
    finally:
        await connection.close()


async def _publish_rules(
    settings: Settings, connection: asyncpg.Connection, say: Callable[[str], None]
) -> None:
    """Publish the rules folder when it changed; a bad folder leaves the last good version."""
    clock = Clock()
    await clock.refresh(connection)
    try:
        async with connection.transaction():
            version = await publish_folder_if_changed(
                connection, settings.rules_dir, now=clock.now()
            )
    except RulebookInvalidError as error:
        say(error.detail)
        active = await connection.fetchval("SELECT version FROM active_rulebook")
        if active is None:
            raise RunError(f"the rules in {settings.rules_dir} have errors; see above.") from error
        say(f"rules: version {active} goes on deciding")
    else:
        if version is not None:
            say(f"rules: {settings.rules_dir} is published as version {version}")


def serve_api(settings: Settings) -> None:
    """Serve the API in this process and its children until it is told to stop."""
    if settings.workers > 1:
        # A forked process would have chosen before the fork where its figures are kept.
        multiprocessing.set_start_method("spawn")
    with shared_metrics(settings):
        Granian(
            "service.serve:app",
            factory=True,
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGI,
            workers=settings.workers,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            websockets=False,
            log_level=LogLevels.warning,
            log_access=settings.access_log,
            respawn_failed_workers=True,
            respawn_interval=0.5,
            workers_kill_timeout=settings.drain_s + 2,
        ).serve()


async def _run(settings: Settings, say: Callable[[str], None]) -> None:
    async with _servers(settings) as found:
        await _find_port_free(settings)
        await prepare(settings, found, say)
        if settings.embedded_database and settings.env == "development":
            await seed_demo(settings, found.database_url)
        api = _start("api")
        worker = _Worker()
        try:
            await _until_ready(settings, api)
            async for line in _where_to_look(settings):
                say(line)
            while True:
                await asyncio.sleep(0.2)
                if api.poll() is not None:
                    raise RunError(f"the API ended by itself with code {api.returncode}.")
                if needs_embedded(settings) and has_server_ended(settings):
                    raise RunError(
                        "PostgreSQL or Redis ended by itself; what was answered is stored."
                        " Start again."
                    )
                worker.keep(say)
        finally:
            await stop_child(api, signal.SIGTERM, patience_s=settings.drain_s + 3)
            await stop_child(worker.process, signal.SIGTERM, patience_s=settings.drain_s + 3)


@asynccontextmanager
async def _servers(settings: Settings) -> AsyncIterator[Servers]:
    """The servers for a run: started by us, or the ones whose addresses are set."""
    if not needs_embedded(settings):
        async with servers(settings) as found:
            yield found
        return
    home = take_home(settings)
    try:
        async with started_servers(
            settings, home, what="saxaul run", url=url_of(settings)
        ) as found:
            yield found
    finally:
        home.free_lock()


class _Worker:
    """The worker's process, started again when it ends by itself."""

    def __init__(self) -> None:
        self.process = _start("worker")
        self._started_at = time.monotonic()
        self._start_at: float | None = None
        self._backoff_s = 1.0

    def keep(self, say: Callable[[str], None]) -> None:
        now = time.monotonic()
        if self.process.poll() is None:
            if now - self._started_at > _BACKOFF_RESET_S:
                self._backoff_s = 1.0
        elif self._start_at is None:
            say(
                f"the worker ended by itself with code {self.process.returncode};"
                f" it starts again in {self._backoff_s:.0f} s"
            )
            self._start_at = now + self._backoff_s
            self._backoff_s = min(2 * self._backoff_s, _BACKOFF_MAX_S)
        elif now >= self._start_at:
            self.process, self._started_at, self._start_at = _start("worker"), now, None


def _start(command: str) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "service", command]
    return start_child(program, at_parents_death=signal.SIGKILL)


def _cancel_once(task: asyncio.Task[None]) -> Callable[[], None]:
    """A handler for signals: a second Ctrl-C must not break off the orderly stop."""
    asked = False

    def cancel() -> None:
        nonlocal asked
        if not asked:
            asked = True
            task.cancel()

    return cancel


async def _find_port_free(settings: Settings) -> None:
    deadline = time.monotonic() + _PORT_PATIENCE_S
    while not _is_port_free(settings):
        if time.monotonic() > deadline:
            raise RunError(
                f"{settings.host}:{settings.port} is in use by another program:"
                " set SAXAUL_PORT to a free port."
            )
        await asyncio.sleep(0.1)


def _is_port_free(settings: Settings) -> bool:
    try:
        with socket.create_connection((_reachable_host(settings), settings.port), timeout=1):
            return False
    except OSError:
        pass  # nobody accepts there
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        with socket.socket(found[0][0], socket.SOCK_STREAM) as probe:
            # As granian binds: connections of a run before, still in TIME_WAIT, do not matter.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(found[0][4])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise RunError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}."
        ) from error
    return True


async def _until_ready(settings: Settings, api: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    async with _own_client(settings) as client:
        while not await _is_ready(client):
            if api.poll() is not None:
                raise RunError(f"the API did not start; it ended with code {api.returncode}.")
            if time.monotonic() > deadline:
                raise RunError(f"the API did not get ready within {_READY_S:.0f} s.")
            await asyncio.sleep(0.05)


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health/ready")).is_success
    except httpx.TransportError:
        return False


def _own_client(settings: Settings) -> httpx.AsyncClient:
    """A client for our own API, which no proxy of the environment stands before."""
    return httpx.AsyncClient(base_url=url_of(settings), timeout=10, trust_env=False)


def url_of(settings: Settings) -> str:
    """The address under which this machine reaches the API."""
    host = _reachable_host(settings)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _reachable_host(settings: Settings) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104


async def _where_to_look(settings: Settings) -> AsyncIterator[str]:
    url = url_of(settings)
    yield f"Saxaul runs at {url}"
    yield f"  API page      {url}/schema"
    if settings.development_mode:
        order = {"subject": "demo-alice", "role": "participant"}
        async with _own_client(settings) as client:
            token = (await client.post("/v1/dev/token", json=order)).json()["access_token"]
        yield f'  try           curl -H "Authorization: Bearer {token}" {url}/v1/me'
    elif settings.env == "development":
        yield "  no development tokens and clock: SAXAUL_HOST is not a loopback address"
    yield f"  rules folder  {settings.rules_dir.absolute()}"
    yield "  stop          Ctrl-C"
