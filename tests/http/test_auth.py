"""Tokens: who is believed, forged ones of every kind, and who may do what."""

import asyncio
import base64
import json
import math
import stat
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.app import create_app, routes
from service.development.issuer import DevelopmentIssuer, NotInDevelopmentError
from service.http.auth import SCOPES, Authenticator, InvalidTokenError, Trust
from service.http.jwks import KeySet, KeysUnavailableError, parse_keys
from service.platform.settings import Settings, SettingsError, load_settings
from service.run.operations import operations
from tests.people import headers_of, served, settings_for, token_of

ISSUER, AUDIENCE = "https://login.example", "saxaul"
PARTICIPANT = uuid.UUID("01980000-0000-7000-8000-00000000000a")
NOW = datetime.now(UTC)


def jwk_of(public_key, algorithm, key_id, **changes):
    jwk = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(public_key))
    return jwk | {"kid": key_id, "alg": algorithm, "use": "sig"} | changes


EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65_537, 2_048)
OTHER = ed25519.Ed25519PrivateKey.generate()
KEYS = {
    "ES256": (EC, jwk_of(EC.public_key(), "ES256", "ec")),
    "EdDSA": (ED, jwk_of(ED.public_key(), "EdDSA", "ed")),
    "RS256": (RSA, jwk_of(RSA.public_key(), "RS256", "rsa")),
}


def jwks(*keys):
    return json.dumps({"keys": list(keys)}).encode()


class Issuer:
    """An issuer's key endpoint over HTTP; it counts its requests."""

    def __init__(self, *keys):
        self.document = jwks(*keys)
        self.status, self.headers, self.requests = 200, {}, 0

    def __call__(self, _request):
        self.requests += 1
        return httpx.Response(self.status, content=self.document, headers=self.headers)

    @asynccontextmanager
    async def keys(self, on_change=None):
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as client:
            yield KeySet("https://login.example/jwks", client, on_change=on_change)


async def resolve(_issuer, _subject):
    return PARTICIPANT


@asynccontextmanager
async def believing(issuer=None, **changes):
    """An authenticator that believes this issuer's participants."""
    issuer = issuer or Issuer(*(jwk for _, jwk in KEYS.values()))
    authenticator = Authenticator(leeway_s=30, resolve=resolve)
    async with issuer.keys(on_change=authenticator.drop_all) as keys:
        authenticator.trust(Trust(ISSUER, AUDIENCE, "participant", keys, **changes))
        yield authenticator


def claims(**changes):
    now = datetime.now(UTC)
    found = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "iat": now,
        "exp": now + timedelta(minutes=5),
        "jti": "1",
        "client_id": "app",
    } | changes
    return {name: value for name, value in found.items() if value is not None}


def signed(payload=None, *, algorithm="EdDSA", key=None, **header):
    private, jwk = KEYS[algorithm]
    headers = {"kid": jwk["kid"], "typ": "at+jwt"} | header
    token = jwt.encode(payload or claims(), key or private, algorithm=algorithm, headers=headers)
    return b"Bearer " + token.encode()


def assembled(header, payload, signature=b""):
    """A token of these parts, whatever they are."""
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode()
        for part in (header, payload, signature)
    ]
    encoded = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return b"Bearer " + b".".join(encoded)


def seconds(payload):
    """Claims with their times as numbers."""
    return {
        name: int(value.timestamp()) if isinstance(value, datetime) else value
        for name, value in payload.items()
    }


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_good_token_is_believed(algorithm):
    async with believing() as authenticator:
        found = await authenticator.credentials(signed(algorithm=algorithm), NOW)
    assert (found.subject, found.realm, found.participant) == (
        "alice",
        "participant",
        PARTICIPANT,
    )


