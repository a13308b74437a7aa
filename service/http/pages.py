"""Pages of lists: what a caller may ask, and cursors that only this service can make."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from service.http.faults import fault

_TAG_BYTES = 16


class Page(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The query of a list: how many, and where the last page ended."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=512)] | None = None


def encode_cursor(secret: str, kind: str, key_values: Sequence[Any]) -> str:
    """A cursor behind the row with these sort key values; `kind` names the list with its filters.

    The tag ties it to list and filters, so that a cursor of one is none of another.
    """
    payload = msgspec.msgpack.encode(list(key_values))
    return base64.urlsafe_b64encode(_tag(secret, kind, payload) + payload).decode().rstrip("=")


def decode_cursor(secret: str, kind: str, text: str, key_type: Any = list[Any]) -> Any:
    """The sort key values of a cursor, as `key_type`: a tuple type such as tuple[datetime, UUID].

    Raises InvalidRequestError for a cursor that this list did not give.
    """
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
