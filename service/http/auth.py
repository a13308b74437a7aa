"""Who calls: a bearer token, verified once, becomes a caller with a role.

A token is believed when one of the trusted issuers signed it for us, with a key of its own set and
the one algorithm that belongs to that key (RFC 8725, RFC 9068). Participants and operators have
different issuers or audiences, so neither's token can act for the other. All of it goes by real
time, never by the programme's clock.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import jwt
import msgspec

from service.http.jwks import KEY_ID_MAX, KeySet
from service.platform.database import Connection
from service.platform.errors import ForbiddenError, UnauthenticatedError
from service.platform.metrics import TOKENS_VERIFIED

FORGOTTEN_CHANNEL = "saxaul_forgotten"
SCOPES = (
    "rules:write",
    "partners:admin",
    "planting:write",
    "participants:read",
    "participants:write",
    "ledger:adjust",
    "audit:read",
)
Realm = Literal["participant", "operator"]

_TOKEN_MAX_BYTES = 8_192
_BELIEVED_FOR = timedelta(seconds=60)
_VERIFIED_MAX = 20_000
_SUBJECT_MAX = 255
_BAD = "The token is not valid here."


class InvalidTokenError(UnauthenticatedError):
    """A token came and does not hold."""

    challenge = 'Bearer error="invalid_token"'


class Trust(msgspec.Struct, frozen=True):
    """An issuer whose tokens for this audience are believed, for one realm."""

    issuer: str
    audience: str
    realm: Realm
    keys: KeySet
    accept_typ: tuple[str, ...] = ("at+jwt",)


class Credentials(msgspec.Struct, frozen=True):
    """What a verified token says, believed until then. Only participants have an id."""

    realm: Realm
    subject: str
    scopes: frozenset[str]
    participant: UUID | None
    until: datetime

    @property
    def participant_id(self) -> UUID:
        """The participant; only routes that open to participants may ask."""
        assert self.participant is not None
        return self.participant


class _Header(msgspec.Struct):
    alg: str
    kid: str
    typ: str

    @property
    def type(self) -> str:
        """Its type without what RFC 7515 lets senders leave out."""
        return self.typ.lower().removeprefix("application/")


class _Claims(msgspec.Struct):
    iss: str
    sub: str
    exp: int | float
    scope: str = ""
    jti: str = ""
    client_id: str = ""


Resolve = Callable[[str, str], Awaitable[UUID]]


class Authenticator:
    """Verifies tokens and remembers for a minute whom they stand for."""

    def __init__(self, *, leeway_s: int, resolve: Resolve) -> None:
        """`resolve` gives the participant of an issuer's subject, made at the first call."""
        self._trusted: list[Trust] = []
        self._leeway_s = leeway_s
        self._resolve = resolve
        self._verified: dict[bytes, Credentials] = {}
        self._drops = 0

    def trust(self, *issuers: Trust) -> None:
        """Believe these issuers, too."""
        self._trusted.extend(issuers)

    def issuers(self, realm: Realm) -> tuple[str, ...]:
        """Whose tokens of this realm are believed."""
        return tuple(trust.issuer for trust in self._trusted if trust.realm == realm)

    async def follow(self, connection: Connection) -> None:
        """Learn of every erasure at once, for as long as this connection lives."""
        await connection.add_listener(FORGOTTEN_CHANNEL, self._on_forgotten)
        self.drop_all()

    def _on_forgotten(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        self.drop(UUID(str(payload)))

    async def credentials(self, header: bytes, now: datetime) -> Credentials:
        """What the Authorization header stands for. `now` is real time.

        Raises UnauthenticatedError, and KeysUnavailableError when nothing can be checked.
        """
        known = self._verified.get(header)
        if known is not None and now < known.until:
            return known
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer":
            raise UnauthenticatedError("Send one token: Authorization: Bearer <JWT>.")
        drops = self._drops
        try:
            credentials = await self._verify(token.strip(), now)
        except InvalidTokenError:
            TOKENS_VERIFIED.labels("refused").inc()
            raise
        TOKENS_VERIFIED.labels("believed").inc()
        if drops == self._drops:
            self._remember(header, credentials)
        return credentials

    def drop(self, participant_id: UUID) -> None:
        """Believe none of this person's tokens unseen: the next one looks the person up anew."""
        self._drops += 1
        known = self._verified.items()
        self._verified = {sent: it for sent, it in known if it.participant != participant_id}

    def drop_all(self) -> None:
        """Believe no token unseen: keys changed, or the word of an erasure may have been missed."""
        self._drops += 1
        self._verified.clear()

    def _remember(self, header: bytes, credentials: Credentials) -> None:
        if len(self._verified) >= _VERIFIED_MAX:
            # The oldest goes: whatever is in use comes back with its next request.
            del self._verified[next(iter(self._verified))]
        self._verified.pop(header, None)
        self._verified[header] = credentials

    async def _verify(self, token: bytes, now: datetime) -> Credentials:
        if len(token) > _TOKEN_MAX_BYTES:
            raise InvalidTokenError("A token has at most {most} bytes.", most=_TOKEN_MAX_BYTES)
        header, claimed, audiences = _read_unverified(token)
        for trust in self._trusted:
            if trust.issuer == claimed.iss and trust.audience in audiences:
                break
        else:
            raise InvalidTokenError(_BAD)
        if header.type not in {accepted.lower() for accepted in trust.accept_typ}:
            raise InvalidTokenError(_BAD)
        key = await trust.keys.find(header.kid, now)
        if key is None or header.alg != key.algorithm:
            raise InvalidTokenError(_BAD)
        claims = _read_verified(token, key.public_key, trust, header, leeway_s=self._leeway_s)
        is_participant = trust.realm == "participant"
        participant = await self._resolve(claims.iss, claims.sub) if is_participant else None
        expires = datetime.fromtimestamp(min(claims.exp, 4e9), UTC)
        return Credentials(
            realm=trust.realm,
            subject=claims.sub,
            scopes=frozenset(() if is_participant else claims.scope.split()),
            participant=participant,
            until=min(expires + timedelta(seconds=self._leeway_s), now + _BELIEVED_FOR),
        )


def _read_unverified(token: bytes) -> tuple[_Header, _Claims, list[Any]]:
    """What a token claims, to choose the issuer by; nothing of it is believed yet."""
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
        header = msgspec.convert(parts["header"], _Header)
        claims = msgspec.convert(parts["payload"], _Claims)
        audience = parts["payload"].get("aud")
    except _UNREADABLE as error:
        raise InvalidTokenError(_BAD) from error
    if not 0 < len(header.kid) <= KEY_ID_MAX:
        raise InvalidTokenError(_BAD)
    return header, claims, audience if isinstance(audience, list) else [audience]


def _read_verified(
    token: bytes, public_key: Any, trust: Trust, header: _Header, *, leeway_s: int
) -> _Claims:
    required = ["iss", "aud", "exp", "iat", "sub"]
    if header.type == "at+jwt":
        required += ["jti", "client_id"]
    try:
        payload = jwt.decode(
            token,
            public_key,
            algorithms=[header.alg],
            issuer=trust.issuer,
            audience=trust.audience,
            leeway=leeway_s,
            options={"require": required},
        )
        claims = msgspec.convert(payload, _Claims)
    except jwt.ExpiredSignatureError as error:
        raise InvalidTokenError("The token has expired.") from error
    except _UNREADABLE as error:
        raise InvalidTokenError(_BAD) from error
    if not 0 < len(claims.sub) <= _SUBJECT_MAX or "\0" in claims.sub:
        raise InvalidTokenError(_BAD)
    return claims


# PyJWT lets some of the standard library's errors through for tokens made to break it.
_UNREADABLE = (
    jwt.PyJWTError,
    msgspec.ValidationError,
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
    AttributeError,
)


async def tell_forgotten(connection: Connection, participant_id: UUID) -> None:
    """Tell every process, at the commit of this transaction, that the person was erased."""
    await connection.execute("SELECT pg_notify($1, $2)", FORGOTTEN_CHANNEL, participant_id.hex)


def require_access(credentials: Credentials, *, role: str, scope: str) -> None:
    """Raise ForbiddenError when these credentials are of the other role, or lack the scope."""
    if credentials.realm != role:
        raise ForbiddenError("Only a token of the {role}s' issuer opens this.", role=role)
    if scope and scope not in credentials.scopes:
        raise ForbiddenError("This needs the scope {scope}.", scope=scope)
