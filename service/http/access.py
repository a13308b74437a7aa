"""Who may use a route, what goes in and out, and who asks: read by the edge and by OpenAPI."""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct, field

from service.http.auth import Credentials
from service.http.shared import AnyRequest, shared
from service.platform.acts import Act
from service.platform.clock import Clock
from service.platform.database import Database
from service.platform.errors import MalformedRequestError, SaxaulError


class BodyTooLargeError(SaxaulError):
    """More bytes than this caller may send."""

    code = "body-too-large"
    text = "At most {limit_bytes} bytes are accepted here."
    limit_bytes: int


class UnsupportedMediaTypeError(SaxaulError):
    """A body that is not of the asked type, by its headers."""

    code = "unsupported-media-type"
    text = "Send the body as {allowed}, without a content encoding."
    allowed: str = "application/json"


class Access(Struct, frozen=True):
    """Who may use a route, and what goes in and out: read by the edge and by OpenAPI.

    `media` are what its body may be, by media type, if that is not JSON of `body`. `answer` names
    the answer's type where the handler returns a Response; `takes_key` that an operator may repeat
    the request by an Idempotency-Key, as participants may any POST; `is_kept` that whoever has the
    answer is told so (`public_answer`); `problems` are codes beyond those of every such route.
    """

    role: str
    scope: str
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    answer: Any = None
    takes_key: bool = False
    key_required: bool = False
    is_kept: bool = False
    problems: tuple[str, ...] = ()
    media: Mapping[str, Any] = field(default_factory=dict)


def route(
    method: HttpMethod,
    path: str | list[str],
    who: str,
    *,
    status: int = 200,
    operation_id: str | None = None,
    include_in_schema: bool = True,
    **told: Any,
) -> HTTPRouteHandler:
    """Make a function answer this method of a path: `app.py` finds it in any file `routes*.py`.

    `who` may use it is "public", "participant", "operator:<scope>", or "partner": then the function
    itself checks the signature. `told` are the other fields of `Access`. In the API's document the
    operation has the function's name, or else `operation_id`.
    """
    role, _, scope = who.partition(":")
    roles = {"public", "participant", "operator", "partner"}
    if role not in roles or (role == "operator") != bool(scope):
        raise ValueError(f"no such access: {who}")
    told.setdefault("media", {"application/json": told.get("body")})
    return HTTPRouteHandler(
        path,
        http_method=method,
        status_code=status,
        operation_id=operation_id,
        include_in_schema=include_in_schema,
        opt={"access": Access(role, scope, **told)},
    )


get = partial(route, HttpMethod.GET)
post = partial(route, HttpMethod.POST)
patch = partial(route, HttpMethod.PATCH)
delete = partial(route, HttpMethod.DELETE, status=204)


class Request(AnyRequest):
    """A request whose body is bounded by the route's role and is of a type that the route takes."""

    __slots__ = ()

    async def body(self) -> bytes:
        """The whole body. Raises UnsupportedMediaTypeError, BodyTooLargeError."""
        if isinstance(self._body, bytes):
            return self._body
        access: Access = self.route_handler.opt["access"]
        limit: int = self.app.state.body_limits[access.role]
        is_accepted, length = _described(self.scope["headers"], access.media)
        if length and not is_accepted:
            raise UnsupportedMediaTypeError(" or ".join(access.media))
        if length and length > limit:
            raise BodyTooLargeError(limit)
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message: Any = await self.receive()
            if message["type"] == "http.disconnect":
                raise MalformedRequestError("The body ended before it was complete.")
            part = message.get("body", b"")
            more = message.get("more_body", False)
            # When nothing is left, a refusal has nothing to take off the wire.
            self.scope["is_body_read"] = not more  # type: ignore[typeddict-unknown-key]
            size += len(part)
            if size and not is_accepted:
                raise UnsupportedMediaTypeError(" or ".join(access.media))
            if size > limit:
                raise BodyTooLargeError(limit)
            parts.append(part)
        self._body = self._connection_state.body = b"".join(parts)
        return self._body


def _described(headers: Any, media: Mapping[str, Any]) -> tuple[bool, int | None]:
    """Whether the headers promise a type of these, and how many bytes they announce."""
    is_accepted, length = False, None
    for name, value in headers:
        if name == b"content-type":
            is_accepted = is_accepted or media_type(value) in media
        elif name == b"content-length":
            length = int(value) if value.isdigit() else None
        elif name == b"content-encoding" and value.lower() != b"identity":
            return False, length
    return is_accepted, length


@lru_cache(maxsize=256)
def media_type(content_type: bytes) -> str:
    """The value of a header Content-Type without its parameters."""
    return content_type.partition(b";")[0].strip().lower().decode("latin-1")


def caller(request: AnyRequest) -> Credentials:
    """Who sent this request; only behind routes that are not public."""
    credentials: Credentials = request.scope["auth"]
    return credentials


async def log_act(request: AnyRequest, act: str, object_id: object, detail: dict[str, Any]) -> None:
    """Log by itself what an operator looked at, or what was done apart from its entry."""
    async with shared(request, Database).transaction() as connection:
        await act_of(request).log(connection, act, object_id, detail)


def act_of(request: AnyRequest) -> Act:
    """Who acts by this request, and when; only behind routes that are not public."""
    request_id = request.scope["request_id"]  # type: ignore[typeddict-item]
    return Act(caller(request).subject, request_id, shared(request, Clock).now())
