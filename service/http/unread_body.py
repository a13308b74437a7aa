"""What a client still sends when its request is refused already.

An answer to a client that is not done sending ends in a reset connection, and many clients then
tell their users of a broken pipe instead of the problem document. So the rest is read and thrown
away first, within bounds.
"""

import asyncio
from contextlib import suppress
from typing import Any

from litestar.types import Receive

DISCARDED_MAX = 8 * 1024 * 1024
DISCARDED_S = 2.0


async def discard(scope: Any, receive: Receive) -> None:
    """Read what is left of a refused request's body, unless it is too much or comes too slowly.

    A client that asked by `Expect: 100-continue` has sent nothing yet, and should not begin.
    """
    if scope.get("is_body_read") or not _is_coming(scope["headers"]):
        return
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARDED_S):
            while size <= DISCARDED_MAX:
                message: Any = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _is_coming(headers: Any) -> bool:
    """Whether there is a body, of a bearable length or of none announced, on its way already."""
    is_there = False
    for name, value in headers:
        if name == b"content-length":
            is_there = value.isdigit() and 0 < int(value) <= DISCARDED_MAX
        elif name == b"transfer-encoding":
            is_there = True
        elif name == b"expect":
            return False
    return is_there
