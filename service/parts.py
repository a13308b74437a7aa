"""The shared objects of one API process, made at its start by `app.py`, found from any route."""

from dataclasses import dataclass
from typing import Any

import litestar
from litestar.datastructures import State
from redis.asyncio import Redis

from service.auth import Authenticator
from service.clock import Clock
from service.database import Database
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """What routes work with. `database_url` is for connections that listen."""

    settings: Settings
    database_url: str
    database: Database
    redis: Redis
    clock: Clock
    authenticator: Authenticator


def parts(request: litestar.Request[Any, Any, State]) -> Parts:
    """The shared objects of the process that serves this request."""
    shared: Parts = request.app.state.parts
    return shared
