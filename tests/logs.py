"""Logging as a process of the program has it, for the time of a block."""

import logging
from contextlib import contextmanager

import structlog

from service.log import configure_logging


@contextmanager
def logging_kept():
    """Whatever the block makes of logging, afterwards it is as the run of the tests has it."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
        structlog.configure(**before)


@contextmanager
def logging_as_served():
    """JSON lines on stderr."""
    with logging_kept():
        configure_logging("info")
        yield
