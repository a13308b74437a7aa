"""The rules as apps see them: the catalogue of action types, and what can still be done today."""

from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler

from service.actions.queries import read_usage
from service.auth import caller
from service.parts import parts
from service.rules.catalogue import (
    list_action_types,
    list_suggestions,
    preferred_languages,
    suggestion_counters,
)
from service.wire import Request, opens


class Catalogue(msgspec.Struct, frozen=True):
    """Every action type of the active rulebook, in the caller's language."""

    rulebook_version: int
    items: list[dict[str, Any]]


class Suggestions(msgspec.Struct, frozen=True):
    """What a person can still do today, with what is left of each limit."""

    items: list[dict[str, Any]]


@get("/v1/action-types", operation_id="listActionTypes", **opens("public"))
async def list_types(request: Request) -> Catalogue:
    """The catalogue: attributes with their bounds, who may report, rules and limits."""
    rulebook = parts(request).rulebooks.active
    return Catalogue(rulebook.version, list_action_types(rulebook, _languages(request)))


@get("/v1/me/suggestions", operation_id="listSuggestions", **opens("participant"))
async def suggest(request: Request) -> Suggestions:
    """What I can still do today."""
    shared = parts(request)
    rulebook, now = shared.rulebooks.active, shared.clock.now()
    async with shared.database.sessions() as session:
        usage = await read_usage(
            session, caller(request).participant_id, suggestion_counters(rulebook, now)
        )
    return Suggestions(list_suggestions(rulebook, usage, now, _languages(request)))


def _languages(request: Request) -> tuple[str, ...]:
    return preferred_languages(request.headers.get("accept-language", ""))


routes: list[HTTPRouteHandler] = [list_types, suggest]
