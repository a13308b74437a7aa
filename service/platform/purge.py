"""What is deleted after its time: each noun's `purge.py` tells what, a bounded part at a time."""

from collections.abc import Awaitable, Callable

from service.platform.clock import Clock
from service.platform.database import Database
from service.platform.settings import Settings

ROWS_MAX = 5_000

Purge = Callable[[Database, Clock, Settings], Awaitable[int]]
"""Deletes the next part; gives how many rows went."""
