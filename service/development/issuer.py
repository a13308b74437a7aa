"""The development issuer: its key lives in the state folder, so that tokens survive restarts.

Each realm has an issuer and an audience of its own, as in production. Nothing here works in
production or when others can reach the API.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import get_args
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from service.http.auth import Realm, Trust
from service.http.jwks import Key, KeySet
from service.platform.setting_texts import kept_text
from service.platform.settings import Settings

TOKEN_LASTS = timedelta(hours=24)
_KEY_ID, _AUDIENCE = "development", "saxaul-"


class NotInDevelopmentError(Exception):
    """Asked for development's conveniences where they would be holes."""


def issuer_of(realm: Realm) -> str:
    """The issuer's name in tokens of this realm."""
    return f"urn:saxaul:development:{realm}"


def key_file(settings: Settings) -> Path:
    """Where the key lies once an instance has run with this state folder."""
    return settings.home / "development-key.pem"


class DevelopmentIssuer:
    """Signs tokens with the key of the state folder, which it makes at its first use."""

    def __init__(self, settings: Settings) -> None:
        """Raises NotInDevelopmentError, and OSError when the key cannot be kept."""
        if not settings.development_mode:
            where = "SAXAUL_ENV=development and SAXAUL_HOST on loopback"
            raise NotInDevelopmentError(f"development tokens exist only with {where}")
        text = kept_text(key_file(settings), _new_key)
        key = load_pem_private_key(text.encode(), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        self._key = key

    def trusted(self) -> list[Trust]:
        """What makes an authenticator believe these tokens."""
        keys = KeySet("", None, {_KEY_ID: Key("EdDSA", self._key.public_key())})
        realms: tuple[Realm, ...] = get_args(Realm)
        return [Trust(issuer_of(realm), _AUDIENCE + realm, realm, keys) for realm in realms]

    def sign(self, realm: Realm, subject: str, scopes: tuple[str, ...], real_now: datetime) -> str:
        """A token that holds for 24 hours of real time."""
        claims = {
            "iss": issuer_of(realm),
            "aud": _AUDIENCE + realm,
            "sub": subject,
            "iat": real_now,
            "exp": real_now + TOKEN_LASTS,
            "jti": str(uuid4()),
            "client_id": "saxaul-development",
        }
        if scopes:
            claims["scope"] = " ".join(scopes)
        headers = {"kid": _KEY_ID, "typ": "at+jwt"}
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers=headers)


def _new_key() -> str:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode().strip()
