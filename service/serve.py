"""What runs in each API process."""

import gc
import signal

from litestar import Litestar

from service.app import create_app
from service.embedded.launch import die_with_parent
from service.log import configure_logging
from service.settings import load_settings, with_secret_key


def app() -> Litestar:
    """The application of one process, which ends when the process that manages it is killed."""
    die_with_parent(signal.SIGKILL)
    settings = with_secret_key(load_settings())
    configure_logging(settings.log_level)
    made = create_app(settings)
    made.on_startup.append(_settle_memory)
    return made


def _settle_memory() -> None:
    """Spare the collector what lives as long as the process: routes, rules, compiled expressions.

    A request leaves no cycles behind; with the default thresholds a third of the API's time went
    into walking the same live objects again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
