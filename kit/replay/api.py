"""The API as a client of the network sees it: slow, away for a while, back again."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
import msgspec

CONNECTIONS = 16
PATIENCE_S = 30.0

_TIMEOUT_S = 30.0
_PAUSE_S = 0.1
_PAUSE_MAX_S = 2.0
_BOARD_TRIES = 40
_BOARD_PAUSE_S = 0.25
# Answers of a part that is away, or busy: the same request again is right.
_PASSING = frozenset({429, 502, 503, 504})


class ApiError(Exception):
    """The API does not answer, or not as it should; the message is one line."""


class Api:
    """Sends a request until it is answered, for as long as patience lasts.

    Whatever is sent here may be sent twice: a lost answer tells nothing of what was stored.
    """

    def __init__(self, client: httpx.AsyncClient, patience_s: float) -> None:
        """Use `open_api`."""
        self._client = client
        self._patience_s = patience_s
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def get(self, path: str, token: str = "") -> dict[str, Any]:
        """The answer's members. Raises ApiError unless it is a success."""
        return members_of(await self.send("GET", path, token=token))

    async def post(self, path: str, body: object = None, token: str = "") -> dict[str, Any]:
        """The answer's members. Raises ApiError unless it is a success."""
        content = None if body is None else msgspec.json.encode(body)
        return members_of(await self.send("POST", path, token=token, content=content))

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Any answer but that of an API that is away. Raises ApiError when patience is over."""
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        if content is not None:
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        deadline = time.monotonic() + self._patience_s
        pause_s = _PAUSE_S
        while True:
            try:
                async with self._turns:
                    response = await self._client.request(
                        method, path, headers=sent, content=content
                    )
            except httpx.TransportError as error:
                said = str(error) or type(error).__name__
            else:
                if response.status_code not in _PASSING:
                    return response
                said = f"status {response.status_code}"
            if time.monotonic() + pause_s > deadline:
                raise ApiError(
                    f"{self._client.base_url} does not serve {method} {path}"
                    f" for {self._patience_s:g} s ({said})."
                )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)


async def read_board(api: Api, token: str, board: str, limit: int) -> dict[str, Any]:
    """The head of a board, of all time, once it shows what is booked by now. Raises ApiError.

    A board is a view that follows a moment later: what it shows after some seconds is taken.
    """
    now = datetime.fromisoformat((await api.get("/v1/dev/clock"))["now"])
    for _ in range(_BOARD_TRIES):
        page = await api.get(f"/v1/leaderboards/{board}?period=all&limit={limit}", token)
        if datetime.fromisoformat(page["as_of"]) >= now:
            break
        await asyncio.sleep(_BOARD_PAUSE_S)
    return page


@asynccontextmanager
async def open_api(url: str, patience_s: float = PATIENCE_S) -> AsyncIterator[Api]:
    """An API at this address; no proxy of the environment stands before it."""
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(
        base_url=url, timeout=_TIMEOUT_S, limits=limits, trust_env=False
    ) as client:
        yield Api(client, patience_s)


def members_of(response: httpx.Response) -> dict[str, Any]:
    """The members of a successful answer. Raises ApiError with the problem of any other."""
    members = _json_of(response)
    if response.is_success:
        return members
    request = response.request
    said = members.get("detail") or members.get("code") or "no problem document"
    raise ApiError(
        f"{request.method} {request.url} was answered with {response.status_code}: {said}"
    )


def _json_of(response: httpx.Response) -> dict[str, Any]:
    try:
        members = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return {}
    return members if isinstance(members, dict) else {}
