"""The embedded servers: private, durable, one holder, nothing left behind."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from service.instance.account import data_folder
from service.instance.children import EmbeddedError
from service.instance.home import Home, Running
from service.instance.servers import (
    needs_embedded,
    reset_home,
    servers,
    started_servers,
    take_home,
)
from service.platform.settings import Settings, with_secret_key
from service.run.demo import demo_secret
from tests.processes import ROOT, is_running

_HOLDER = """
import asyncio, sys
from pathlib import Path
from service.instance.servers import servers
from service.platform.settings import Settings

async def hold():
    async with servers(Settings(home=Path(sys.argv[1])), "a holder"):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(hold())
"""


@pytest.fixture
def holder(embedded_home):
    """Another process that holds the state folder with its servers running."""
    command = [sys.executable, "-c", _HOLDER, str(embedded_home)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@asynccontextmanager
async def started(home_path):
    """Servers of this process on a state folder that nobody else has, quick rather than durable."""
    home = take_home(Settings(home=home_path))
    try:
        async with started_servers(Settings(), home, what="a test", durable=False) as found:
            yield found
    finally:
        home.free_lock()


@asynccontextmanager
async def connected(found):
    connection = await asyncpg.connect(found.database_url)
    yield connection
    await connection.close()


async def test_they_listen_on_private_sockets_only_and_write_before_they_answer(embedded_home):
    async with servers(Settings(home=embedded_home)) as found:
        async with connected(found) as connection:
            folder = Path(await connection.fetchval("SHOW unix_socket_directories"))
            assert await connection.fetchval("SHOW listen_addresses") == ""
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
                assert await connection.fetchval(f"SHOW {name}") == "on"
            assert await connection.fetchval("SHOW server_version_num") >= "180000"
        async with Redis.from_url(found.redis_url) as redis:
            assert await redis.config_get("port") == {"port": "0"}
    assert not folder.exists()


@pytest.mark.parametrize("also_the_servers", [False, True])
async def test_kill_9_loses_no_data_and_leaves_no_process(embedded_home, holder, also_the_servers):
    async with servers(Settings(home=embedded_home)) as found:
        connection = await asyncpg.connect(found.database_url)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS grams")
    note = Home(embedded_home).read_note()
    assert note.pid == holder.pid
    assert all(is_running(pid) for pid in note.children.values())
    for pid in (*(note.children.values() if also_the_servers else ()), holder.pid):
        os.kill(pid, signal.SIGKILL)
    holder.wait()
    connection.terminate()
    async with started(embedded_home) as found, connected(found) as connection:
        assert await connection.fetchval("SELECT grams FROM kept") == 42
    assert not any(is_running(pid) for pid in note.children.values())


async def test_reset_right_after_kill_9_leaves_an_empty_folder(embedded_home, holder):
    socket = Path(Home(embedded_home).read_note().redis_url.removeprefix("unix://"))
    holder.kill()
    holder.wait()
    settings = with_secret_key(Settings(home=embedded_home))
    demo_secret(settings)
    await reset_home(settings)
    assert [path.name for path in embedded_home.iterdir()] == ["lock"]
    assert not socket.parent.exists()


async def test_a_second_holder_is_told_who_is_first(embedded_home):
    home = take_home(Settings(home=embedded_home))
    home.note(Running(4711, "saxaul run", "http://127.0.0.1:8000", "", "", {}))
    first = "saxaul run, process 4711, http://127.0.0.1:8000"
    with pytest.raises(EmbeddedError, match=rf"is in use by another instance \({first}\)"):
        take_home(Settings(home=embedded_home))
    with pytest.raises(EmbeddedError, match="in use"):
        await reset_home(Settings(home=embedded_home))
    home.free_lock()


async def test_with_both_addresses_set_nothing_is_touched(tmp_path):
    given = Settings(
        home=tmp_path / "home", database_url="postgresql://db/saxaul", redis_url="redis://cache"
    )
    assert not needs_embedded(given)
    async with servers(given) as found:
        assert found.database_url == "postgresql://db/saxaul"
        assert found.redis_url == "redis://cache"
    assert not given.home.exists()


async def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(EmbeddedError) as refused:
        async with servers(Settings(home=in_the_way / "home")):
            pass
    assert str(refused.value) == (
        f"cannot write to the state folder {in_the_way / 'home'}: Not a directory"
        " (SAXAUL_HOME names another folder)."
    )


async def test_a_home_below_a_closed_folder_with_a_long_path_works(embedded_home):
    """As root the server's own user cannot enter the folder, so its data lie elsewhere."""
    home = embedded_home / ("a" * 100) / ("b" * 100)
    embedded_home.parent.chmod(0o700)
    async with started(home) as found, connected(found) as connection:
        data = Path(await connection.fetchval("SHOW data_directory"))
    assert data == data_folder(home)
    assert data.is_relative_to("/var/lib/saxaul" if os.getuid() == 0 else home)
    async with started(home) as found, connected(found) as connection:
        assert data == Path(await connection.fetchval("SHOW data_directory"))
    await reset_home(Settings(home=home))
    assert not data.exists()


def test_a_copied_home_does_not_use_the_data_of_the_first(embedded_home, tmp_path):
    place, copy = tmp_path / "place", tmp_path / "copy"
    Home(embedded_home)
    place.mkdir()
    (place / "home").write_text(f"{embedded_home}\n")
    (embedded_home / "elsewhere").write_text(f"{place}\n")
    shutil.copytree(embedded_home, copy)
    with pytest.raises(EmbeddedError, match="is a copy of"):
        data_folder(copy)
    (embedded_home / "elsewhere").unlink()
    assert data_folder(copy) == place / "postgres"
