"""Tokens and the movable clock over HTTP; these routes exist in development mode only."""

from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from service.development.issuer import DevelopmentIssuer, issuer_of
from service.http.access import Request, get, post
from service.http.auth import SCOPES
from service.http.decode import Time, read_body
from service.http.faults import fault
from service.http.shared import shared
from service.participants.identities import resolve_participant
from service.platform.clock import Clock
from service.platform.database import Database
from service.platform.errors import NotFoundError
from service.platform.setting_texts import is_loopback
from service.platform.settings import Settings

_YEARS_MAX_S = 173 * 366 * 86_400
_LATEST_YEAR = 2199


class TokenOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom a token shall be for. An operator's `scope` names scopes with spaces; default all."""

    subject: Annotated[str, Meta(min_length=1, max_length=255)]
    role: Literal["participant", "operator"]
    scope: Annotated[str, Meta(max_length=1_000)] = " ".join(SCOPES)


class Token(Struct, frozen=True):
    """A token for the header Authorization: Bearer; a participant also learns the own id."""

    access_token: str
    participant_id: UUID | UnsetType = UNSET


class ClockMove(Struct, frozen=True, forbid_unknown_fields=True):
    """How far, or to when, the clock shall move: one of the two."""

    advance_s: Annotated[int, Meta(ge=-_YEARS_MAX_S, le=_YEARS_MAX_S)] | None = None
    now: Time | None = None


class ClockReading(Struct, frozen=True):
    """The programme's time."""

    now: Time


@post("/v1/dev/token", "public", body=TokenOrder)
async def make_development_token(request: Request) -> Token:
    """Make a token for anybody; it holds for 24 hours. In development mode only."""
    _require_this_machine(request)
    order = await read_body(request, TokenOrder)
    scopes = tuple(order.scope.split()) if order.role == "operator" else ()
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        text, scopes_all = "{scope} is no scope; there are: {all}", ", ".join(SCOPES)
        raise fault("#/scope", text, "/scope:", scope=unknown[0], all=scopes_all)
    clock, issuer = shared(request, Clock), shared(request, DevelopmentIssuer)
    token = issuer.sign(order.role, order.subject, scopes, clock.real_now())
    if order.role == "operator":
        return Token(token)
    database, secret = shared(request, Database), shared(request, Settings).secret_key
    iss = issuer_of("participant")
    participant_id = await resolve_participant(database, secret, iss, order.subject, clock.now())
    return Token(token, participant_id)


@get("/v1/dev/clock", "public")
async def read_clock(request: Request) -> ClockReading:
    """Tell the programme's time. In development mode only."""
    _require_this_machine(request)
    return ClockReading(shared(request, Clock).now())


@post("/v1/dev/clock", "public", body=ClockMove)
async def move_clock(request: Request) -> ClockReading:
    """Move the programme's clock forward for all processes. In development mode only."""
    _require_this_machine(request)
    move = await read_body(request, ClockMove)
    clock = shared(request, Clock)
    if (move.advance_s is None) == (move.now is None):
        raise fault("#", "needs either advance_s or now")
    by = timedelta(seconds=move.advance_s or 0)
    if move.advance_s is not None and (clock.now() + by).year > _LATEST_YEAR:
        raise fault("#/advance_s", "must not lead beyond the year {year}", year=_LATEST_YEAR)
    async with shared(request, Database).transaction() as connection:
        await clock.move(connection, move.now or by)
    return ClockReading(clock.now())


def _require_this_machine(request: Request) -> None:
    """Answer 404 to other machines, and to pages of a browser that reached us by another name."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    client = request.scope.get("client")
    if not is_loopback(host) or (client is not None and not is_loopback(client[0])):
        raise NotFoundError
