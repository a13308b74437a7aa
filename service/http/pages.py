"""Pages of lists: what a caller may ask, and cursors that only this service can make."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from types import GenericAlias
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from service.http.access import Request
from service.http.answer import Listing
from service.http.decode import read_query
from service.http.faults import fault
from service.http.shared import shared
from service.platform.settings import Settings

T = TypeVar("T")

_TAG_BYTES = 16


class Page(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The query of a list: how many, and where the last page ended."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=512)] | None = None


class Paged(Struct, frozen=True):
    """The page that a request asks for: of a list that runs by these `members` of its items.

    `after` is where the last page ended: the value of one member, a tuple of several, or None.
    """

    secret: str
    kind: str
    members: tuple[str, ...]
    limit: int
    after: Any

    @property
    def rows(self) -> int:
        """How many to read: one more than are shown tells whether another page follows."""
        return self.limit + 1

    def cursor(self, key_values: Sequence[Any]) -> str:
        """The cursor behind an item with these values.

        Its tag ties it to list and filters, so that a cursor of one is none of another.
        """
        payload = msgspec.msgpack.encode(list(key_values))
        sent = _tag(self.secret, self.kind, payload) + payload
        return base64.urlsafe_b64encode(sent).decode().rstrip("=")

    def listing(self, items: list[T], keys: Sequence[Sequence[Any]] | None = None) -> Listing[T]:
        """The page of what was read; `keys` are the values of the items that do not show them."""
        if len(items) <= self.limit:
            return Listing(items)
        last = self.limit - 1
        told = keys[last] if keys else [getattr(items[last], name) for name in self.members]
        return Listing(items[: self.limit], self.cursor(told))


def paged(request: Request, kind: str, query: Page | None = None, /, **members: type) -> Paged:
    """What `query`, or the query of this request, asks of a list that runs by these members.

    `kind` names the list with its filters. Raises InvalidRequestError.
    """
    page = query or read_query(request, Page)
    secret, after = shared(request, Settings).secret_key, None
    if page.cursor:
        after = _read(secret, kind, page.cursor, GenericAlias(tuple, (*members.values(),)))
        after = after if len(after) > 1 else after[0]
    return Paged(secret, kind, (*members,), page.limit, after)


def _read(secret: str, kind: str, text: str, key_type: Any) -> Any:
    """The values of a cursor. Raises InvalidRequestError for one that this list did not give."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        tag, payload = data[:_TAG_BYTES], data[_TAG_BYTES:]
        if hmac.compare_digest(tag, _tag(secret, kind, payload)):
            return msgspec.msgpack.decode(payload, type=key_type)
    except (binascii.Error, ValueError):
        pass
    raise fault("#/query/cursor", "must be the next_cursor of a page of this list")


def _tag(secret: str, kind: str, payload: bytes) -> bytes:
    message = b"cursor\0" + kind.encode() + b"\0" + payload
    return hmac.digest(secret.encode(), message, hashlib.sha256)[:_TAG_BYTES]