def hmac_with(secret):
    header = {"alg": "HS256", "kid": "rsa", "typ": "at+jwt"}
    encoded = jwt.api_jws.PyJWS().encode(
        json.dumps(seconds(claims())).encode(), b"x" * 32, algorithm="HS256", headers=header
    )
    signing_input = encoded.rpartition(".")[0].encode()
    signature = jwt.get_algorithm_by_name("HS256").sign(signing_input, secret)
    return b"Bearer " + signing_input + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


GOOD_HEADER = {"alg": "EdDSA", "kid": "ed", "typ": "at+jwt"}
PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

FORGED = {
    "another key": lambda: signed(key=OTHER),
    "no signature": lambda: signed().rpartition(b".")[0] + b".",
    "half a signature": lambda: signed()[:-20],
    "another payload": lambda: b".".join(
        [signed().split(b".")[0], signed(claims(sub="bob")).split(b".")[1], signed().split(b".")[2]]
    ),
    "algorithm none": lambda: assembled(GOOD_HEADER | {"alg": "none"}, seconds(claims())),
    "algorithm None": lambda: assembled(GOOD_HEADER | {"alg": "None"}, seconds(claims())),
    "algorithm null": lambda: assembled(GOOD_HEADER | {"alg": None}, seconds(claims())),
    "HMAC with the public key": lambda: hmac_with(PEM),
    "the algorithm of another key": lambda: signed(algorithm="RS256", kid="ec"),
    "an algorithm that is not allowed": lambda: (
        b"Bearer "
        + jwt.encode(
            claims(), RSA, algorithm="RS512", headers={"kid": "rsa", "typ": "at+jwt"}
        ).encode()
    ),
    "an unknown key id": lambda: signed(kid="nobody"),
    "no key id": lambda: assembled({"alg": "EdDSA", "typ": "at+jwt"}, seconds(claims())),
    "a key id that is a number": lambda: assembled(GOOD_HEADER | {"kid": 5}, seconds(claims())),
    "a long key id": lambda: signed(kid="k" * 129),
    "a key of its own": lambda: signed(
        key=OTHER, jwk=jwk_of(OTHER.public_key(), "EdDSA", "ed"), kid="ed"
    ),
    "a key elsewhere": lambda: signed(key=OTHER, jku="https://evil.example/jwks"),
    "a certificate elsewhere": lambda: signed(key=OTHER, x5u="https://evil.example/cert"),
    "an unknown critical header": lambda: signed(crit=["exp"], exp=1),
    "the wrong type": lambda: signed(typ="JWT"),
    "an identity token": lambda: signed(typ="id+jwt"),
    "no type": lambda: assembled({"alg": "EdDSA", "kid": "ed"}, seconds(claims())),
    "another issuer": lambda: signed(claims(iss="https://evil.example")),
    "an issuer with a slash more": lambda: signed(claims(iss=ISSUER + "/")),
    "another audience": lambda: signed(claims(aud="another")),
    "no audience": lambda: signed(claims(aud=None)),
    "an audience that is a number": lambda: assembled(GOOD_HEADER, seconds(claims()) | {"aud": 5}),
    "expired": lambda: signed(claims(exp=datetime.now(UTC) - timedelta(seconds=31))),
    "no expiry": lambda: signed(claims(exp=None)),
    "an expiry that is a text": lambda: signed(seconds(claims()) | {"exp": "tomorrow"}),
    "an infinite expiry": lambda: signed(seconds(claims()) | {"exp": math.inf}),
    "made in the future": lambda: signed(claims(iat=datetime.now(UTC) + timedelta(minutes=2))),
    "no time of making": lambda: signed(claims(iat=None)),
    "not valid yet": lambda: signed(claims(nbf=datetime.now(UTC) + timedelta(minutes=2))),
    "no subject": lambda: signed(claims(sub=None)),
    "an empty subject": lambda: signed(claims(sub="")),
    "a long subject": lambda: signed(claims(sub="s" * 256)),
    "a subject with a NUL": lambda: signed(claims(sub="alice\0")),
    "a subject that is a number": lambda: assembled(GOOD_HEADER, seconds(claims()) | {"sub": 5}),
    "no token id": lambda: signed(claims(jti=None)),
    "no client id": lambda: signed(claims(client_id=None)),
    "too long": lambda: signed(claims(note="x" * 9_000)),
    "two parts": lambda: b"Bearer a.b",
    "five parts": lambda: b"Bearer a.b.c.d.e",
    "not base64": lambda: b"Bearer !!!.???.###",
    "not JSON": lambda: assembled(b"{", b"}", b"x"),
    "a list for a header": lambda: assembled([], seconds(claims())),
    "a list for claims": lambda: assembled(GOOD_HEADER, []),
    "deep claims": lambda: assembled(GOOD_HEADER, b"[" * 5_000),
    "a deep header": lambda: assembled(b'{"a":' * 1_500, seconds(claims())),
    "bytes": lambda: b"Bearer " + bytes(range(128, 256)),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
async def test_a_forged_token_is_not_believed(forge):
    async with believing() as authenticator:
        with pytest.raises(InvalidTokenError):
            await authenticator.credentials(forge(), NOW)


async def test_an_issuer_without_access_token_types_is_believed_when_that_is_set():
    token = signed(claims(jti=None, client_id=None), typ="JWT")
    async with believing(accept_typ=("at+jwt", "JWT")) as authenticator:
        assert (await authenticator.credentials(token, NOW)).subject == "alice"


async def test_a_token_for_several_audiences_is_believed_when_we_are_one():
    async with believing() as authenticator:
        token = signed(claims(aud=["another", AUDIENCE]))
        assert (await authenticator.credentials(token, NOW)).subject == "alice"


async def test_an_issuers_clock_may_differ_a_little():
    async with believing() as authenticator:
        for payload in (
            claims(exp=datetime.now(UTC) - timedelta(seconds=20)),
            claims(iat=datetime.now(UTC) + timedelta(seconds=20)),
        ):
            assert (await authenticator.credentials(signed(payload), NOW)).subject == "alice"


async def test_a_remembered_token_is_not_believed_longer_than_it_holds():
    async with believing() as authenticator:
        await authenticator.credentials(signed(), NOW)
        token = signed(claims(exp=datetime.now(UTC) + timedelta(seconds=10)))
        now = datetime.now(UTC)
        found = await authenticator.credentials(token, now)
        assert found.until <= now + timedelta(seconds=41)
        assert await authenticator.credentials(token, now) is found
        assert await authenticator.credentials(token, found.until) is not found


async def test_keys_are_fetched_once_in_a_while_however_many_key_ids_come():
    issuer = Issuer(KEYS["EdDSA"][1])
    async with issuer.keys() as keys:
        assert await keys.find("ed", NOW) is not None
        await asyncio.gather(*(keys.find(f"random {number}", NOW) for number in range(50)))
        assert issuer.requests == 1
        await asyncio.gather(
            *(keys.find(f"more {number}", NOW + timedelta(seconds=31)) for number in range(50))
        )
        assert issuer.requests == 2


async def test_a_new_key_is_found_and_an_old_one_is_believed_no_more():
    issuer = Issuer(KEYS["EdDSA"][1])
    async with believing(issuer) as authenticator:
        old, new = signed(), signed(algorithm="ES256")
        assert (await authenticator.credentials(old, NOW)).subject == "alice"
        issuer.document = jwks(KEYS["ES256"][1])
        later = NOW + timedelta(seconds=31)
        assert (await authenticator.credentials(new, later)).subject == "alice"
        with pytest.raises(InvalidTokenError):
            await authenticator.credentials(old, later)


async def test_keys_of_an_issuer_that_is_away_hold_for_a_day():
    issuer = Issuer(KEYS["EdDSA"][1])
    async with issuer.keys() as keys:
        await keys.find("ed", NOW)
        issuer.status = 503
        await keys.refresh(NOW + timedelta(minutes=5))
        assert await keys.find("ed", NOW + timedelta(hours=23)) is not None
        with pytest.raises(KeysUnavailableError):
            await keys.find("ed", NOW + timedelta(hours=25))


@pytest.mark.parametrize(
    ("status", "headers", "document"),
    [
        (500, {}, jwks(KEYS["EdDSA"][1])),
        (302, {"Location": "https://evil.example/jwks"}, b""),
        (200, {}, b"<html>"),
        (200, {}, b"[]"),
        (200, {}, b'{"keys": 5}'),
        (200, {}, jwks(KEYS["EdDSA"][1]) + b" " * 300_000),
    ],
    ids=["failing", "redirect", "no JSON", "a list", "no keys", "too large"],
)
async def test_a_bad_answer_of_the_issuer_brings_no_keys(status, headers, document):
    issuer = Issuer()
    issuer.status, issuer.headers, issuer.document = status, headers, document
    async with issuer.keys() as keys:
        with pytest.raises(KeysUnavailableError):
            await keys.find("ed", NOW)


def test_only_public_signing_keys_of_known_kinds_are_used():
    small = rsa.generate_private_key(65_537, 1_024)
    p384 = ec.generate_private_key(ec.SECP384R1())
    private = json.loads(jwt.get_algorithm_by_name("EdDSA").to_jwk(ED))
    document = jwks(
        jwk_of(ED.public_key(), "EdDSA", "good"),
        jwk_of(OTHER.public_key(), "EdDSA", "good"),
        jwk_of(ED.public_key(), "EdDSA", "for encryption", use="enc"),
        jwk_of(RSA.public_key(), "RS256", "other algorithm", alg="RS512"),
        jwk_of(small.public_key(), "RS256", "too small"),
        jwk_of(p384.public_key(), "ES384", "other curve"),
        jwk_of(p384.public_key(), "ES384", "other curve, lying", alg="ES256"),
        private | {"kid": "private"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"},
        {"kty": "RSA", "kid": "broken", "n": 5},
        {"kid": "nothing"},
    )
    found = parse_keys(document)
    assert set(found) == {"good"}
    assert found["good"].public_key == ED.public_key()


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    async with served(settings_for(servers, database_url, home)) as made:
        yield made


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic YWxpY2U6c2VjcmV0"},
        {"Authorization": "nonsense"},
    ],
)
async def test_without_a_token_the_answer_says_which_kind_is_needed(client, headers):
    answer = await client.get("/v1/me", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "unauthenticated"


async def test_two_authorization_headers_are_refused(client):
    token = await token_of(client, "alice")
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert (await client.get("/v1/me", headers=headers)).status_code == 401


async def test_the_scheme_is_read_in_any_case(client):
    headers = {"Authorization": f"bearer {await token_of(client, 'alice')}"}
    assert (await client.get("/v1/me", headers=headers)).status_code == 200


async def test_a_token_in_the_address_is_no_token(client):
    token = await token_of(client, "alice")
    assert (await client.get(f"/v1/me?access_token={token}")).status_code == 401


OPERATIONS = [
    (operation.method, operation.path, operation.access)
    for operation in operations(create_app(Settings()))
]


@pytest.fixture(scope="module")
async def everybody(client):
    """A header for each kind of caller."""
    kinds = {"nobody": {}, "participant": await headers_of(client, "alice")}
    for scope in SCOPES:
        kinds[scope] = await headers_of(client, "olga", "operator", scope=scope)
    kinds["operator without scopes"] = await headers_of(client, "olga", "operator", scope="")
    return kinds


@pytest.mark.parametrize(
    ("method", "path", "access"), OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS]
)
async def test_each_operation_opens_to_its_callers_and_to_no_others(
    client, everybody, method, path, access
):
    if path.startswith("/v1/dev/"):
        return
    for kind, headers in everybody.items():
        # A body that no operation takes: who may come in is decided before it is looked at.
        content = b"[]" if access.body is not None else None
        sent = headers | {"Content-Type": "application/json"}
        answer = await client.request(method, path, content=content, headers=sent)
        opened = access.role == "public" or kind == (access.scope or access.role)
        if access.role == "partner":
            # No token opens it, and none is asked for: the headers of a signature are missing.
            assert answer.json()["code"] == "signature-malformed", (kind, answer.text)
        elif opened:
            assert answer.status_code not in {401, 403, 500}, (kind, answer.text)
        else:
            assert answer.status_code == (401 if kind == "nobody" else 403), (kind, answer.text)


