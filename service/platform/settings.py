"""What an operator can set: one environment variable a field, read once, all faults told at once.

`load_settings` is pure. `with_secret_key` adds the keys that development keeps in its home folder;
whatever opens the database wants settings that went through it.
"""

import base64
import ipaddress
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from service.platform.errors import PlainError
from service.platform.setting_texts import (
    DATABASE_SCHEMES,
    MASTER_KEY_BYTES,
    REDIS_SCHEMES,
    Explained,
    Secret,
    faults_of_url,
    is_link_start,
    is_loopback,
    is_master_key,
    kept_text,
    meaningless,
    one_line,
    parsed,
    shown,
    text_of,
)

PREFIX = "SAXAUL_"
_Positive = Annotated[int, Meta(ge=1)]
_BodyBytes = Annotated[int, Meta(ge=1_024)]
_PRODUCTION = (
    *("public_url", "database_url", "redis_url"),
    *("secret_key", "master_key", "auth_issuers"),
)


class Issuer(Struct, frozen=True, forbid_unknown_fields=True):
    """An authority whose tokens are believed. `realm` decides which role its tokens can carry."""

    issuer: str
    audience: str
    jwks_url: str
    realm: Literal["participant", "operator"]
    accept_typ: tuple[str, ...] = ("at+jwt",)


class Settings(Struct, frozen=True, kw_only=True):
    """All settings, told in `settings.yaml`. A variable is SAXAUL_ and its field in capitals."""

    env: Literal["development", "production"] = "development"
    home: Path = Path(".saxaul")
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    public_url: str = ""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1

    database_url: Secret = ""
    redis_url: Secret = ""
    redis_prefix: Annotated[str, Meta(min_length=1, max_length=64)] = "saxaul:"
    database_pool: Annotated[int, Meta(ge=1, le=200)] = 10
    writer_pool: Annotated[int, Meta(ge=2, le=200)] = 6
    statement_timeout_ms: Annotated[int, Meta(ge=100, le=600_000)] = 5_000

    lanes: Annotated[int, Meta(ge=1, le=256)] = 2
    batch_max: Annotated[int, Meta(ge=1, le=2_000)] = 500
    queue_max: Annotated[int, Meta(ge=1, le=100_000)] = 4_096
    leaderboard_shards: Annotated[int, Meta(ge=1, le=256)] = 1
    rules_dir: Path = Path("rules")

    secret_key: Secret = ""
    master_key: Secret = ""
    master_key_before: Secret = ""
    signature_tolerance_s: Annotated[int, Meta(ge=60, le=900)] = 300
    auth_issuers: tuple[Issuer, ...] = ()
    auth_leeway_s: Annotated[int, Meta(ge=0, le=300)] = 30

    rate_limits: Literal["auto", "on", "off"] = "auto"
    rate_participant_per_s: _Positive = 50
    rate_participant_burst: _Positive = 200
    rate_partner_per_s: _Positive = 100
    rate_partner_burst: _Positive = 1_000
    rate_address_per_s: _Positive = 20
    rate_address_burst: _Positive = 100
    trusted_proxies: tuple[str, ...] = ()

    body_max_participant_bytes: _BodyBytes = 262_144
    body_max_partner_bytes: _BodyBytes = 1_048_576
    body_max_operator_bytes: _BodyBytes = 2_097_152
    idempotency_keep_hours: Annotated[int, Meta(ge=1, le=8_760)] = 48
    drain_s: Annotated[int, Meta(ge=0, le=300)] = 5

    metrics_public: bool = False
    access_log: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "text", "json"] = "auto"

    @property
    def development_mode(self) -> bool:
        """True when development tokens and the movable clock may be offered."""
        return self.env == "development" and is_loopback(self.host)

    @property
    def embedded_database(self) -> bool:
        """True when PostgreSQL is the embedded one."""
        return not self.database_url

    @property
    def embedded_redis(self) -> bool:
        """True when Redis is the embedded one."""
        return not self.redis_url

    @property
    def rate_limits_on(self) -> bool:
        """True when requests are counted against the limits."""
        return self.rate_limits == "on" or (self.rate_limits == "auto" and self.env == "production")


_HINTS = get_type_hints(Settings, include_extras=True)


class SettingsError(PlainError):
    """Settings that cannot work; `problems` holds one line each, every one naming its variable."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises SettingsError with every fault that was found.

    A secret may come from a file instead: SAXAUL_SECRET_KEY_FILE=/run/secrets/key.
    """
    values, faults = _read(environ)
    settings = Settings(**values)
    _refuse(faults or [*_contradictions(settings)])
    return msgspec.structs.replace(settings, home=settings.home.absolute())


def load_only(*fields: str) -> Settings:
    """These settings as they are set, all others as if they were not. Raises SettingsError."""
    names = {_variable(field) for field in fields}
    values, faults = _read({name: text for name, text in os.environ.items() if name in names})
    _refuse(faults)
    return Settings(**values)


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _refuse(faults: Iterable[tuple[str, str]]) -> None:
    if told := [f"{_variable(field)}: {fault}" for field, fault in faults]:
        raise SettingsError(told)


