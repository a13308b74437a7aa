"""Public answers that seldom change: 304 to whoever has them, compressed for whoever reads gzip.

Nothing of a person comes here: the length of what is compressed tells of its content, so that
somebody who may put words beside a secret could find it out.
"""

import gzip
import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

from service.http.answer import JsonAnswer
from service.http.shared import AnyRequest

# A header of a shorter one costs more than it saves.
_PACKED_MIN_BYTES = 1_000
_KEPT = 64
_GZIP = re.compile(rb"(?:^|,)\s*gzip\s*(?:$|,|;\s*q=(?!0(?:\.0*)?\s*(?:$|,)))", re.IGNORECASE)

Headers = Sequence[tuple[bytes, bytes]]


def public_answer(
    request: AnyRequest,
    body: bytes,
    *,
    headers: Headers = (),
    media_type: bytes = b"application/json",
    tagged: bytes | None = None,
) -> JsonAnswer:
    """This body, or 304. `tagged` is what must be the same, if that is not all of the body."""
    tag = _tag_of(body if tagged is None else tagged)
    asked = dict(request.scope["headers"])
    told = [(b"etag", tag), (b"cache-control", b"no-cache"), (b"vary", b"Accept-Encoding")]
    told += headers
    known = asked.get(b"if-none-match", b"").strip()
    if known == b"*" or tag.removeprefix(b"W/") in known:
        answer = JsonAnswer(304, b"")
        answer.headers = told
        return answer
    if len(body) >= _PACKED_MIN_BYTES and _GZIP.search(asked.get(b"accept-encoding", b"")):
        body = _packed(body)
        told.append((b"content-encoding", b"gzip"))
    answer = JsonAnswer(200, body, media_type=media_type)
    answer.headers += told
    return answer


@lru_cache(maxsize=_KEPT)
def _tag_of(body: bytes) -> bytes:
    # Weak: packed or not, it is the same.
    return b'W/"%s"' % sha256(body).hexdigest()[:32].encode()


@lru_cache(maxsize=_KEPT)
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)
