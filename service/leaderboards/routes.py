"""Leaderboards over HTTP: pages of a board, and where I stand."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar.params import FromPath
from msgspec import Meta, Struct

from service.http.access import Request, caller, get
from service.http.answer import JsonAnswer
from service.http.decode import Time, read_query
from service.http.faults import fault
from service.http.pages import Page, Paged, paged
from service.http.shared import shared
from service.leaderboards.boards import Boards, Entry, Place, percentile
from service.leaderboards.heads import Head, Heads, Seen
from service.leaderboards.keys import BOARDS, Board, PeriodName, period_of
from service.participants.names import Name, Names
from service.platform.clock import Clock
from service.platform.errors import NotFoundError
from service.rulebooks.publish import Rulebooks

_REGION = re.compile(r"region:([A-Z]{2}-[A-Z0-9]{1,3})")
_SCOPES = "global, or region: and an ISO 3166-2 code such as region:CN-ZJ"

Scope = Annotated[str, Meta(max_length=32)]


class BoardQuery(Page, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which board, and which page of it."""

    period: PeriodName = "week"
    scope: Scope = "global"


class AroundQuery(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which board, and how many neighbours on each side."""

    period: PeriodName = "week"
    scope: Scope = "global"
    around: Annotated[int, Meta(ge=0, le=50)] = 5


class BoardItem(Struct, frozen=True):
    """One person on a board; equal scores share a rank (1, 2, 2, 4)."""

    rank: int
    participant_id: UUID
    display_name: str
    score: int


class BoardPage(Struct, frozen=True):
    """Part of a board, best first.

    `size` counts everybody with a score above 0. All that was booked until `as_of` is in it. People
    who are not public keep their rank but are not shown, so a page may have fewer items than asked.
    """

    board: str
    period: str
    scope: str
    as_of: Time
    size: int
    items: list[BoardItem]
    next_cursor: str | None


class MyRank(Struct, frozen=True):
    """Where I stand. Without a score above 0 I am on no board, and have no rank.

    `percentile`: how many per cent of the others have a score that is not higher than mine.
    """

    rank: int | None
    score: int
    percentile: float | None
    items: list[BoardItem]


@get("/v1/leaderboards/{board:str}", "participant", query=BoardQuery, answer=BoardPage)
async def get_leaderboard(request: Request, board: FromPath[str]) -> JsonAnswer:
    """A page of a leaderboard: energy collected, CO2e saved, saved and verified, trees pledged.

    `saved` is all that is avoided, on anybody's word; `verified` is what of it partners told.
    """
    query, now = read_query(request, BoardQuery), shared(request, Clock).now()
    viewer = caller(request).participant_id
    wanted = _board(request, board, query.period, query.scope, now=now)
    kind = f"leaderboard:{board}:{query.period}:{query.scope}"
    page = paged(request, kind, query, period=str, score=int, member=bytes)
    if page.after:
        # A page that somebody turns at midnight is still one of the period that they began in.
        period, score, member = page.after
        wanted = wanted._replace(period=period)
        seen = await _see(request, wanted, Place(score, member), query.limit)
        return JsonAnswer(200, _page(query, wanted, page, seen, viewer))

    async def read() -> Head:
        seen = await _see(request, wanted, None, query.limit)
        return Head(seen, _page(query, wanted, page, seen, None))

    head = await shared(request, Heads).get((wanted, query), now, read)
    if head.is_for(viewer):
        return JsonAnswer(200, head.body)
    return JsonAnswer(200, _page(query, wanted, page, head.seen, viewer))


@get("/v1/leaderboards/{board:str}/me", "participant", query=AroundQuery, answer=MyRank)
async def get_my_rank(request: Request, board: FromPath[str]) -> JsonAnswer:
    """My rank and score on a leaderboard, with my neighbours."""
    query, now = read_query(request, AroundQuery), shared(request, Clock).now()
    viewer = caller(request).participant_id
    wanted = _board(request, board, query.period, query.scope, now=now)
    standing = await shared(request, Boards).standing(wanted, viewer.bytes, around=2 * query.around)
    mine = MyRank(None, standing.score, None, [])
    if standing.rank is not None:
        names = await shared(request, Names).of([entry.member for entry in standing.entries])
        items = _items(standing.entries, names, viewer)
        index = next(
            (n for n, item in enumerate(items) if item.participant_id == viewer), len(items)
        )
        shown = items[max(index - query.around, 0) : index + query.around + 1]
        share = percentile(standing.rank, standing.size)
        mine = MyRank(standing.rank, standing.score, share, shown)
    return JsonAnswer(200, msgspec.json.encode(mine))


def _board(request: Request, name: str, period: PeriodName, scope: str, *, now: datetime) -> Board:
    """The board of now. Raises NotFoundError, InvalidRequestError."""
    if name not in BOARDS:
        text = "There is no leaderboard {name}; there are {all}."
        raise NotFoundError(text, name=name, all=", ".join(BOARDS))
    region = _REGION.fullmatch(scope)
    if region is None and scope != "global":
        raise fault("#/query/scope", "must be {allowed}", allowed=_SCOPES)
    day = shared(request, Rulebooks).active.program.local_date(now)
    return Board(name, period_of(period, day).name, region[1] if region else "")


async def _see(request: Request, board: Board, after: Place | None, limit: int) -> Seen:
    """A part of a board, with the names of who is there."""
    # Twice as many, so that people who are not shown do not make most pages short.
    ranking = await shared(request, Boards).page(board, after=after, limit=2 * limit)
    people = [entry.member for entry in ranking.entries]
    return Seen(ranking, await shared(request, Names).of(people))


def _page(query: BoardQuery, board: Board, page: Paged, seen: Seen, viewer: UUID | None) -> bytes:
    """What is told to this viewer, or to anybody who sees what everybody sees."""
    ranking = seen.ranking
    items, last = _items(ranking.entries, seen.names, viewer), None
    shown = items[: query.limit]
    if len(items) > query.limit:
        last = shown[-1].score, shown[-1].participant_id.bytes
    elif not ranking.is_last:
        last = ranking.entries[-1].score, ranking.entries[-1].member
    told = BoardPage(
        board=board.name,
        period=query.period,
        scope=query.scope,
        as_of=ranking.as_of,
        size=ranking.size,
        items=shown,
        next_cursor=page.cursor((board.period, *last)) if last else None,
    )
    return msgspec.json.encode(told)


def _items(
    entries: Sequence[Entry], names: Mapping[bytes, Name], viewer: UUID | None
) -> list[BoardItem]:
    """Those of these entries whom the viewer may see, by name: public ones, and himself."""
    named = [(entry, names[entry.member]) for entry in entries if entry.member in names]
    return [
        BoardItem(entry.rank, person, display_name, entry.score)
        for entry, (person, display_name, is_public) in named
        if is_public or person == viewer
    ]
