"""`saxaul run`: servers, migrations, API and worker as one thing that starts and stops whole."""

import asyncio
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

import asyncpg
import httpx

from service.actions.carry import WrongSecretError, steps_of
from service.instance.address import find_port_free, url_of
from service.instance.children import start_child, stop_child
from service.instance.home import Home, is_there
from service.instance.migrate import finish_migrations, migrate
from service.instance.servers import (
    Servers,
    has_server_ended,
    needs_embedded,
    servers,
    started_servers,
    take_home,
)
from service.platform.database import DRIVER_FAULTS
from service.platform.errors import PlainError
from service.platform.settings import Settings, with_secret_key, without_unknown
from service.platform.terminal import typed
from service.rulebooks.watch import FolderWatcher
from service.run.demo import DEMO_PARTNER, DEMO_SOURCE, demo_secret_path, seed_demo

_READY_S = 60.0
# The worker comes back after 1 s, then 2, 4 ... 30; having lived a minute it begins again at 1.
_BACKOFF_MAX_S = 30.0
_BACKOFF_RESET_S = 60.0
_SERVER_ENDED = "PostgreSQL or Redis ended by itself; what was answered is stored. Start again."


class RunError(PlainError):
    """The program cannot start or go on."""


async def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Run everything until SIGINT, SIGTERM or SIGHUP. Raises RunError, EmbeddedError."""
    running = asyncio.create_task(_run(settings, say))

    def stop() -> None:
        if not running.cancelling():  # a second Ctrl-C must not break off the orderly stop
            running.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        await running
    except asyncio.CancelledError:
        say("stopped")


async def prepare(settings: Settings, found: Servers, say: Callable[[str], None]) -> FolderWatcher:
    """Bring database and rules to what this program wants; who watches the rules' folder.

    A bad folder leaves the last good version. Raises RunError.
    """
    await bring_up_to_date(settings, found)
    watcher = FolderWatcher(settings.rules_dir, found.database_url, say)
    if not await watcher.publish():
        raise RunError(f"the rules in {settings.rules_dir} have errors; see above.")
    return watcher


async def bring_up_to_date(settings: Settings, found: Servers) -> None:
    """Migrate. Raises RunError."""
    try:
        await migrate(found.database_url)
        await finish_migrations(
            found.database_url, lambda: steps_of(with_secret_key(settings).secret_key)
        )
    except (*DRIVER_FAULTS, WrongSecretError) as error:
        which = "at SAXAUL_DATABASE_URL" if settings.database_url else "embedded"
        raise RunError(f"the migrations failed on PostgreSQL {which}: {error}") from error


async def has_rules(found: Servers) -> bool:
    """Whether any version of the rules decides."""
    connection = await asyncpg.connect(found.database_url)
    try:
        return bool(await connection.fetchval("SELECT count(*) FROM active_rulebook"))
    finally:
        await connection.close()


async def _run(settings: Settings, say: Callable[[str], None]) -> None:
    if not is_there(settings.home):
        # A start that cannot be leaves no folder behind.
        await find_port_free(settings)
        if settings.embedded_database and not settings.rules_dir.is_dir():
            raise RunError(
                f"there are no rules in {settings.rules_dir.absolute()}: start in the folder of the"
                " project, or let SAXAUL_RULES_DIR name theirs."
            )
    if needs_embedded(settings):
        say(f"starting PostgreSQL and Redis in {settings.home}")
    async with _servers(settings) as (home, found):
        settings = with_secret_key(settings)
        say("bringing the database and the rules up to date")
        # They load while the database is looked at, and wait for the note that it is ready.
        children = _Children() if home else None
        try:
            watcher = await prepare(settings, found, say)
            if settings.embedded_database and settings.env == "development":
                await seed_demo(settings, found.database_url)
            if home:
                home.note_ready()
            say("starting the API and the worker")
            children = children or _Children()
            await _until_ready(settings, children.api)
            for line in _where_to_look(settings):
                say(line)
            watching = watcher.run() if settings.env == "development" else asyncio.Event().wait()
            await _until_one_ends(asyncio.ensure_future(watching), children, home, say)
        except RunError as error:
            # Whatever was noticed first: without its servers nothing of it goes on.
            told = _SERVER_ENDED if home and has_server_ended(home) else str(error)
            raise RunError(told) from error
        finally:
            if children is not None:
                await children.stop(settings.drain_s + 3)


async def _until_one_ends(
    watching: asyncio.Future[object],
    children: "_Children",
    home: Home | None,
    say: Callable[[str], None],
) -> NoReturn:
    """Watch over all parts. Raises RunError when one ends that does not come back."""
    try:
        while True:
            await asyncio.sleep(0.2)
            if watching.done():
                watching.result()
            if children.api.poll() is not None:
                raise RunError(f"the API ended by itself with code {children.api.returncode}.")
            if home and has_server_ended(home):
                raise RunError(_SERVER_ENDED)
            children.keep_worker(say)
    finally:
        watching.cancel()


@asynccontextmanager
async def _servers(settings: Settings) -> AsyncIterator[tuple[Home | None, Servers]]:
    """The servers for a run: started by us in a state folder, or the ones whose addresses are set.

    Once they are there, nobody else has the port.
    """
    if not needs_embedded(settings):
        await find_port_free(settings)
        async with servers(settings) as found:
            yield None, found
        return
    home = take_home(settings)
    try:
        await find_port_free(settings)
        async with started_servers(
            settings, home, what="saxaul run", url=url_of(settings)
        ) as found:
            yield home, found
    finally:
        home.free_lock()


class _Children:
    """The API, and the worker, which is started again when it ends by itself."""

    def __init__(self) -> None:
        self.api = _start("api")
        self._worker = _start("worker")
        self._started_at = time.monotonic()
        self._start_at: float | None = None
        self._backoff_s = 1.0

    def keep_worker(self, say: Callable[[str], None]) -> None:
        """Start the worker again, a little later each time. Call it often."""
        now = time.monotonic()
        if self._worker.poll() is None:
            if now - self._started_at > _BACKOFF_RESET_S:
                self._backoff_s = 1.0
        elif self._start_at is None:
            say(
                f"the worker ended by itself with code {self._worker.returncode};"
                f" it starts again in {self._backoff_s:.0f} s"
            )
            self._start_at = now + self._backoff_s
            self._backoff_s = min(2 * self._backoff_s, _BACKOFF_MAX_S)
        elif now >= self._start_at:
            self._worker, self._started_at, self._start_at = _start("worker"), now, None

    async def stop(self, patience_s: float) -> None:
        """Let both finish what is under way."""
        await asyncio.gather(
            stop_child(self.api, signal.SIGTERM, patience_s=patience_s),
            stop_child(self._worker, signal.SIGTERM, patience_s=patience_s),
        )


def _start(command: str) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "service", command]
    return start_child(program, at_parents_death=signal.SIGKILL, environment=without_unknown())


async def _until_ready(settings: Settings, api: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    # No proxy of the environment stands before our own API.
    async with httpx.AsyncClient(base_url=url_of(settings), timeout=10, trust_env=False) as client:
        while True:
            with suppress(httpx.TransportError):
                if (await client.get("/health/ready")).is_success:
                    return
            if api.poll() is not None:
                raise RunError(f"the API did not start; it ended with code {api.returncode}.")
            if time.monotonic() > deadline:
                raise RunError(f"the API did not get ready within {_READY_S:.0f} s.")
            await asyncio.sleep(0.05)


def _where_to_look(settings: Settings) -> Iterator[str]:
    url = url_of(settings)
    yield f"Saxaul runs at {url}"
    yield f"  API page      {url}/schema"
    if settings.development_mode:
        yield f"  try           {_to_be_set(settings)}{typed('dev curl /v1/me')}"
        secret = demo_secret_path(settings)
        key = shlex.quote(f"@{secret}")
        who = f"--partner {DEMO_PARTNER} --source {DEMO_SOURCE} --key {key}"
        send = typed(f"partner send FILE {who}")
        yield f"  as a partner  {send}"
    elif settings.env == "development":
        yield "  no development tokens and clock: SAXAUL_HOST is not a loopback address"
    yield f"  rules folder  {settings.rules_dir.absolute()}"
    yield "  stop          Ctrl-C"


def _to_be_set(settings: Settings) -> str:
    """What another terminal must set to find this instance; the state folder tells its port."""
    usual, told = Settings(), ""
    if settings.home != usual.home.absolute():
        told += f"SAXAUL_HOME={shlex.quote(str(settings.home))} "
    if settings.port != usual.port and not needs_embedded(settings):
        told += f"SAXAUL_PORT={settings.port} "
    return told