def _read(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The values of the fields that are set, and what is wrong with the others, in order."""
    values: dict[str, Any] = {}
    faults: list[tuple[str, str]] = []
    for field, hint in _HINTS.items():
        try:
            if (text := text_of(environ, _variable(field), is_secret=hint == Secret)) is not None:
                values[field] = parsed(text, hint)
        except (OSError, ValueError) as error:
            faults.append((field, one_line(error)))
    return values, faults


def with_secret_key(settings: Settings) -> Settings:
    """These settings with their keys, which development makes once and keeps in its home.

    Raises SettingsError when a file can neither be read nor made.
    """
    kept = {}
    for field, make in _OWN_KEYS.items():
        path = settings.home / field.replace("_", "-")
        try:
            kept[field] = getattr(settings, field) or kept_text(path, make)
        except OSError as error:
            fault = (
                f"cannot keep {path.name} in the state folder {path.parent}:"
                f" {error.strerror}; name another folder, or run as its owner"
            )
            raise SettingsError([f"{_variable('home')}: {fault}"]) from error
    return msgspec.structs.replace(settings, **kept)


_OWN_KEYS: dict[str, Callable[[], str]] = {
    "secret_key": lambda: secrets.token_urlsafe(32),
    "master_key": lambda: base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)).decode(),
}


def explain_settings(environ: Mapping[str, str] = os.environ) -> Iterator[Explained]:
    """Every setting with its variable, value, default and meaning, and what is wrong with it."""
    values, faults = _read(environ)
    settings, defaults = Settings(**values), Settings()
    told = dict([*faults, *_contradictions(settings)])
    settings = msgspec.structs.replace(settings, home=settings.home.absolute())
    unread = {field for field, _ in faults}
    for field, meaning in meanings().items():
        variable, is_secret = _variable(field), _HINTS[field] == Secret
        value = environ.get(variable, "") if field in unread else getattr(settings, field)
        default = shown(getattr(defaults, field), is_secret=False)
        value = shown(value, is_secret=is_secret)
        yield Explained(variable, value, default, meaning, told.get(field, ""))


def meanings() -> dict[str, str]:
    """What each setting means, by its field."""
    file = Path(__file__).with_name("settings.yaml")
    return msgspec.yaml.decode(file.read_bytes(), type=dict[str, str])


def unknown_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that begin like ours and mean nothing, misspelt most likely, with a line each."""
    known = {_variable(field) for field in _HINTS}
    known |= {f"{_variable(field)}_FILE" for field, hint in _HINTS.items() if hint == Secret}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    return {name: meaningless(name, known) for name in unknown}


def without_unknown() -> dict[str, str]:
    """The environment for a child of ours, without what was told to mean nothing."""
    unknown = unknown_variables()
    return {name: text for name, text in os.environ.items() if name not in unknown}


def child_environment(**values: str) -> dict[str, str]:
    """The environment of a program of ours that runs with these settings and no others."""
    others = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    return others | {_variable(field): text for field, text in values.items()}


@contextmanager
def shared_metrics(settings: Settings) -> Iterator[None]:
    """A folder in which several API processes, started meanwhile, keep their figures together.

    The metrics library reads its address from the environment and from nowhere else.
    """
    if settings.workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="saxaul-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def _contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    """Fields whose values cannot work, by themselves or beside the others, and why."""
    for field, schemes in (("database_url", DATABASE_SCHEMES), ("redis_url", REDIS_SCHEMES)):
        if url := getattr(settings, field):
            yield from ((field, fault) for fault in faults_of_url(url, schemes))
    if settings.public_url and not is_link_start(settings.public_url):
        yield "public_url", "must be http:// or https:// and a host, perhaps a path, no query"
    if settings.secret_key and len(settings.secret_key) < 32:
        yield "secret_key", "must have at least 32 characters"
    for field in ("master_key", "master_key_before"):
        if (text := getattr(settings, field)) and not is_master_key(text):
            yield field, "must be the base64 of 32 bytes"
    for network in settings.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            yield "trusted_proxies", str(error)
    yield from (("auth_issuers", fault) for fault in _faults_of_issuers(settings))
    if settings.env == "development":
        return
    for field in _PRODUCTION:
        if not getattr(settings, field):
            yield field, f"must be set when {PREFIX}ENV=production"


def _faults_of_issuers(settings: Settings) -> Iterator[str]:
    realms: dict[tuple[str, str], str] = {}
    for issuer in settings.auth_issuers:
        if realms.setdefault((issuer.issuer, issuer.audience), issuer.realm) != issuer.realm:
            yield f"{issuer.issuer} needs another audience for each realm"
        if settings.env == "production" and urlsplit(issuer.jwks_url).scheme != "https":
            yield f"{issuer.jwks_url} must begin with https://"
