"""The rules as apps see them: the catalogue of action types, and what can still be done today."""

from functools import lru_cache
from typing import TypeVar

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler

from service.actions.queries import read_usage
from service.http.pages import Page, decode_cursor, encode_cursor
from service.http.problems import languages_of, reader_of
from service.http.public_answer import Headers, public_answer
from service.http.shared import shared
from service.http.wire import JsonAnswer, Request, caller, opens, read_by, read_query
from service.participants.queries import find_region
from service.platform.clock import Clock
from service.platform.database import Database
from service.platform.settings import Settings
from service.rulebooks.budgets import read_left
from service.rulebooks.publish import Rulebooks
from service.rules.decide.languages import Reader
from service.rules.decide.rulebook import Rulebook
from service.rules.tell.catalogue import (
    ActionTypeAnswer,
    Suggestion,
    list_action_types,
    list_suggestions,
    running_campaigns,
    suggestion_counters,
)

S = TypeVar("S", bound=Suggestion)

_CATALOGUES_KEPT = 32


class Catalogue(msgspec.Struct, frozen=True):
    """Every action type of the active rulebook, in the caller's language."""

    rulebook_version: int
    items: list[ActionTypeAnswer]
    next_cursor: str | None


class Suggestions(msgspec.Struct, frozen=True):
    """What a person can still do today, with what is left of each limit."""

    items: list[Suggestion]
    next_cursor: str | None


@get(
    "/v1/action-types",
    operation_id="listActionTypes",
    **opens("public", query=Page, answer=Catalogue, is_kept=True),
)
async def list_types(request: Request) -> JsonAnswer:
    """The catalogue: attributes with their bounds, who may report, rules and limits."""
    page = read_query(request, Page)
    body, headers = _catalogue(
        shared(request, Rulebooks).active,
        languages_of(request),
        page,
        shared(request, Settings).secret_key,
    )
    return public_answer(request, body, headers=headers)


@lru_cache(maxsize=_CATALOGUES_KEPT)
def _catalogue(
    rulebook: Rulebook, languages: tuple[str, ...], page: Page, secret: str
) -> tuple[bytes, Headers]:
    """What only another version of the rules changes."""
    reader = Reader(languages)
    items, more = _page_of(page, secret, "action-types", list_action_types(rulebook, reader))
    catalogue = Catalogue(rulebook.version, items, more)
    return msgspec.json.encode(catalogue), reader.headers()


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
    shown = _page_of(
        read_query(request, Page), shared(request, Settings).secret_key, "suggestions", items
    )
    return read_by(reader, Suggestions(*shown))


def _page_of(page: Page, secret: str, kind: str, items: list[S]) -> tuple[list[S], str | None]:
    """The page that is asked for of a list that runs by type, and the cursor of the next one."""
    if page.cursor:
        (after,) = decode_cursor(secret, kind, page.cursor, tuple[str])
        items = [item for item in items if item.type > after]
    shown = items[: page.limit]
    is_last = len(shown) == len(items)
    return shown, None if is_last else encode_cursor(secret, kind, (shown[-1].type,))


routes: list[HTTPRouteHandler] = [list_types, suggest]
