"""The rules as apps see them: the catalogue of action types."""

from functools import lru_cache
from typing import TypeVar

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler

from service.http.pages import Page, decode_cursor, encode_cursor
from service.http.problems import languages_of
from service.http.public_answer import Headers, public_answer
from service.http.shared import shared
from service.http.wire import JsonAnswer, Request, opens, read_query
from service.platform.settings import Settings
from service.rulebooks.publish import Rulebooks
from service.rules.decide.languages import Reader
from service.rules.decide.rulebook import Rulebook
from service.rules.tell.catalogue import (
    ActionTypeAnswer,
    Suggestion,
    list_action_types,
)

S = TypeVar("S", bound=Suggestion)

_CATALOGUES_KEPT = 32


class Catalogue(msgspec.Struct, frozen=True):
    """Every action type of the active rulebook, in the caller's language."""

    rulebook_version: int
    items: list[ActionTypeAnswer]
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
    items, more = page_by_type(page, secret, "action-types", list_action_types(rulebook, reader))
    catalogue = Catalogue(rulebook.version, items, more)
    return msgspec.json.encode(catalogue), reader.headers()


def page_by_type(page: Page, secret: str, kind: str, items: list[S]) -> tuple[list[S], str | None]:
    """The page that is asked for of a list that runs by type, and the cursor of the next one."""
    if page.cursor:
        (after,) = decode_cursor(secret, kind, page.cursor, tuple[str])
        items = [item for item in items if item.type > after]
    shown = items[: page.limit]
    is_last = len(shown) == len(items)
    return shown, None if is_last else encode_cursor(secret, kind, (shown[-1].type,))


routes: list[HTTPRouteHandler] = [list_types]
