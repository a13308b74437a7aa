"""What happens to every request: an id, authentication, headers, and one form for all errors."""

import random
import re
from time import perf_counter
from typing import Any

import litestar
import structlog
from litestar.enums import HttpMethod, ScopeType
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Histogram

from service.http.access import Access
from service.http.auth import Authenticator, require_access
from service.http.decode import UUID_TEXT, NoFields, read_query
from service.http.problems import problem_body, reader_of
from service.http.rate_limit import Limit, RateLimitedError, RateLimiter, client_address
from service.http.shared import AnyRequest, headers_of, shared
from service.http.unread_body import discard
from service.platform.clock import Clock
from service.platform.database import has_stored, is_outdated_plan, is_passing
from service.platform.errors import (
    PROBLEM_JSON,
    BookClosedError,
    MalformedRequestError,
    NotFoundError,
    SaxaulError,
    UnauthenticatedError,
    UnavailableError,
)
from service.platform.ids import derived_uuid
from service.platform.metrics import REQUEST_SECONDS
from service.platform.redis_client import REDIS_AWAY
from service.platform.settings import Settings

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{8,64}")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = structlog.get_logger(__name__)


class MethodNotAllowedError(SaxaulError):
    """The address is right, the method is not."""

    code = "method-not-allowed"
    text = "See the header Allow for the methods of this address."


class InternalError(SaxaulError):
    """Our fault; what exactly stands in the log beside the request's id."""

    code = "internal-error"
    text = "The service failed; its operators find this request by its instance."


