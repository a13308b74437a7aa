"""The floor: a POST that decodes the same body, answers as many bytes, and does nothing else."""

import os

from litestar import Litestar, Request, Response, post

from service.actions.routes import ActionReport
from service.http.decode import parse

_REPLY = b" " * int(os.environ.get("NOOP_REPLY_BYTES", "700"))


@post("/bare")
async def bare(request: Request) -> Response[bytes]:
    """Decode as the real route does: one pass over the bytes, into the same struct."""
    parse(await request.body(), ActionReport)
    return Response(_REPLY, media_type="application/json")


@post("/plain")
async def plain(data: ActionReport) -> Response[bytes]:
    """Decode as the framework does by itself."""
    del data
    return Response(_REPLY, media_type="application/json")


app = Litestar([bare, plain], openapi_config=None, logging_config=None)
