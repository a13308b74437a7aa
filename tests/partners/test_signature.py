"""Signatures: what the reference clients sign is verified, and nothing else."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kit.partner.signing import read_private_key, sign_ed25519, sign_hmac, signed_headers
from service.partners.signature import (
    HeaderError,
    KeyTextError,
    public_text,
    read_public_key,
    read_secret,
    read_stamp,
    secret_text,
    verify,
)

SECRET = bytes(range(32))
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
BODY = b'{"specversion":"1.0"}'


def stamp_of(headers):
    return read_stamp([(name.encode(), value.encode()) for name, value in headers.items()])


def test_the_published_example_is_verified():
    # From the Standard Webhooks specification.
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    key = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert verify(stamp_of(headers), b'{"test": 2432232314}', [key]) == 0


def test_both_kinds_are_verified_and_the_key_is_told():
    keys = [b"another secret of some length....", PRIVATE.public_key(), SECRET]
    now = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp())
    shared = signed_headers("msg_1", now, [sign_hmac(SECRET, "msg_1", now, BODY)])
    assert verify(stamp_of(shared), BODY, keys) == 2
    asymmetric = signed_headers("msg_1", now, [sign_ed25519(PRIVATE, "msg_1", now, BODY)])
    assert verify(stamp_of(asymmetric), BODY, keys) == 1


def test_one_of_several_signatures_is_enough():
    entries = [
        "v7,c29tZXRoaW5n",
        sign_hmac(b"an old secret", "m", 1, BODY),
        sign_hmac(SECRET, "m", 1, BODY),
    ]
    assert verify(stamp_of(signed_headers("m", 1, entries)), BODY, [SECRET]) == 0


def test_what_stands_behind_the_eighth_is_not_looked_at():
    wrong = [sign_hmac(b"an old secret", "m", 1, BODY)] * 8
    headers = signed_headers("m", 1, [*wrong, sign_hmac(SECRET, "m", 1, BODY)])
    assert verify(stamp_of(headers), BODY, [SECRET]) is None


@pytest.mark.parametrize(
    ("message_id", "timestamp", "body"), [("n", 1, BODY), ("m", 2, BODY), ("m", 1, BODY + b" ")]
)
def test_whatever_is_changed_breaks_the_signature(message_id, timestamp, body):
    entries = [sign_hmac(SECRET, "m", 1, BODY), sign_ed25519(PRIVATE, "m", 1, BODY)]
    stamp = stamp_of(signed_headers(message_id, timestamp, entries))
    assert verify(stamp, body, [SECRET, PRIVATE.public_key()]) is None


def test_nobody_has_no_keys():
    stamp = stamp_of(signed_headers("m", 1, [sign_hmac(bytes(32), "m", 1, BODY)]))
    assert verify(stamp, BODY, []) is None


def test_keys_are_written_and_read():
    assert read_secret(secret_text(SECRET)) == SECRET
    assert read_public_key(public_text(PUBLIC)) == PUBLIC
    seed = base64.b64encode(PRIVATE.private_bytes_raw()).decode()
    assert read_private_key(f"whsk_{seed}").public_key().public_bytes_raw() == PUBLIC


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_!!!!", "whsec_" + "A" * 16, "whsec_" + "A" * 100, "whsec_ä"]
)
def test_what_is_no_secret_is_refused(text):
    with pytest.raises(KeyTextError):
        read_secret(text)


def test_a_missing_header_is_named():
    with pytest.raises(HeaderError, match="webhook-id"):
        read_stamp([])
