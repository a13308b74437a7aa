"""create_app: the one place where routes, lifespan, error renderer and shared objects meet."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from uuid import UUID

from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from service.auth import Authenticator
from service.clock import Clock
from service.database import Database, open_database
from service.edge import Edge, authenticate, render
from service.embedded import servers
from service.energy.routes import routes as energy_routes
from service.participants.identities import resolve_participant
from service.parts import Parts
from service.redis_client import open_redis
from service.settings import Settings, with_secret_key
from service.wire import Request

ROUTES: tuple[HTTPRouteHandler, ...] = (*energy_routes,)


def create_app(settings: Settings) -> Litestar:
    """The application of these settings; it connects to its servers when it starts."""
    app = Litestar(
        route_handlers=ROUTES,
        lifespan=[partial(_live, settings=settings)],
        before_request=authenticate,
        exception_handlers={Exception: render},
        request_class=Request,
        openapi_config=None,
        logging_config=None,
        debug=False,
        state=State(
            {
                "body_limits": {
                    "public": settings.body_max_participant_bytes,
                    "participant": settings.body_max_participant_bytes,
                    "operator": settings.body_max_operator_bytes,
                }
            }
        ),
    )
    app.asgi_handler = Edge(app.asgi_handler)
    return app


@asynccontextmanager
async def _live(app: Litestar, settings: Settings) -> AsyncIterator[None]:
    settings = with_secret_key(settings)
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(servers(settings, "an API process"))
        database = await open_database(settings, found.database_url)
        stack.push_async_callback(database.close)
        redis = open_redis(found.redis_url)
        stack.push_async_callback(redis.aclose)
        clock = Clock()
        app.state.parts = Parts(
            settings=settings,
            database_url=found.database_url,
            database=database,
            redis=redis,
            clock=clock,
            authenticator=_authenticator(settings, database, clock),
        )
        yield


def _authenticator(settings: Settings, database: Database, clock: Clock) -> Authenticator:
    async def resolve(issuer: str, subject: str) -> UUID:
        return await resolve_participant(
            database, settings.secret_key, issuer, subject, clock.now()
        )

    return Authenticator([], leeway_s=settings.auth_leeway_s, resolve=resolve)
