"""Whatever is wrong with a signed request gets its status, and tells nothing of who exists."""

import base64
import json
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.partner.signing import sign_hmac
from tests.partners.sender import BATCH, make_sender

SOME_MAC = base64.b64encode(bytes(32)).decode()
SOME_ED25519 = base64.b64encode(bytes(64)).decode()

# Header, its value (None: not sent), the status.
MALFORMED = [
    ("webhook-id", None, 400),
    ("webhook-id", "", 400),
    ("webhook-id", " ", 400),
    ("webhook-id", "a.b", 400),
    ("webhook-id", "msg 1", 400),
    ("webhook-id", "a" * 65, 400),
    ("webhook-id", "mün", 400),
    ("webhook-id", "a\tb", 400),
    ("webhook-id", "a/b", 400),
    ("webhook-id", "a,b", 400),
    ("webhook-id", "'; DROP TABLE partners; --", 400),
    ("webhook-timestamp", None, 400),
    ("webhook-timestamp", "", 400),
    ("webhook-timestamp", "soon", 400),
    ("webhook-timestamp", "1e9", 400),
    ("webhook-timestamp", "1795291200.5", 400),
    ("webhook-timestamp", "-1795291200", 400),
    ("webhook-timestamp", "+1795291200", 400),
    ("webhook-timestamp", "0x6b0", 400),
    ("webhook-timestamp", "1_795_291_200", 400),
    ("webhook-timestamp", "１７９５２９１２００", 400),
    ("webhook-timestamp", "9" * 13, 400),
    ("webhook-timestamp", "9" * 5_000, 400),
    ("webhook-timestamp", "inf", 400),
    ("webhook-timestamp", "2026-11-21T08:00:00Z", 400),
    ("webhook-timestamp", "0", 401),
    ("webhook-timestamp", "1", 401),
    ("webhook-timestamp", "9" * 12, 401),
    ("webhook-signature", None, 400),
    ("webhook-signature", "", 400),
    ("webhook-signature", " ", 400),
    ("webhook-signature", "v1", 400),
    ("webhook-signature", "v1,", 400),
    ("webhook-signature", f",{SOME_MAC}", 400),
    ("webhook-signature", SOME_MAC, 400),
    ("webhook-signature", f"v1:{SOME_MAC}", 400),
    ("webhook-signature", f"v1={SOME_MAC}", 400),
    ("webhook-signature", "v1,!!!!", 400),
    ("webhook-signature", "v1,AAAA", 400),
    ("webhook-signature", "v1,A", 400),
    ("webhook-signature", "v1,A===", 400),
    ("webhook-signature", f"v1,{SOME_MAC[:-1]}", 400),
    ("webhook-signature", f"v1,{SOME_MAC.replace('A', '-', 1)}", 400),
    ("webhook-signature", f"v1,{SOME_ED25519}", 400),
    ("webhook-signature", f"v1a,{SOME_MAC}", 400),
    ("webhook-signature", f"v1,{SOME_MAC}  v1,{SOME_MAC}", 400),
    ("webhook-signature", f"v1,{SOME_MAC},v1,{SOME_MAC}", 400),
    ("webhook-signature", f"v1,{SOME_MAC} ü", 400),
    ("webhook-signature", f"v1,{'A' * 5_000}", 400),
    ("webhook-signature", " ".join([f"v1,{SOME_MAC}"] * 100), 400),
    ("webhook-signature", f"v1,{SOME_MAC}", 401),
    ("webhook-signature", f"v1a,{SOME_ED25519}", 401),
    ("webhook-signature", f"v2,{SOME_MAC}", 401),
    ("webhook-signature", f"V1,{SOME_MAC}", 401),
    ("webhook-signature", " ".join([f"v1,{SOME_MAC}"] * 9), 401),
    ("content-type", None, 415),
    ("content-type", "", 415),
    ("content-type", "text/plain", 415),
    ("content-type", "application/xml", 415),
    ("content-type", "application/cloudevents+xml", 415),
    ("content-type", "application/cloudevents+json, application/json", 415),
    ("content-type", "application/x-www-form-urlencoded", 415),
    ("content-encoding", "gzip", 415),
    ("content-encoding", "br", 415),
    ("ce-id", "trip-1", 415),
    ("ce-specversion", "1.0", 415),
]


