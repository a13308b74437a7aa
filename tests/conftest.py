"""Real servers for all tests: one PostgreSQL and one Redis a run, a database of its own a module.

The process that pytest was called in starts them; the workers of pytest-xdist learn the addresses
from it. The first that needs a database lets the migrations make a template, from which every
other is cloned. A module that wants an empty database for each test says

    @pytest.fixture
    def database_url(fresh_database_url):
        return fresh_database_url
"""

import asyncio
import fcntl
import gc
import os
import shutil
import tempfile
import uuid
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import msgspec
import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from redis.asyncio import Redis

from service.instance.home import Home
from service.instance.migrate import migrate
from service.instance.servers import Servers, reset_home, started_servers
from service.platform.database import open_database
from service.platform.settings import Settings
from tests.databases import cloned, execute, lent, with_database
from tests.people import client_of, running_app
from tests.processes import Instance

# The same cases in each run, however busy the machine; new ones by --hypothesis-profile=search.
_STEADY = hypothesis_settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
hypothesis_settings.register_profile("steady", _STEADY)
hypothesis_settings.register_profile("search", _STEADY, derandomize=False)
hypothesis_settings.load_profile("steady")

_TEMPLATE = "saxaul_template"
_ROOT = Path(__file__).parent.parent
_ENOUGH_BYTES = 4 << 30
# Fixtures that are the program with all its processes, here and in folders below.
_INSTANCES = {"idle_server", "live_server", "instance", "running"}
_servers_key = pytest.StashKey[Servers]()
_home_key = pytest.StashKey[Path]()
_stack_key = pytest.StashKey[tuple[asyncio.Runner, AsyncExitStack]]()


def _new_folder():
    """A folder for servers' data: in memory where there is enough of it.

    Each database that is made and dropped is 300 files, and ext4 walks over all that were deleted
    in the last minute whenever it makes a new one: that took a quarter of all tests' time.
    """
    memory = "/dev/shm"
    enough = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ENOUGH_BYTES
    return Path(tempfile.mkdtemp(prefix="saxaul-test-", dir=memory if enough else None))


def pytest_configure(config):
    # What is loaded and collected stays: no looking through it for garbage, now or later.
    gc.disable()
    # With the values of all variables, which is the default, one traceback takes seconds.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.stdlib.add_log_level, console])
    for variable in [name for name in os.environ if name.startswith("SAXAUL_")]:
        del os.environ[variable]
    if handed := getattr(config, "workerinput", {}).get("saxaul_servers"):
        config.stash[_servers_key] = msgspec.convert(handed, Servers)
        config.stash[_home_key] = Path(config.workerinput["saxaul_home"])
        return
    path = _new_folder()
    home = Home(path)
    assert home.take_lock()
    runner, stack = asyncio.Runner(), AsyncExitStack()
    starting = started_servers(Settings(), home, what="tests", durable=False)
    config.stash[_servers_key] = runner.run(stack.enter_async_context(starting))
    config.stash[_home_key] = path
    config.stash[_stack_key] = (runner, stack)


def pytest_collection_modifyitems(items):
    """Whoever uses an instance that a fixture starts is marked: `make test-dates` leaves it out."""
    for item in items:
        if not _INSTANCES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("real_processes")


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["saxaul_servers"] = msgspec.to_builtins(node.config.stash[_servers_key])
    node.workerinput["saxaul_home"] = str(node.config.stash[_home_key])


def pytest_unconfigure(config):
    if started := config.stash.get(_stack_key, None):
        runner, stack = started
        runner.run(stack.aclose())
        runner.close()
        shutil.rmtree(config.stash[_home_key], ignore_errors=True)


@pytest.fixture(scope="session")
def servers(request):
    """The addresses of the run's PostgreSQL and Redis."""
    return request.config.stash[_servers_key]


@pytest.fixture(scope="session")
async def template_database(request, servers):
    """The name of a database as the migrations make it; nobody may stay connected to it."""
    with (request.config.stash[_home_key] / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(asyncpg.DuplicateDatabaseError):
            await execute(servers.database_url, f"CREATE DATABASE {_TEMPLATE}")
            await migrate(with_database(servers.database_url, _TEMPLATE))
    return _TEMPLATE


@pytest.fixture(scope="module")
async def database_url(servers, template_database):
    """A migrated database for the tests of one module."""
    async with lent(servers, template_database) as url:
        yield url


@pytest.fixture
async def fresh_database_url(servers, template_database):
    """A migrated database for one test."""
    async with lent(servers, template_database) as url:
        yield url


@pytest.fixture
async def empty_database_url(servers):
    """A database without a table, for the tests of the migrations."""
    async with cloned(servers, "template0") as url:
        yield url


@pytest.fixture
def settings(tmp_path, servers, database_url):
    """Settings of a development instance on the test's database, with its own Redis prefix."""
    return Settings(
        home=tmp_path / "home",
        database_url=database_url,
        redis_url=servers.redis_url,
        redis_prefix=f"t{uuid.uuid4().hex}:",
        rules_dir=_ROOT / "rules",
        secret_key="a key of the tests, 32 characters",
    )


@pytest.fixture
async def database(settings):
    """Both doors to the test's database."""
    opened = await open_database(settings, settings.database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def redis(settings):
    """The run's Redis; the test's keys begin with `settings.redis_prefix` and vanish with it."""
    async with Redis.from_url(settings.redis_url) as client:
        yield client
        async for key in client.scan_iter(match=f"{settings.redis_prefix}*", count=1000):
            await client.delete(key)


@pytest.fixture
async def app(settings):
    """The running application on the test's own database."""
    async with running_app(settings) as running:
        yield running


@pytest.fixture
async def client(app):
    """An HTTP client of `app`."""
    async with client_of(app) as made:
        yield made


@pytest.fixture
def idle_server(settings):
    """An instance on the test's own database that nobody started yet."""
    settings.home.mkdir()
    return Instance(
        settings.home,
        database_url=settings.database_url,
        redis_url=settings.redis_url,
        redis_prefix=settings.redis_prefix,
        secret_key=settings.secret_key,
    )


@pytest.fixture
def live_server(idle_server):
    """`saxaul run` with all its processes on the test's own database: to be killed, for example."""
    try:
        idle_server.start()
        yield idle_server
    finally:
        idle_server.end()


@pytest.fixture
async def embedded_home():
    """A state folder for embedded servers of the test's own, emptied also of what lies elsewhere.

    Every folder above it can be entered by anybody, as below a home folder of mode 755.
    """
    path = _new_folder()
    path.chmod(0o755)
    home = path / "home"
    yield home
    if home.is_dir():
        await reset_home(Settings(home=home))
    shutil.rmtree(path)
