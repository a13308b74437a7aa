"""`saxaul api`: what manages the API's processes, and what runs in each of them."""

import asyncio
import gc
import multiprocessing
import signal

import click
import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from litestar import Litestar

from service.app import create_app
from service.instance.address import find_port_free, guarded_port, url_of
from service.instance.launch import die_with_parent
from service.instance.open import open_instance
from service.instance.servers import is_in_use, require_instance
from service.platform.log import configure_logging
from service.platform.settings import Settings, load_settings, shared_metrics, with_secret_key

_log = structlog.get_logger(__name__)


@click.command("api")
def api() -> None:
    """Serve the API only, on servers that run already."""
    settings = load_settings()
    asyncio.run(_look_before(settings))
    if settings.workers > 1:
        # A forked process would have chosen before the fork where its figures are kept.
        multiprocessing.set_start_method("spawn")
    with shared_metrics(settings), guarded_port(settings) as address:
        Granian(
            "service.run.serve:app",
            factory=True,
            address=address,
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


async def _look_before(settings: Settings) -> None:
    """Find what would stop every process from starting, while it is one line and not many."""
    require_instance(settings)
    if is_in_use(settings):
        async with open_instance(settings, "saxaul api"):
            pass
    await find_port_free(settings)


def app() -> Litestar:
    """The application of one process, which ends when the process that manages it is killed."""
    die_with_parent(signal.SIGKILL)
    # Until it serves it has the manager's handlers, which would swallow the manager's SIGTERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the manager hears a Ctrl-C, too
    settings = with_secret_key(load_settings())
    configure_logging(settings.log_level, settings.log_format)
    made = create_app(settings)
    made.on_startup.append(_settle_memory)
    made.on_startup.append(lambda: _log.info("api_started", url=url_of(settings)))
    return made


def _settle_memory() -> None:
    """Spare the collector what lives as long as the process: routes, rules, compiled expressions.

    A request leaves no cycles behind; with the default thresholds a third of the API's time went
    into walking the same live objects again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
