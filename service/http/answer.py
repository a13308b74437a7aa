"""Values become bytes: answers whose JSON is rendered once, lists, and answers given again."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec
from litestar.types import Receive, Scope, Send
from msgspec import Struct

from service.http.idempotency import Answer, key_of, once
from service.http.shared import AnyRequest, shared
from service.platform.clock import Clock
from service.platform.database import Connection, Database
from service.rules.decide.languages import Reader

T = TypeVar("T")


class Listing(Struct, Generic[T], frozen=True):
    """A page of a list. `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None = None


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


def as_json(content: Struct) -> JsonAnswer:
    """An answer encoded at once: the framework would look at its type first."""
    return JsonAnswer(200, msgspec.json.encode(content))


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
    request: AnyRequest,
    effect: Callable[[Connection], Awaitable[Struct]],
) -> JsonAnswer:
    """What the effect makes (201), or its first answer again. Raises the errors of `once`."""

    async def encoded(connection: Connection) -> Answer:
        return Answer(201, msgspec.json.encode(await effect(connection)))

    key, real_now = await key_of(request), shared(request, Clock).real_now()
    return answered(await once(shared(request, Database), key, real_now, encoded))