@pytest.fixture
async def metro(operator, name):
    return await make_sender(operator, name)


async def post(sender, headers, body):
    pairs = [(k.encode(), v.encode("utf-8")) for k, v in headers.items() if v is not None]
    path = f"/v1/partners/{sender.id}/events"
    return await sender.client.post(path, headers=pairs, content=body)


def signed_with(sender, body, name, value):
    """A request that is right but for one header; the signature covers what is sent."""
    message_id, at = "msg_1", str(int(time.time()))
    if name == "webhook-id" and value is not None:
        message_id = value
    if name == "webhook-timestamp" and value is not None:
        at = value
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": at,
        "webhook-signature": sign_hmac(sender.secret, message_id, at, body),
        "content-type": BATCH,
    }
    return headers | {name: value}


@pytest.mark.parametrize(("name", "value", "status"), MALFORMED)
async def test_a_header_that_is_wrong(shared_metro, name, value, status):
    body = json.dumps([shared_metro.event("nobody")]).encode()
    answer = await post(shared_metro, signed_with(shared_metro, body, name, value), body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 401:
        assert answer.headers["www-authenticate"] == "Signature"
    assert await shared_metro.parked() == []


@pytest.fixture(scope="module")
async def shared_metro(operator):
    return await make_sender(operator, "headers-metro")


async def test_the_table_is_large_enough():
    assert len(MALFORMED) >= 40


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_a_header_that_comes_twice(shared_metro, name):
    body = b"[]"
    headers = signed_with(shared_metro, body, "content-type", BATCH)
    pairs = [*headers.items(), (name, headers[name])]
    path = f"/v1/partners/{shared_metro.id}/events"
    answer = await shared_metro.client.post(path, headers=pairs, content=body)
    assert answer.status_code == 400


async def test_two_content_types(shared_metro):
    headers = signed_with(shared_metro, b"[]", "content-type", BATCH)
    pairs = [*headers.items(), ("content-type", "application/json")]
    path = f"/v1/partners/{shared_metro.id}/events"
    assert (await shared_metro.client.post(path, headers=pairs, content=b"[]")).status_code == 415


async def test_whoever_asks_what_is_parked_sends_no_body(shared_metro):
    for more in ({"ce-id": "trip-1"}, {"content-encoding": "gzip"}):
        answer = await shared_metro.call("GET", "/parked", b"x", "application/json", more)
        assert answer.status_code == 415
    assert (await shared_metro.call("GET", "/parked", b"x", "text/plain")).status_code == 415


async def test_parameters_of_the_media_type_are_allowed(shared_metro):
    body = json.dumps([shared_metro.event("nobody", source="urn:other")]).encode()
    headers = signed_with(shared_metro, body, "content-type", f"{BATCH}; charset=utf-8")
    assert (await post(shared_metro, headers, body)).status_code == 200


async def test_a_body_that_is_too_large_is_not_looked_at(shared_metro):
    body = b" " * 1_048_577
    unsigned = {"content-type": BATCH}
    assert (await post(shared_metro, unsigned, body)).status_code == 413

    async def parts():
        for _ in range(17):
            yield b" " * 65_536

    path = f"/v1/partners/{shared_metro.id}/events"
    answer = await shared_metro.client.post(path, headers=unsigned, content=parts())
    assert answer.status_code == 413
    fits = b"[" + b" " * 1_048_574 + b"]"
    headers = signed_with(shared_metro, fits, "content-type", BATCH)
    assert (await post(shared_metro, headers, fits)).status_code == 422


async def test_checks_come_in_their_order(shared_metro):
    """Each request is wrong in all that follows, too."""
    large = b"x" * 1_048_577
    assert (await post(shared_metro, {"content-type": "text/plain"}, large)).status_code == 415
    assert (await post(shared_metro, {"content-type": BATCH}, large)).status_code == 413
    assert (await post(shared_metro, {"content-type": BATCH}, b"{")).status_code == 400
    late = {
        "webhook-id": "m",
        "webhook-timestamp": "1",
        "webhook-signature": f"v1,{SOME_MAC}",
        "content-type": BATCH,
    }
    answer = await post(shared_metro, late, b"{")
    assert (answer.status_code, "webhook-timestamp" in answer.text) == (401, True)
    now = late | {"webhook-timestamp": str(int(time.time()))}
    answer = await post(shared_metro, now, b"{")
    assert (answer.status_code, "webhook-timestamp" in answer.text) == (401, False)


@pytest.mark.parametrize(
    ("seconds", "status"), [(-270, 422), (300, 422), (-301, 401), (330, 401), (-86_400, 401)]
)
async def test_time_is_tolerated_five_minutes_either_way(shared_metro, seconds, status):
    answer = await shared_metro.post([], at=int(time.time()) + seconds)
    assert answer.status_code == status


async def test_what_was_signed_may_not_change(shared_metro):
    body = b"[]"
    headers = signed_with(shared_metro, body, "content-type", BATCH)
    assert (await post(shared_metro, headers, b"[ ]")).status_code == 401
    assert (await post(shared_metro, headers | {"webhook-id": "msg_2"}, body)).status_code == 401


async def test_nobody_learns_who_exists(operator, metro, name):
    """An unknown partner, a disabled one and a wrong signature answer the same."""
    disabled = await make_sender(operator, f"off-{name}"[:60])
    path = f"/v1/operator/partners/{disabled.id}"
    assert (await operator.patch(path, {"disabled": True})).status_code == 200
    answers = []
    for partner_id, secret in [
        (metro.id, b"a wrong secret of some length"),
        (disabled.id, disabled.secret),
        ("no-such-partner", metro.secret),
        ("No_Such_Name", metro.secret),
        ("x", metro.secret),
        ("%00", metro.secret),
    ]:
        for suffix, method, media in [
            ("/events", "POST", BATCH),
            ("/links", "POST", "application/json"),
            ("/parked", "GET", None),
        ]:
            body = b"[]" if media else b""
            headers = metro.stamp(body, secret=secret) | ({"content-type": media} if media else {})
            answer = await metro.client.request(
                method, f"/v1/partners/{partner_id}{suffix}", headers=headers, content=body
            )
            told = answer.json()
            del told["instance"]
            shown = {k: v for k, v in answer.headers.items() if k != "x-request-id"}
            shown.pop("content-length")
            answers.append((answer.status_code, told, shown))
    assert all(answer == answers[0] for answer in answers), answers
    assert answers[0][0] == 401


header_text = st.text(alphabet=string.printable.rstrip("\t\n\r\x0b\x0c"), max_size=120)


@settings(max_examples=120)
@given(data=st.data())
async def test_no_header_makes_a_fault_of_ours(shared_metro, data):
    names = ["webhook-id", "webhook-timestamp", "webhook-signature", "content-type"]
    entry = st.builds(
        lambda version, text: f"{version},{text}",
        st.sampled_from(["v1", "v1a", "v2", "", "V1"]),
        st.one_of(st.binary(max_size=70).map(lambda b: base64.b64encode(b).decode()), header_text),
    )
    value = st.one_of(
        header_text,
        st.lists(entry, max_size=10).map(" ".join),
        st.integers().map(str),
        st.floats().map(str),
        st.sampled_from([BATCH, "application/json", str(int(time.time()))]),
    )
    headers = data.draw(st.dictionaries(st.sampled_from(names), value))
    body = data.draw(st.one_of(st.binary(max_size=50), st.just(b"[]")))
    answer = await post(shared_metro, headers, body)
    assert answer.status_code in {400, 401, 415}
    assert answer.headers["content-type"] == "application/problem+json"
