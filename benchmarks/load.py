"""A bounded closed-loop load: raw HTTP/1.1 over keep-alive connections, as cheap as Python can.

The client shares the machine with the server, so every microsecond here is taken from what is
measured: requests are rendered beforehand and answers are parsed no further than their length.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

Source = Callable[[], bytes]
"""What gives the next request of a connection."""

# Whoever does not answer for so long never will.
_PATIENCE_S = 60


@dataclass(slots=True)
class Load:
    """What a run measured: answers by status, and each request's latency in seconds.

    `lost` counts requests whose connection was closed before their answer.
    """

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    sample: bytes = b""
    lost: int = 0

    @property
    def per_second(self) -> float:
        """Good answers a second: a refusal is quick."""
        return sum(n for status, n in self.statuses.items() if status < 300) / self.seconds

    @property
    def wrong(self) -> dict[str, int]:
        """How many answers there were that nobody wants, by status."""
        found = {str(status): n for status, n in self.statuses.items() if status >= 300}
        return found | ({"lost": self.lost} if self.lost else {})

    def percentile_ms(self, percent: float) -> float:
        """A latency percentile in milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000


class _Connection(asyncio.Protocol):
    """One connection that always has exactly one request under way."""

    def __init__(self, load: Load, next_request: Source, ends_at: float) -> None:
        self.load = load
        self.next_request = next_request
        self.ends_at = ends_at
        self.sent_at = 0.0
        self.is_waiting = False
        self.buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._send()

    def _send(self) -> None:
        request = self.next_request()
        if not request:
            self.transport.close()
            return
        self.is_waiting = True
        self.sent_at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        load = self.load
        load.latencies_s.append(now - self.sent_at)
        status = int(head[9:12])
        load.statuses[status] = load.statuses.get(status, 0) + 1
        if not load.sample:
            load.sample = self.buffer
        self.buffer = b""
        self.is_waiting = False
        if now < self.ends_at:
            self._send()
        else:
            self.transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.load.lost += self.is_waiting
        if not self.done.done():
            self.done.set_result(None)


async def run_load(port: int, sources: Sequence[Source], seconds: float) -> Load:
    """Keep one request of each source under way for this long, each on its own connection.

    A source that gives b"" has none left. Raises TimeoutError when something is never answered.
    """
    load = Load()
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    connections = [
        (
            await loop.create_connection(
                partial(_Connection, load, source, began + seconds), "127.0.0.1", port
            )
        )[1]
        for source in sources
    ]
    async with asyncio.timeout(seconds + _PATIENCE_S):
        await asyncio.gather(*(connection.done for connection in connections))
    load.seconds = time.perf_counter() - began
    return load


def post_request(
    path: str,
    body: bytes,
    headers: Sequence[tuple[str, str]] = (),
    media_type: str = "application/json",
) -> bytes:
    """The bytes of a POST with a JSON body."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {media_type}"]
    lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def get_request(path: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """The bytes of a GET."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode()
