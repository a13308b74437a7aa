"""Where bytes become values: bodies, queries, ids and keys of a request, checked before use.

What passes here is well-formed JSON of the asked shape, holds no NUL, and has no time without an
offset; everything else becomes a problem that names the place and what is allowed there.
"""

import hashlib
import inspect
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl
from uuid import UUID

import litestar
import msgspec
from litestar.datastructures import State
from litestar.types import Receive, Scope, Send
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from service.http.auth import Credentials
from service.http.faults import (
    TIME_RULE,
    escaped,
    fault,
    halves_as_nul,
    has_finer_times,
    invalid,
    kept_time,
    kept_times,
    malformed,
    plain_json,
    refuse_nul,
    refuse_twice,
)
from service.http.keys import Answer, Hold, Key, once
from service.http.problems import reader_of
from service.http.shared import shared
from service.http.texts import TextError
from service.platform.acts import Act, Caller
from service.platform.clock import Clock
from service.platform.database import Connection, Database
from service.platform.errors import (
    FieldError,
    MalformedRequestError,
    NotFoundError,
    SaxaulError,
)
from service.platform.ids import derived_uuid
from service.rules.decide.languages import Reader

S = TypeVar("S", bound=Struct)
T = TypeVar("T")

# A time as people send it: RFC 3339 with an offset; `parse` also refuses years outside 2000..2199.
Time = Annotated[datetime, Meta(tz=True)]

