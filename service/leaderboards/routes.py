"""Leaderboards over HTTP: pages of a board, and where I stand."""

import re
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct
from sqlalchemy import or_, select

from service.http.access import Request, caller, opens
from service.http.decode import Time, read_query
from service.http.faults import fault
from service.http.pages import Page, paged
from service.http.shared import shared
from service.leaderboards.boards import Boards, Entry, Place, percentile
from service.leaderboards.keys import BOARDS, Board, PeriodName, period_of
from service.participants.models import Participant
from service.platform.clock import Clock
from service.platform.database import Database
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


@get(
    "/v1/leaderboards/{board:str}",
    operation_id="getLeaderboard",
    **opens("participant", query=BoardQuery),
)
async def get_board(request: Request, board: FromPath[str]) -> BoardPage:
    """A page of a leaderboard: energy collected, CO2e saved, saved and verified, trees pledged.

    `saved` is all that is avoided, on anybody's word; `verified` is what of it partners told.
    """
    query = read_query(request, BoardQuery)
    viewer = caller(request).participant_id
    wanted = _board(request, board, query.period, query.scope)
    kind = f"leaderboard:{board}:{query.period}:{query.scope}"
    page, after = paged(request, kind, query, period=str, score=int, member=bytes), None
    if page.after:
        # A page that somebody turns at midnight is still one of the period that they began in.
        period, score, member = page.after
        wanted, after = wanted._replace(period=period), Place(score, member)
    # Twice as many, so that people who are not shown do not make most pages short.
    ranking = await shared(request, Boards).page(wanted, after=after, limit=2 * query.limit)
    items = await _items(request, ranking.entries, viewer)
    shown, last = items[: query.limit], None
    if len(items) > query.limit:
        last = shown[-1].score, shown[-1].participant_id.bytes
    elif not ranking.is_last:
        last = ranking.entries[-1].score, ranking.entries[-1].member
    return BoardPage(
        board=board,
        period=query.period,
        scope=query.scope,
        as_of=ranking.as_of,
        size=ranking.size,
        items=shown,
        next_cursor=page.cursor((wanted.period, *last)) if last else None,
    )


@get(
    "/v1/leaderboards/{board:str}/me",
    operation_id="getMyRank",
    **opens("participant", query=AroundQuery),
)
async def get_my_rank(request: Request, board: FromPath[str]) -> MyRank:
    """My rank and score on a leaderboard, with my neighbours."""
    query = read_query(request, AroundQuery)
    viewer = caller(request).participant_id
    wanted = _board(request, board, query.period, query.scope)
    standing = await shared(request, Boards).standing(wanted, viewer.bytes, around=2 * query.around)
    if standing.rank is None:
        return MyRank(None, standing.score, None, [])
    items = await _items(request, standing.entries, viewer)
    mine = next(
        (index for index, item in enumerate(items) if item.participant_id == viewer), len(items)
    )
    shown = items[max(mine - query.around, 0) : mine + query.around + 1]
    return MyRank(standing.rank, standing.score, percentile(standing.rank, standing.size), shown)


def _board(request: Request, name: str, period: PeriodName, scope: str) -> Board:
    """The board of now. Raises NotFoundError, InvalidRequestError."""
    if name not in BOARDS:
        text = "There is no leaderboard {name}; there are {all}."
        raise NotFoundError(text, name=name, all=", ".join(BOARDS))
    region = _REGION.fullmatch(scope)
    if region is None and scope != "global":
        raise fault("#/query/scope", "must be {allowed}", allowed=_SCOPES)
    day = shared(request, Rulebooks).active.program.local_date(shared(request, Clock).now())
    return Board(name, period_of(period, day).name, region[1] if region else "")


async def _items(request: Request, entries: list[Entry], viewer: UUID) -> list[BoardItem]:
    """Those of these entries whom the viewer may see, by name: public ones, and himself."""
    ids = {UUID(bytes=entry.member): entry for entry in entries}
    person_id, visibility = Participant.participant_id, Participant.visibility
    # `friends` is not public: it opens the scope of friends, not a board of strangers.
    named = select(person_id, Participant.display_name).where(
        person_id.in_(ids), or_(visibility == "public", person_id == viewer)
    )
    async with shared(request, Database).sessions() as session:
        names = {row.participant_id: row.display_name for row in await session.execute(named)}
    return [
        BoardItem(entry.rank, person, names[person], entry.score)
        for person, entry in ids.items()
        if person in names
    ]


routes: list[HTTPRouteHandler] = [get_board, get_my_rank]