def test_every_route_says_who_may_use_it():
    for handler in routes(development=True):
        assert "access" in handler.opt, handler


async def test_a_missing_scope_is_named(client):
    headers = await headers_of(client, "olga", "operator", scope="audit:read")
    answer = await client.post("/v1/operator/projects", json={}, headers=headers)
    assert (answer.status_code, answer.json()["scope"]) == (403, "planting:write")


async def test_tokens_survive_a_restart_and_their_key_is_private(servers, database_url, tmp_path):
    settings = settings_for(servers, database_url, tmp_path / "home")
    async with served(settings) as client:
        headers = await headers_of(client, "rita")
        first = (await client.get("/v1/me", headers=headers)).json()
    async with served(settings) as client:
        again = (await client.get("/v1/me", headers=headers)).json()
    assert again["participant_id"] == first["participant_id"]
    mode = (settings.home / "development-key.pem").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "saxaul.example"])
async def test_others_can_reach_no_development_interface(servers, database_url, tmp_path, host):
    near = settings_for(servers, database_url, tmp_path)
    async with served(near) as client:
        token = await token_of(client, "alice")
    far = settings_for(servers, database_url, tmp_path, host=host)
    with pytest.raises(NotInDevelopmentError):
        DevelopmentIssuer(far)
    async with served(far) as client:
        assert (
            await client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
        ).status_code == 401
        assert (await client.get("/v1/dev/clock")).status_code == 404
        order = {"subject": "alice", "role": "operator"}
        assert (await client.post("/v1/dev/token", json=order)).status_code == 404


