"""What runs in each API process."""

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
    return create_app(settings)