_YEARS = range(2000, 2200)
_KEY = re.compile(r"[!-~]{16,128}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_QUERY_FIELDS_MAX = 50


class NoFields(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST that says all by its address: nothing, or `{}`."""


class Listing(Struct, Generic[T], frozen=True):
    """A page of a list. `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None = None


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


class KeyRequiredError(SaxaulError):
    """A request that must be repeatable came without a key."""

    code = "idempotency-key-required"
    text = "Send a header Idempotency-Key of 16 to 128 visible ASCII characters."


class KeyMalformedError(SaxaulError):
    """A key that is too short, too long, or holds other characters."""

    code = "idempotency-key-malformed"
    text = "Idempotency-Key must have 16 to 128 visible ASCII characters."


@dataclass(frozen=True, slots=True)
class Access:
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


def opens(who: str, **told: Any) -> dict[str, Any]:
    """Keyword arguments of a route's decorator: who may use it, and the other fields of `Access`.

    `who` is "public", "participant", "operator:<scope>", or "partner": then the route itself checks
    the signature.
    """
    role, _, scope = who.partition(":")
    roles = {"public", "participant", "operator", "partner"}
    if role not in roles or (role == "operator") != bool(scope):
        raise ValueError(f"no such access: {who}")
    told.setdefault("media", {"application/json": told.get("body")})
    return {"opt": {"access": Access(role, scope, **told)}}


class Request(litestar.Request[Any, Any, State]):
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


async def read_body(request: litestar.Request[Any, Any, State], kind: type[S]) -> S:
    """The body as this struct. Raises the errors of `Request.body` and `parse`."""
    data = await request.body()
    return parse(data if data or _decoder(kind).has_fields else b"{}", kind)


def parse(data: bytes, kind: type[S], at: str = "#") -> S:
    """Decode JSON into a struct; `at` is the pointer of the place where the JSON stands.

    Raises MalformedRequestError for what is no JSON at all, InvalidRequestError with pointers
    for JSON of another shape. Decoding stops at the first fault.
    """
    decoder = _decoder(kind)
    value: S
    if decoder.times and has_finer_times(data):
        data = kept_times(data, decoder.times)
    try:
        if decoder.is_envelope:
            data = halves_as_nul(data)
        elif b"\\u0000" in data:
            refuse_nul(plain_json(data), at)
        value = decoder.decode(data)
        refuse_twice(data, at, deep=not decoder.is_envelope)
    except msgspec.ValidationError as error:
        if decoder.times and (kept := kept_times(data, decoder.times)) != data:
            return parse(kept, kind, at)
        # The decoder may stop at a wrong field before it meets what makes the bytes no JSON.
        raise invalid(str(error), kind, at, plain_json(data)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from error
    if decoder.check is not None and (wrong := next(decoder.check(value, at), None)):
        raise fault(wrong.pointer, wrong.detail)
    return value


def read_query(request: litestar.Request[Any, Any, State], kind: type[S]) -> S:
    """The query as this struct. Raises MalformedRequestError, InvalidRequestError."""
    text = request.scope["query_string"]
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_QUERY_FIELDS_MAX,
        )
    except ValueError as error:
        raise MalformedRequestError("The query is not properly encoded UTF-8.") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise fault(f"#/query/{escaped(name)}", "is given more than once")
        fields[name] = value
    refuse_nul(fields, "#/query")
    for name in _decoder(kind).times & fields.keys():
        fields[name] = kept_time(fields[name])
    try:
        query = msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(str(error), kind, "#/query", fields) from error
    check = _decoder(kind).check
    if check is not None and (wrong := next(check(query, "#/query"), None)):
        raise fault(wrong.pointer, wrong.detail)
    return query


def caller(request: litestar.Request[Any, Any, State]) -> Caller:
    """Who sent this request; only behind routes that are not public."""
    credentials: Credentials = request.scope["auth"]
    return Caller(
        credentials.subject,
        credentials.scopes,
        request.scope["request_id"],  # type: ignore[typeddict-item]
        credentials.participant_id,
    )


def act_of(request: litestar.Request[Any, Any, State]) -> Act:
    """Who acts by this request, and when; only behind routes that are not public."""
    credentials, request_id = request.scope["auth"], request.scope["request_id"]  # type: ignore[typeddict-item]
    return Act(credentials.subject, request_id, shared(request, Clock).now())


def path_uuid(text: str) -> UUID:
    """An id of the path. Raises NotFoundError when it is none."""
    if _UUID.fullmatch(text) is None:
        raise NotFoundError
    return UUID(text)


def idempotency_key(
    request: litestar.Request[Any, Any, State], body_bytes: bytes, *, required: bool = False
) -> Key | None:
    """The key that makes this request repeatable, bare or as a quoted string.

    Its fingerprint covers method, path, query and body. Raises KeyRequiredError,
    KeyMalformedError.
    """
    text = key_text(request)
    if text is None:
        if required:
            raise KeyRequiredError
        return None
    return _key(request, text, caller(request).participant_id, body_bytes)


def operator_key(request: litestar.Request[Any, Any, State], body_bytes: bytes) -> Key | None:
    """The same for an operator, whose keys stand under an id that is nobody's.

    Raises KeyMalformedError.
    """
    text = key_text(request)
    if text is None:
        return None
    owner = derived_uuid(b"keys of an operator", caller(request).subject.encode())
    return _key(request, text, owner, body_bytes)


def _key(
    request: litestar.Request[Any, Any, State], text: str, owner: UUID, body_bytes: bytes
) -> Key:
    scope = request.scope
    digest = hashlib.sha256()
    for part in (scope["method"].encode(), scope["path"].encode(), scope["query_string"]):
        digest.update(len(part).to_bytes(4) + part)
    digest.update(body_bytes)
    route = f"{scope['method']} {scope['path_template']}"
    return Key(owner, route, text, digest.digest(), reader_of(request))


def key_text(request: litestar.Request[Any, Any, State]) -> str | None:
    """The header Idempotency-Key, bare or as a quoted string. Raises KeyMalformedError."""
    values = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    if not values:
        return None
    text = values[0].decode("latin-1").strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if len(values) > 1 or _KEY.fullmatch(text) is None:
        raise KeyMalformedError
    return text


def is_key(text: str) -> bool:
    """Whether this may be an Idempotency-Key."""
    return _KEY.fullmatch(text) is not None


def is_loopback(address: str) -> bool:
    """Whether an address or host name means this machine."""
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class JsonAnswer:
    """An answer whose JSON is rendered already: an ASGI application that only sends it."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes,
        *,
        replayed: bool = False,
        media_type: bytes = b"application/json",
    ) -> None:
        """`replayed` marks the first answer given again."""
        self.status = status
        self.body = body
        self.headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        if replayed:
            self.headers.append((b"idempotency-replayed", b"true"))

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def read_by(
    reader: Reader, content: Struct, status: int = 200, *, replayed: bool = False
) -> JsonAnswer:
    """An answer whose texts were chosen for its reader, which its headers tell."""
    answer = JsonAnswer(status, msgspec.json.encode(content), replayed=replayed)
    answer.headers += reader.headers()
    return answer


def answered(answer: Answer) -> JsonAnswer:
    """The answer of a repeatable request, marked when it is the first answer again."""
    media_type = b"application/json" if answer.status < 400 else b"application/problem+json"
    sent = JsonAnswer(answer.status, answer.body, replayed=answer.replayed, media_type=media_type)
    sent.headers += answer.reader.headers() if answer.reader else []
    return sent


async def answer_once(
    request: litestar.Request[Any, Any, State],
    key: Key | None,
    effect: Callable[[Connection], Awaitable[Struct]],
    *,
    status: int = 200,
    hold: Hold | None = None,
) -> JsonAnswer:
    """What the effect answers, or its first answer again. Raises the errors of `once`."""

    async def encoded(connection: Connection) -> Answer:
        return Answer(status, msgspec.json.encode(await effect(connection)))

    real_now = shared(request, Clock).real_now()
    return answered(await once(shared(request, Database), key, real_now, encoded, hold=hold))


Check = Callable[[Any, str], Iterator[FieldError]]
TextRule = Callable[[str], str]


class _Decoder:
    """A struct's JSON decoder with what msgspec does not check by itself."""

    def __init__(self, kind: type[Struct]) -> None:
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(kind).decode
        self.has_fields = bool(kind.__struct_fields__)
        # Its items are decoded one by one, each with its own faults.
        self.is_envelope = any(_holds_raw(hint) for hint in get_type_hints(kind).values())
        self.check = _check_of(kind)
        self.times = frozenset(_times_of(kind))


def _times_of(hint: Any) -> Iterator[str]:
    """The names of all members that are times, in a value of this type."""
    for inner in get_args(hint):
        yield from _times_of(inner)
    if isinstance(hint, type) and issubclass(hint, Struct):
        hints = get_type_hints(hint, include_extras=True)
        for member in msgspec.structs.fields(hint):
            if _check_of(hints[member.name]) is _check_time:
                yield member.encode_name
            yield from _times_of(hints[member.name])


def _holds_raw(hint: Any) -> bool:
    return hint is msgspec.Raw or any(_holds_raw(inner) for inner in get_args(hint))


@cache
def _decoder(kind: type[Struct]) -> _Decoder:
    return _Decoder(kind)


def _check_of(hint: Any) -> Check | None:
    """What finds times outside the allowed years, and brings texts for others into their form."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _check_of(get_args(hint)[0])
    if hint is datetime:
        return _check_time
    if isinstance(hint, type) and issubclass(hint, Struct):
        hints = get_type_hints(hint, include_extras=True)
        checks = [
            (field.name, field.encode_name, check, _text_rule(hints[field.name]))
            for field in msgspec.structs.fields(hint)
            if (check := _check_of(hints[field.name])) or _text_rule(hints[field.name])
        ]
        return _fields_check(checks) if checks else None
    inner = [check for argument in get_args(hint) if (check := _check_of(argument))]
    if not inner:
        return None
    if origin in {Union, UnionType}:
        return inner[0]
    return _items_check(inner[0])


def _check_time(value: Any, at: str) -> Iterator[FieldError]:
    if isinstance(value, datetime) and value.year not in _YEARS:
        yield FieldError(at, TIME_RULE)


def _text_rule(hint: Any) -> TextRule | None:
    """How this field's text is kept, if its type names a rule of `texts`."""
    for each in getattr(hint, "__metadata__", ()):
        if inspect.isfunction(each):
            return each
    return next(filter(None, map(_text_rule, get_args(hint))), None)


def _fields_check(checks: list[tuple[str, str, Check | None, TextRule | None]]) -> Check:
    def check(value: Any, at: str) -> Iterator[FieldError]:
        if isinstance(value, Struct):
            for name, encoded, inner, rule in checks:
                field = getattr(value, name)
                try:
                    if rule is not None and isinstance(field, str):
                        force_setattr(value, name, rule(field))
                except TextError as error:
                    yield FieldError(f"{at}/{encoded}", error.told)
                if inner is not None:
                    yield from inner(field, f"{at}/{encoded}")

    return check


def _items_check(inner: Check) -> Check:
    def check(value: Any, at: str) -> Iterator[FieldError]:
        entries = value.items() if isinstance(value, dict) else enumerate(value or ())
        for key, item in entries:
            yield from inner(item, f"{at}/{escaped(str(key))}")

    return check