async def test_production_has_no_development_interface(servers, database_url, tmp_path):
    settings = settings_for(servers, database_url, tmp_path, env="production")
    with pytest.raises(NotInDevelopmentError):
        DevelopmentIssuer(settings)
    async with served(settings) as client:
        assert (await client.post("/v1/dev/token", json={})).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "192.0.2.1"])
async def test_a_page_that_reaches_us_by_another_name_gets_no_token(client, host):
    order = {"subject": "alice", "role": "operator"}
    answer = await client.post("/v1/dev/token", json=order, headers={"Host": host})
    assert answer.status_code == 404


def test_one_audience_cannot_stand_for_two_realms():
    issuers = [
        {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": "https://a.example", "realm": realm}
        for realm in ("participant", "operator")
    ]
    with pytest.raises(SettingsError, match="another audience"):
        load_settings({"SAXAUL_AUTH_ISSUERS": json.dumps(issuers)})


def test_production_believes_only_issuers_that_are_reached_safely():
    issuer = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks_url": "http://login.example/jwks",
        "realm": "participant",
    }
    environ = {
        "SAXAUL_ENV": "production",
        "SAXAUL_PUBLIC_URL": "https://saxaul.example",
        "SAXAUL_DATABASE_URL": "postgresql://db/saxaul",
        "SAXAUL_REDIS_URL": "redis://redis",
        "SAXAUL_SECRET_KEY": "k" * 32,
        "SAXAUL_MASTER_KEY": "A" * 43 + "=",
        "SAXAUL_AUTH_ISSUERS": msgspec.json.encode([issuer]).decode(),
    }
    with pytest.raises(SettingsError, match="https://"):
        load_settings(environ)
    safe = environ["SAXAUL_AUTH_ISSUERS"].replace("http://", "https://")
    assert load_settings(environ | {"SAXAUL_AUTH_ISSUERS": safe}).auth_issuers[0].issuer == ISSUER
