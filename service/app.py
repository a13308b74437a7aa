"""create_app: the one place where routes, lifespan, error renderer and shared objects meet."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from uuid import UUID

import httpx
from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from service.actions.kept import KeptAnswers
from service.development.issuer import DevelopmentIssuer
from service.http.access import Request
from service.http.auth import Authenticator, Trust
from service.http.edge import Edge, authenticate, render
from service.http.jwks import KeySet
from service.http.rate_limit import RateLimiter
from service.instance.servers import servers
from service.leaderboards.boards import Boards
from service.leaderboards.heads import Heads
from service.leaderboards.keys import Layout
from service.ledger.lanes import Lanes
from service.participants.identities import resolve_participant
from service.participants.names import Names
from service.partners.envelope import master_keys
from service.partners.events import Identifier
from service.partners.keys import PartnerKeys
from service.partners.receive import Intake
from service.platform.beside import beside
from service.platform.clock import Clock
from service.platform.database import Database, open_database
from service.platform.listen import listening
from service.platform.redis_client import open_redis
from service.platform.settings import Settings, with_secret_key
from service.rulebooks.publish import Rulebooks
from service.run.openapi import openapi_text
from service.simulate.simulator import Simulator


def routes(*, development: bool) -> list[HTTPRouteHandler]:
    """Whatever a file `routes*.py` of any part of the service made a route of."""
    found = [
        handler
        for file in sorted(Path(__file__).parent.glob("*/routes*.py"))
        for handler in vars(import_module(f"service.{file.parent.name}.{file.stem}")).values()
        if development or file.parent.name != "development"
    ]
    return [handler for handler in found if isinstance(handler, HTTPRouteHandler)]


def create_app(settings: Settings) -> Litestar:
    """The application of these settings; it connects to its servers when it starts."""
    app = Litestar(
        route_handlers=routes(development=settings.development_mode),
        lifespan=[partial(_live, settings=settings)],
        before_request=authenticate,
        exception_handlers={Exception: render},
        request_class=Request,
        openapi_config=None,
        logging_config=None,
        debug=False,
        state=State(
            {
                "openapi_text": openapi_text,
                "shared": {},
                "body_limits": {
                    "public": settings.body_max_participant_bytes,
                    "participant": settings.body_max_participant_bytes,
                    "partner": settings.body_max_partner_bytes,
                    "operator": settings.body_max_operator_bytes,
                },
            }
        ),
    )
    app.asgi_handler = Edge(app.asgi_handler, app.state.shared, access_log=settings.access_log)
    return app


@asynccontextmanager
async def _live(app: Litestar, settings: Settings) -> AsyncIterator[None]:
    """Make the shared objects, in the order in which they need each other; end them in reverse."""
    settings = with_secret_key(settings)
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(servers(settings, "an API process"))
        database = await open_database(settings, found.database_url)
        stack.push_async_callback(database.close)
        redis = open_redis(found.redis_url)
        stack.push_async_callback(redis.aclose)
        clock = Clock()
        issuer = DevelopmentIssuer(settings) if settings.development_mode else None
        authenticator = await _authenticator(stack, settings, database, clock, issuer=issuer)
        partner_keys = PartnerKeys(database, clock, master_keys(settings))
        kept = KeptAnswers()
        follows = (clock.follow, authenticator.follow, partner_keys.follow, kept.follow)
        await stack.enter_async_context(listening(found.database_url, follows))
        rulebooks = Rulebooks(database)
        await rulebooks.look()
        await stack.enter_async_context(beside(rulebooks.run()))
        lanes = Lanes(database, clock, lambda: rulebooks.active, settings)
        lanes.start()
        stack.push_async_callback(lanes.stop)
        await stack.enter_async_context(beside(partner_keys.run()))
        identifier = Identifier(settings.secret_key)
        made = (
            settings,
            database,
            redis,
            clock,
            authenticator,
            rulebooks,
            lanes,
            Simulator(found.database_url, settings.secret_key.encode()),
            partner_keys,
            kept,
            Intake(database, clock, rulebooks, lanes, identifier),
            Boards(redis, Layout(settings.redis_prefix, settings.leaderboard_shards)),
            Heads(),
            Names(database.reads),
            RateLimiter(redis, settings),
            *([issuer] if issuer else ()),
        )
        app.state.shared |= {type(each): each for each in made}
        yield


async def _authenticator(
    stack: AsyncExitStack,
    settings: Settings,
    database: Database,
    clock: Clock,
    *,
    issuer: DevelopmentIssuer | None,
) -> Authenticator:
    """Whom tokens of the trusted issuers stand for; the issuers' keys are kept fresh."""

    async def resolve(token_issuer: str, subject: str) -> UUID:
        return await resolve_participant(
            database, settings.secret_key, token_issuer, subject, clock.now()
        )

    authenticator = Authenticator(leeway_s=settings.auth_leeway_s, resolve=resolve)
    if issuer is not None:
        authenticator.trust(*issuer.trusted())
    if not settings.auth_issuers:
        return authenticator
    client = await stack.enter_async_context(httpx.AsyncClient())
    for believed in settings.auth_issuers:
        keys = KeySet(believed.jwks_url, client, on_change=authenticator.drop_all)
        await stack.enter_async_context(beside(keys.keep_fresh(clock.real_now)))
        authenticator.trust(
            Trust(believed.issuer, believed.audience, believed.realm, keys, believed.accept_typ)
        )
    return authenticator
