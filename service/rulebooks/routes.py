"""The rules as apps see them: the catalogue of action types."""

from functools import lru_cache
from typing import TypeVar

import msgspec

from service.http.access import Request, get
from service.http.answer import JsonAnswer, Listing
from service.http.pages import Page, Paged, paged
from service.http.problems import languages_of
from service.http.public_answer import Headers, public_answer
from service.http.shared import shared
from service.rulebooks.publish import Rulebooks
from service.rules.decide.languages import Reader
from service.rules.decide.rulebook import Rulebook
from service.rules.tell.catalogue import ActionTypeAnswer, Suggestion, list_action_types

S = TypeVar("S", bound=Suggestion)

_CATALOGUES_KEPT = 32


class Catalogue(msgspec.Struct, frozen=True):
    """Every action type of the active rulebook, in the caller's language."""

    rulebook_version: int
    items: list[ActionTypeAnswer]
    next_cursor: str | None


@get(
    "/v1/action-types",
    "public",
    operation_id="listActionTypes",
    query=Page,
    answer=Catalogue,
    is_kept=True,
)
async def list_types(request: Request) -> JsonAnswer:
    """The catalogue: attributes with their bounds, who may report, rules and limits."""
    page = paged(request, "action-types", type=str)
    rulebook = shared(request, Rulebooks).active
    body, headers = _catalogue(rulebook, languages_of(request), page)
    return public_answer(request, body, headers=headers)


@lru_cache(maxsize=_CATALOGUES_KEPT)
def _catalogue(
    rulebook: Rulebook, languages: tuple[str, ...], page: Paged
) -> tuple[bytes, Headers]:
    """What only another version of the rules changes."""
    reader = Reader(languages)
    shown = page_by_type(page, list_action_types(rulebook, reader))
    catalogue = Catalogue(rulebook.version, shown.items, shown.next_cursor)
    return msgspec.json.encode(catalogue), reader.headers()


def page_by_type(page: Paged, items: list[S]) -> Listing[S]:
    """The page that is asked for of a list that runs by type."""
    return page.listing([item for item in items if page.after is None or item.type > page.after])
