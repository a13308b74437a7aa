"""What benchmarks count with: requests by a timetable, and targets."""

import asyncio
import itertools

import pytest

from benchmarks.load import get_request, run_schedule
from benchmarks.turns import Goal

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
DUE, CONNECTIONS = 40, 3


async def scheduled(*, answers_each: int | None):
    """The paths that were asked for, and the loads; connections end after so many answers."""
    asked = []

    async def serve(reader, writer):
        for number in itertools.count(1):
            request = await reader.read(1_000)
            if not request:
                break
            asked.append(request.split()[1].decode())
            writer.write(ANSWER)
            if number == answers_each:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    mix = [(name, lambda name=name: get_request(f"/{name}")) for name in ("a", "b", "a", "a")]
    port = server.sockets[0].getsockname()[1]
    loads = await run_schedule(port, mix, rate=2_000, seconds=DUE / 2_000, connections=CONNECTIONS)
    server.close()
    return asked, loads


async def test_all_that_became_due_is_answered_each_as_often_as_its_part():
    asked, loads = await scheduled(answers_each=None)
    assert sorted(asked) == ["/a"] * 30 + ["/b"] * 10
    assert {name: load.statuses for name, load in loads.items()} == {"a": {200: 30}, "b": {200: 10}}
    assert not any(load.wrong for load in loads.values())


async def test_what_nobody_answered_is_told_also_when_no_connection_is_left():
    asked, loads = await scheduled(answers_each=4)
    answered = sum(load.statuses[200] for load in loads.values())
    lost = sum(load.wrong["lost"] for load in loads.values())
    assert answered == len(asked) == 4 * CONNECTIONS
    assert answered + lost == DUE


@pytest.mark.parametrize(
    ("figures", "bounds", "is_met"),
    [
        ([0.3, 0.6, 0.7], {"least": 0.55}, True),
        ([0.3, 0.5, 0.7], {"least": 0.55}, False),
        ([1.0, 1.2, 3.0], {"most": 1.2}, True),
        ([0.1, 1.3, 1.4], {"most": 1.2}, False),
    ],
)
def test_the_median_of_the_turns_meets_a_target(figures, bounds, is_met):
    assert Goal("a figure", figures, **bounds).is_met == is_met
