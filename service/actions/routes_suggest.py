"""What a person can still do today, over HTTP."""

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler

from service.actions.queries import read_usage
from service.http.access import Request, caller, opens
from service.http.answer import JsonAnswer, read_by
from service.http.pages import Page, paged
from service.http.problems import reader_of
from service.http.shared import shared
from service.participants.queries import find_region
from service.platform.clock import Clock
from service.platform.database import Database
from service.rulebooks.budgets import read_left
from service.rulebooks.publish import Rulebooks
from service.rulebooks.routes import page_by_type
from service.rules.tell.catalogue import (
    Suggestion,
    list_suggestions,
    running_campaigns,
    suggestion_counters,
)


class Suggestions(msgspec.Struct, frozen=True):
    """What a person can still do today, with what is left of each limit."""

    items: list[Suggestion]
    next_cursor: str | None


@get(
    "/v1/me/suggestions",
    operation_id="listSuggestions",
    **opens("participant", query=Page, answer=Suggestions),
)
async def suggest(request: Request) -> JsonAnswer:
    """What I can still do today."""
    rulebook, now, reader = (
        shared(request, Rulebooks).active,
        shared(request, Clock).now(),
        reader_of(request),
    )
    participant_id, campaigns = caller(request).participant_id, running_campaigns(rulebook, now)
    region: str | None = None
    async with shared(request, Database).sessions() as session:
        usage = await read_usage(session, participant_id, suggestion_counters(rulebook, now))
        left = await read_left(session, campaigns)
        if campaigns:
            region = await find_region(session, participant_id)
    items = list_suggestions(rulebook, usage, now, reader, region=region or "", left=left)
    shown = page_by_type(paged(request, "suggestions", type=str), items)
    return read_by(reader, Suggestions(shown.items, shown.next_cursor))


routes: list[HTTPRouteHandler] = [suggest]
