"""Who is refused while still sending gets the answer, not a broken pipe."""

import asyncio
import http.client

import pytest

from service.http import unread_body
from service.http.unread_body import DISCARDED_MAX, discard

JSON = {"Content-Type": "application/json"}
LARGE = b" " * 4_000_000


def refused(port, path, headers):
    """The status and code for a client that sends everything before it reads anything."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", path, body=LARGE, headers=headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.headers["content-type"] == "application/problem+json"
    # What was sent is off the wire, so that the connection can be used for more.
    connection.request("GET", "/v1/program")
    assert connection.getresponse().status == 200
    connection.close()
    return answer.status


@pytest.mark.real_processes
async def test_a_large_body_is_taken_off_the_wire_before_it_is_refused(live_server):
    ask = http.client.HTTPConnection("127.0.0.1", live_server.port, timeout=30)
    ask.request("POST", "/v1/dev/token", b'{"subject":"ann","role":"participant"}', JSON)
    token = ask.getresponse().read().split(b'"access_token":"')[1].split(b'"')[0].decode()
    ask.close()
    known = {"Authorization": f"Bearer {token}"}
    for path, headers, status in [
        ("/v1/me/actions", known | JSON, 413),
        ("/v1/me/actions", JSON, 401),
        ("/v1/me/actions", known | {"Content-Type": "text/plain"}, 415),
        ("/v1/nowhere", known | JSON, 404),
        ("/v1/program", known | JSON, 405),
    ]:
        assert await asyncio.to_thread(refused, live_server.port, path, headers) == status


def sending(*parts):
    """A client that sends these parts of a body and then rests; gives what was read of them."""
    read = []

    async def receive():
        if len(read) == len(parts):
            await asyncio.Event().wait()
        read.append(parts[len(read)])
        return {"type": "http.request", "body": read[-1], "more_body": True}

    return read, receive


def scope_of(**headers):
    named = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return {"headers": named}


async def test_it_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(unread_body, "DISCARDED_S", 0.01)
    read, receive = sending(b"slow")
    await discard(scope_of(content_length="100"), receive)
    assert read == [b"slow"]


async def test_it_does_not_read_for_ever():
    read, receive = sending(*[bytes(1024 * 1024)] * 20)
    await discard(scope_of(transfer_encoding="chunked"), receive)
    assert sum(map(len, read)) == DISCARDED_MAX + 1024 * 1024


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content_length": "0"},
        {"content_length": str(DISCARDED_MAX + 1)},
        {"content_length": "100", "expect": "100-continue"},
    ],
)
async def test_what_is_not_coming_or_too_much_is_not_waited_for(headers):
    read, receive = sending(b"not asked for")
    await discard(scope_of(**headers), receive)
    assert read == []
