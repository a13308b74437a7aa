"""The shared objects of one API process, made at its start by `app.py`, found from any route."""

from dataclasses import dataclass
from typing import Any

import litestar
from litestar.datastructures import State
from redis.asyncio import Redis

from service.actions.writer import Writer
from service.development.issuer import DevelopmentIssuer
from service.http.auth import Authenticator
from service.http.rate_limit import RateLimiter
from service.leaderboards.boards import Boards
from service.partners.keys import PartnerKeys
from service.partners.receive import Intake
from service.platform.clock import Clock
from service.platform.database import Database
from service.platform.settings import Settings
from service.rulebooks.publish import Rulebooks
from service.simulate.simulator import Simulator


@dataclass(frozen=True, slots=True)
class Parts:
    """What routes work with. There is a development issuer in development mode only."""

    settings: Settings
    database: Database
    redis: Redis
    clock: Clock
    authenticator: Authenticator
    rulebooks: Rulebooks
    writer: Writer
    simulator: Simulator
    partner_keys: PartnerKeys
    intake: Intake
    boards: Boards
    limiter: RateLimiter | None
    development_issuer: DevelopmentIssuer | None


def parts(request: litestar.Request[Any, Any, State]) -> Parts:
    """The shared objects of the process that serves this request."""
    shared: Parts = request.app.state.parts
    return shared