class Edge:
    """Gives each request its id, and each answer the headers that all answers have.

    It stands outside of Litestar's router, so that unknown paths pass here too.
    """

    def __init__(self, app: ASGIApp, shared: dict[type, Any], *, access_log: bool) -> None:
        """`shared` are the objects of this process, there before its first request."""
        self._app = app
        self._shared = shared
        self._access_log = access_log
        self._durations: dict[tuple[Any, ...], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if "//" in path or (path.endswith("/") and path != "/"):
            # The router would not mind; but each thing has one address.
            scope["loose_path"] = True  # type: ignore[typeddict-unknown-key]
        if scope["method"] == "HEAD":
            # What GET would answer, without the body: no route has to think of it.
            scope["method"], send = HttpMethod.GET, _without_body(send)
        began_s = perf_counter()
        has_stored.set(False)
        request_id = _request_id(scope["headers"])
        scope["request_id"] = request_id  # type: ignore[typeddict-unknown-key]
        scope["shared"] = self._shared  # type: ignore[typeddict-unknown-key]
        # What is counted when the caller went away before there was an answer.
        status = 499

        async def send_with_headers(message: Message) -> None:
            if scope.get("runs_again"):
                return
            if message["type"] == "http.response.start":
                nonlocal status
                status = message["status"]
                if status >= 400:
                    await discard(scope, receive)
                headers: list[Any] = message["headers"]  # type: ignore[assignment]
                headers.append((b"x-request-id", request_id.encode()))
                headers.append((b"x-content-type-options", b"nosniff"))
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                headers.extend(scope.get("rate", ()))  # type: ignore[arg-type]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
            if scope.get("runs_again"):
                scope["runs_again"] = False  # type: ignore[typeddict-unknown-key]
                await self._app(scope, receive, send_with_headers)
        finally:
            self._count(scope, status, perf_counter() - began_s)

    def _count(self, scope: Any, status: int, took_s: float) -> None:
        # Only templates are labels: an unknown path would be a new one each time.
        labels = (scope["method"], scope.get("path_template", ""), status)
        duration = self._durations.get(labels)
        if duration is None:
            method = labels[0] if labels[0] in _METHODS else "_OTHER"
            duration = REQUEST_SECONDS.labels(method, labels[1], status)
            if method is labels[0]:
                self._durations[labels] = duration
        duration.observe(took_s)
        if self._access_log:
            _log.info(
                "request",
                method=labels[0],
                route=labels[1],
                status=status,
                duration_ms=round(took_s * 1000, 2),
                request_id=scope["request_id"],
            )


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message["body"] = b""
        await send(message)

    return send_head


def _request_id(headers: Any) -> str:
    """The caller's X-Request-Id when it is a plain one, else a new UUID."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    # No secret: the generator need not be a cryptographic one.
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


async def authenticate(request: AnyRequest) -> None:
    """Let pass who may use this route. Raises UnauthenticatedError, ForbiddenError."""
    scope: Any = request.scope
    if "loose_path" in scope:
        raise NotFoundError
    access: Access | None = scope["route_handler"].opt.get("access")
    if access is None or access.role == "public":
        # Without access it is Litestar's own answer to OPTIONS; a test walks all other routes.
        # Whoever watches over this process must not be told that it is busy.
        if not scope["path"].startswith(("/health/", "/metrics")):
            await limit_address(request)
        _refuse_query(request, access)
        return
    if access.role == "partner":
        # Its body is signed, and is read by the route.
        return
    sent = [value for name, value in scope["headers"] if name == b"authorization"]
    # None is as good as two.
    header = sent[0] if len(sent) == 1 else b""
    try:
        credentials = await shared(request, Authenticator).credentials(
            header, shared(request, Clock).real_now()
        )
    except UnauthenticatedError:
        await limit_address(request)
        raise
    if credentials.participant is not None:
        participants = shared(request, RateLimiter).participant
        await _limit(request, participants, credentials.participant.hex)
    require_access(credentials, role=access.role, scope=access.scope)
    _refuse_query(request, access)
    scope["auth"] = credentials


def _refuse_query(request: AnyRequest, access: Access | None) -> None:
    """Raise InvalidRequestError for a query where the route reads none; pages for people may."""
    scope = request.scope
    is_read = access is None or access.query is not None or not scope["path"].startswith("/v1/")
    if scope["query_string"] and not is_read:
        read_query(request, NoFields)


async def limit_partner(request: AnyRequest, partner_id: str) -> None:
    """Count a signed request of this partner. Raises RateLimitedError."""
    await _limit(request, shared(request, RateLimiter).partner, partner_id)


async def _limit(request: AnyRequest, limit: Limit, who: str) -> None:
    scope: Any = request.scope
    limiter, is_write = shared(request, RateLimiter), scope["method"] != "GET"
    scope["rate"] = await limiter.take(limit, who, is_write=is_write)


async def limit_address(request: AnyRequest) -> None:
    """Count a request without credentials, or of a stranger. Raises RateLimitedError."""
    client: Any = request.scope.get("client")
    named = headers_of(request, b"x-forwarded-for")
    forwarded = [hop.strip() for header in named for hop in header.split(",")]
    peer = client[0] if client else None
    address = client_address(peer, forwarded, shared(request, Settings).trusted_proxies)
    await _limit(request, shared(request, RateLimiter).address, address)


def render(request: AnyRequest, error: Exception) -> litestar.Response[bytes]:
    """Any exception as a problem document."""
    told = _told(error)
    scope: Any = request.scope
    request_id: str = scope["request_id"]
    if is_outdated_plan(error) and not has_stored.get() and "runs_again" not in scope:
        # The request did nothing yet: it is served again, and this answer is not sent.
        scope["runs_again"] = True
        _log.info("request_runs_again", request_id=request_id, error=repr(error))
    instance = (
        request_id
        if UUID_TEXT.fullmatch(request_id)
        else str(derived_uuid(b"request", request_id.encode()))
    )
    if isinstance(told, InternalError):
        _log.error("request_failed", request_id=request_id, instance=instance, exc_info=error)
    elif isinstance(told, UnavailableError):
        cause = repr(error.__cause__ or error)
        _log.warning("request_unavailable", request_id=request_id, error=repr(error), cause=cause)
    if isinstance(error, BookClosedError):
        shared(request, Authenticator).drop(error.participant_id)
    reader = reader_of(request)
    headers = dict(told.headers) if isinstance(told, RateLimitedError) else {}
    if told.retry_after_s is not None:
        headers["Retry-After"] = str(told.retry_after_s)
    if isinstance(told, UnauthenticatedError):
        headers["WWW-Authenticate"] = told.challenge
    if isinstance(error, MethodNotAllowedException):
        headers["Allow"] = (error.headers or {}).get("allow", "")
    body = problem_body(told, reader, f"urn:uuid:{instance}")
    headers |= {name.decode().title(): value.decode() for name, value in reader.headers()}
    return litestar.Response(
        body, status_code=told.status, media_type=PROBLEM_JSON, headers=headers
    )


def _told(error: Exception) -> SaxaulError:
    """What the caller is told of an exception."""
    if isinstance(error, SaxaulError):
        return error
    if isinstance(error, NotFoundException):
        return NotFoundError()
    if isinstance(error, MethodNotAllowedException):
        return MethodNotAllowedError()
    if isinstance(error, HTTPException) and error.status_code < 500:
        return MalformedRequestError(error.detail)
    if is_passing(error) or isinstance(error, REDIS_AWAY):
        return UnavailableError("A part of the service is not available; send the request again.")
    return InternalError()
