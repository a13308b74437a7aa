"""Loads: raw HTTP/1.1 over keep-alive connections, as cheap as Python can.

In a closed loop each connection asks again when it is answered, in an open one a timetable says
when requests are due, and what is late has waited since then.

The client shares the machine with the server, so every microsecond here is taken from what is
measured: requests are rendered beforehand and answers are parsed no further than their length.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
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

    `lost` counts requests whose connection was closed before their answer, and those that became
    due when all of them were. A pause is a time
    without any answer, though somebody waited for one.
    """

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    sample: bytes = b""
    lost: int = 0
    answered_at: float = 0.0
    longest_pause_s: float = 0.0

    def add(self, answer: bytes, since: float) -> None:
        """Another answer, to a request that was waited for since then."""
        now = time.perf_counter()
        self.latencies_s.append(now - since)
        self.longest_pause_s = max(self.longest_pause_s, now - max(self.answered_at, since))
        self.answered_at = now
        status = int(answer[9:12])
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.sample = self.sample or answer

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
    """One connection with at most one request under way; when there is none, `when_free` acts."""

    def __init__(self, when_free: "Callable[[_Connection], None]") -> None:
        self.when_free = when_free
        self.load, self.since, self.is_waiting = Load(), 0.0, False
        self.buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.when_free(self)

    def send(self, request: bytes, load: Load, since: float) -> None:
        """Send a request; whoever waits for its answer has done so since then."""
        self.load, self.since, self.is_waiting = load, since, True
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
        self.load.add(self.buffer, self.since)
        self.buffer = b""
        self.is_waiting = False
        self.when_free(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.load.lost += self.is_waiting
        if not self.done.done():
            self.done.set_result(None)


async def _connect(
    port: int, handlers: Iterable[Callable[[_Connection], None]]
) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    return [
        (await loop.create_connection(partial(_Connection, handler), "127.0.0.1", port))[1]
        for handler in handlers
    ]


async def run_load(port: int, sources: Sequence[Source], seconds: float) -> Load:
    """Keep one request of each source under way for this long, each on its own connection.

    A source that gives b"" has none left. Raises TimeoutError when something is never answered.
    """
    load = Load()
    began = time.perf_counter()

    def keep_asking(source: Source) -> Callable[[_Connection], None]:
        def ask(connection: _Connection) -> None:
            now = time.perf_counter()
            request = source() if now < began + seconds else b""
            if request:
                connection.send(request, load, now)
            else:
                connection.transport.close()

        return ask

    connections = await _connect(port, map(keep_asking, sources))
    async with asyncio.timeout(seconds + _PATIENCE_S):
        await asyncio.gather(*(connection.done for connection in connections))
    load.seconds = time.perf_counter() - began
    return load


async def run_schedule(
    port: int, mix: Sequence[tuple[str, Source]], rate: float, seconds: float, connections: int
) -> dict[str, Load]:
    """Let so many requests a second become due, of each of the mix in turn, whatever is answered.

    What is due while all connections are under way is sent on the next that is free, and has waited
    since then. The loads by name; raises TimeoutError when something is never answered.
    """
    loads = {name: Load() for name, _ in mix}
    due: deque[tuple[str, Source, float]] = deque()
    free: list[_Connection] = []
    is_over = False

    def take_next(connection: _Connection) -> None:
        if connection.done.done():
            return  # The server hung up meanwhile.
        if due:
            name, source, since = due.popleft()
            connection.send(source(), loads[name], since)
        elif is_over:
            connection.transport.close()
        else:
            free.append(connection)

    opened = await _connect(port, [take_next] * connections)
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        at = began + number / rate
        if (early_s := at - time.perf_counter()) > 0:
            await asyncio.sleep(early_s)
        # Timers are of whole milliseconds, and may come a little early.
        due.append((*mix[number % len(mix)], min(at, time.perf_counter())))
        while free and due:
            take_next(free.pop())
    is_over = True
    for connection in free:
        connection.transport.close()
    async with asyncio.timeout(_PATIENCE_S):
        await asyncio.gather(*(connection.done for connection in opened))
    for name, _, _ in due:
        loads[name].lost += 1
    for load in loads.values():
        load.seconds = time.perf_counter() - began
    return loads


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
