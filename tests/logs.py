"""Logging as a process of the program has it, for the time of a block."""

import logging
from contextlib import contextmanager

import pytest
import structlog

from service.platform.log import configure_logging


@contextmanager
def logging_kept():
    """Whatever the block makes of logging, afterwards it is as the run of the tests has it."""
    root, before, configure = logging.getLogger(), structlog.get_config(), structlog.configure
    handlers, level = root.handlers, root.level

    def configure_for_now(**order):
        # What a module's logger remembers of its first use would outlive the block.
        configure(**order | {"cache_logger_on_first_use": False})

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(structlog, "configure", configure_for_now)
            yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
        structlog.configure(**before)


@contextmanager
def logging_as_served(form="json"):
    """JSON lines on stderr, or what a person reads."""
    with logging_kept():
        configure_logging("info", form)
        yield
