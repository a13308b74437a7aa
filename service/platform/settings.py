"""What an operator can set: one environment variable a field, read once, all faults told at once.

`load_settings` is pure. `with_secret_key` adds the keys that development keeps in its home folder;
whatever opens the database wants settings that went through it.
"""

import base64
import ipaddress
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from service.platform.setting_texts import (
    DATABASE_SCHEMES,
    REDIS_SCHEMES,
    is_address,
    is_link_start,
    is_secret,
    meaningless,
    meta_of,
    one_line,
    parsed,
    shown,
)

PREFIX = "SAXAUL_"
_SECRET = {"secret": True}
_MASTER_KEY_BYTES = 32
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
    """All settings. A field's variable is SAXAUL_ and its name in capitals."""

    env: Annotated[
        Literal["development", "production"],
        Meta(
            description="development offers tokens, a movable clock and demo data to this machine;"
            " production offers none of them and asks for real servers, a key and issuers."
        ),
    ] = "development"
    home: Annotated[
        Path,
        Meta(
            description="State folder of the embedded servers, of keys and of the lock; another"
            " folder is another instance."
        ),
    ] = Path(".saxaul")
    host: Annotated[
        str, Meta(description="Address to listen on. Off loopback the development API is off.")
    ] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=1, le=65535, description="TCP port of the API and of its metrics.")
    ] = 8000
    public_url: Annotated[
        str,
        Meta(
            description="Address under which people reach the API, for links in answers, such as"
            " https://saxaul.example; empty, in development: that of the request."
        ),
    ] = ""
    workers: Annotated[int, Meta(ge=1, le=64, description="Number of API processes.")] = 1

    database_url: Annotated[
        str,
        Meta(
            description="postgresql://user:password@host/name of PostgreSQL 16 or newer;"
            " empty: the embedded one.",
            extra=_SECRET,
        ),
    ] = ""
    redis_url: Annotated[
        str,
        Meta(
            description="redis:// or rediss:// address of Redis 6.2 or newer;"
            " empty: the embedded one.",
            extra=_SECRET,
        ),
    ] = ""
    redis_prefix: Annotated[
        str, Meta(min_length=1, max_length=64, description="First part of every Redis key.")
    ] = "saxaul:"
    database_pool: Annotated[
        int, Meta(ge=1, le=200, description="Database connections for reading, a process.")
    ] = 10
    writer_pool: Annotated[
        int,
        Meta(
            ge=2,
            le=200,
            description="Database connections for what moves grams, a process, beside those of"
            " the writer's lanes.",
        ),
    ] = 6
    statement_timeout_ms: Annotated[
        int, Meta(ge=100, le=600_000, description="Longest time of one statement, milliseconds.")
    ] = 5_000

    lanes: Annotated[
        int,
        Meta(
            ge=1,
            le=256,
            description="Lanes of the writer and of the outbox: people are divided over them by a"
            " hash. While one waits for PostgreSQL the other decides; more make small batches."
            " All processes of one installation must have the same number.",
        ),
    ] = 2
    batch_max: Annotated[
        int, Meta(ge=1, le=2_000, description="Most actions in one transaction of the writer.")
    ] = 500
    queue_max: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Most actions that wait for the writer, a process; beyond it 503.",
        ),
    ] = 4_096
    leaderboard_shards: Annotated[
        int,
        Meta(ge=1, le=256, description="Parts of a board in Redis; more than 1 for a cluster."),
    ] = 1
    rules_dir: Annotated[
        Path, Meta(description="Folder of the rules that `saxaul run` publishes when it changed.")
    ] = Path("rules")

    secret_key: Annotated[
        str,
        Meta(
            description="Key of the hashes that find identities and claims, and of cursors: at"
            " least 32 characters, never changed. Development keeps its own in the state folder.",
            extra=_SECRET,
        ),
    ] = ""
    master_key: Annotated[
        str,
        Meta(
            description="Key that partners' secrets are kept under: base64 of 32 random bytes."
            " After a change the old one goes to SAXAUL_MASTER_KEY_BEFORE until"
            " `saxaul keys rewrap` is done. Development keeps its own in the state folder.",
            extra=_SECRET,
        ),
    ] = ""
    master_key_before: Annotated[
        str,
        Meta(description="The master key that was used before; empty: none.", extra=_SECRET),
    ] = ""
    signature_tolerance_s: Annotated[
        int,
        Meta(
            ge=60,
            le=900,
            description="How far a signature's time may be from ours, either way, seconds.",
        ),
    ] = 300
    auth_issuers: Annotated[
        tuple[Issuer, ...],
        Meta(
            description='Whose tokens are believed: JSON list of {"issuer", "audience", "jwks_url",'
            ' "realm": "participant" or "operator", "accept_typ"?: ["at+jwt"]}.'
        ),
    ] = ()
    auth_leeway_s: Annotated[
        int, Meta(ge=0, le=300, description="Tolerated difference of an issuer's clock, seconds.")
    ] = 30

    rate_limits: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="Whether requests are limited; auto: in production only."),
    ] = "auto"
    rate_participant_per_s: Annotated[
        int, Meta(ge=1, description="Requests a second of one participant.")
    ] = 50
    rate_participant_burst: Annotated[
        int, Meta(ge=1, description="Requests of one participant at once.")
    ] = 200
    rate_partner_per_s: Annotated[
        int, Meta(ge=1, description="Requests a second of one partner.")
    ] = 100
    rate_partner_burst: Annotated[
        int, Meta(ge=1, description="Requests of one partner at once.")
    ] = 1_000
    rate_address_per_s: Annotated[
        int, Meta(ge=1, description="Requests a second without credentials from one address.")
    ] = 20
    rate_address_burst: Annotated[
        int, Meta(ge=1, description="Requests without credentials from one address at once.")
    ] = 100

    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks of proxies whose X-Forwarded-For is believed when requests"
            ' without credentials are counted: JSON list such as ["10.0.0.0/8"].'
        ),
    ] = ()

    body_max_participant_bytes: Annotated[
        int, Meta(ge=1_024, description="Largest body of a participant's request, bytes.")
    ] = 262_144
    body_max_partner_bytes: Annotated[
        int, Meta(ge=1_024, description="Largest body of a partner's request, bytes.")
    ] = 1_048_576
    body_max_operator_bytes: Annotated[
        int, Meta(ge=1_024, description="Largest body of an operator's request, bytes.")
    ] = 2_097_152
    idempotency_keep_hours: Annotated[
        int,
        Meta(ge=1, le=8_760, description="How long a stored answer is repeated for its key."),
    ] = 48
    drain_s: Annotated[
        int,
        Meta(ge=0, le=300, description="How long requests under way may take at a stop, seconds."),
    ] = 5

    metrics_public: Annotated[
        bool, Meta(description="Answer GET /metrics to others than loopback.")
    ] = False
    access_log: Annotated[bool, Meta(description="Log one line a request.")] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Least level that is logged."),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "text", "json"],
        Meta(description="How lines of the log look; auto: text in a terminal, JSON elsewhere."),
    ] = "auto"

    @property
    def is_loopback(self) -> bool:
        """True when only this machine can reach the API."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def development_mode(self) -> bool:
        """True when development tokens and the movable clock may be offered."""
        return self.env == "development" and self.is_loopback

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


class SettingsError(Exception):
    """Settings that cannot work; `problems` holds one line each, every one naming its variable."""

    def __init__(self, problems: list[str]) -> None:
        """Take the problems in the order of the settings."""
        self.problems = problems
        super().__init__("\n".join(problems))


class Explained(Struct, frozen=True):
    """A setting as `saxaul config show` prints it; a secret's value is masked.

    `fault` says what is wrong with the value, "" when nothing is.
    """

    variable: str
    value: str
    default: str
    meaning: str
    fault: str


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. Raises SettingsError with every fault that was found.

    A secret may come from a file instead: SAXAUL_SECRET_KEY_FILE=/run/secrets/key.
    """
    values, faults = _read(os.environ if environ is None else environ)
    settings = Settings(**values)
    faults = faults or list(_contradictions(settings))
    if faults:
        raise SettingsError([f"{PREFIX}{field.upper()}: {fault}" for field, fault in faults])
    return msgspec.structs.replace(settings, home=settings.home.absolute())


def load_only(*fields: str) -> Settings:
    """These settings as they are set, all others as if they were not. Raises SettingsError."""
    names = {PREFIX + field.upper() for field in fields}
    values, faults = _read({name: text for name, text in os.environ.items() if name in names})
    if faults:
        raise SettingsError([f"{PREFIX}{field.upper()}: {fault}" for field, fault in faults])
    return Settings(**values)


def _read(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The values of the fields that are set, and what is wrong with the others, in order."""
    values: dict[str, Any] = {}
    faults: list[tuple[str, str]] = []
    for field, hint in get_type_hints(Settings, include_extras=True).items():
        try:
            text = _text(environ, PREFIX + field.upper(), is_secret=is_secret(hint))
            if text is not None:
                values[field] = parsed(text, hint)
        except (OSError, ValueError) as error:
            faults.append((field, one_line(error)))
    return values, faults


def with_secret_key(settings: Settings) -> Settings:
    """These settings with their keys, which development makes once and keeps in its home.

    Raises SettingsError when a file can neither be read nor made.
    """
    return msgspec.structs.replace(
        settings,
        secret_key=settings.secret_key
        or _own_key(settings.home / "secret-key", lambda: secrets.token_urlsafe(32)),
        master_key=settings.master_key
        or _own_key(
            settings.home / "master-key", lambda: base64.b64encode(secrets.token_bytes(32)).decode()
        ),
    )


def _own_key(path: Path, make: Callable[[], str]) -> str:
    try:
        return kept_text(path, make)
    except OSError as error:
        fault = (
            f"{PREFIX}HOME: cannot keep {path.name} in the state folder {path.parent}:"
            f" {error.strerror}; name another folder, or run as its owner"
        )
        raise SettingsError([fault]) from error


def explain_settings(environ: Mapping[str, str] | None = None) -> Iterator[Explained]:
    """Every setting with its variable, value, default and meaning, and what is wrong with it."""
    environ = os.environ if environ is None else environ
    values, faults = _read(environ)
    settings, defaults = Settings(**values), Settings()
    told = dict([*faults, *_contradictions(settings)])
    settings = msgspec.structs.replace(settings, home=settings.home.absolute())
    unread = {field for field, _ in faults}
    for field, hint in get_type_hints(Settings, include_extras=True).items():
        variable, secret = PREFIX + field.upper(), is_secret(hint)
        value = environ.get(variable, "") if field in unread else getattr(settings, field)
        yield Explained(
            variable=variable,
            value=shown(value, is_secret=secret),
            default=shown(getattr(defaults, field), is_secret=False),
            meaning=meta_of(hint).description or "",
            fault=told.get(field, ""),
        )


def unknown_variables(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that begin like ours and mean nothing, misspelt most likely, with a line each."""
    environ = os.environ if environ is None else environ
    known = set()
    for field, hint in get_type_hints(Settings, include_extras=True).items():
        known.add(PREFIX + field.upper())
        if is_secret(hint):
            known.add(f"{PREFIX}{field.upper()}_FILE")
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    return {name: meaningless(name, known) for name in unknown}


def without_unknown() -> dict[str, str]:
    """The environment for a child of ours, without what was told to mean nothing."""
    unknown = unknown_variables()
    return {name: text for name, text in os.environ.items() if name not in unknown}


def child_environment(**values: str) -> dict[str, str]:
    """The environment of a program of ours that runs with these settings and no others."""
    others = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    return others | {PREFIX + field.upper(): text for field, text in values.items()}


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


def _text(environ: Mapping[str, str], variable: str, *, is_secret: bool) -> str | None:
    text = environ.get(variable)
    path = environ.get(f"{variable}_FILE") if is_secret else None
    if text and path:
        raise ValueError(f"also {variable}_FILE is set; use one of them")
    if path:
        return Path(path).read_text(encoding="utf-8").strip()
    return text.strip() if text and text.strip() else None


def _contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    """Fields whose values cannot work, by themselves or beside the others, and why."""
    for field, schemes in (("database_url", DATABASE_SCHEMES), ("redis_url", REDIS_SCHEMES)):
        if url := getattr(settings, field):
            yield from ((field, fault) for fault in _faults_of_url(url, schemes))
    if settings.public_url and not is_link_start(settings.public_url):
        yield "public_url", "must be http:// or https:// and a host, perhaps a path, no query"
    if settings.secret_key and len(settings.secret_key) < 32:
        yield "secret_key", "must have at least 32 characters"
    for field in ("master_key", "master_key_before"):
        if (text := getattr(settings, field)) and not _is_master_key(text):
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


def _faults_of_url(url: str, schemes: frozenset[str]) -> Iterator[str]:
    if not is_address(url):
        # Never with the text: what looks like a port may be a password.
        yield "its port is no number; / # and @ in a password are written %2F %23 %40"
    elif urlsplit(url).scheme not in schemes:
        yield f"must begin with {', '.join(f'{name}://' for name in sorted(schemes))}"


def _is_master_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _MASTER_KEY_BYTES
    except ValueError:
        return False


def _faults_of_issuers(settings: Settings) -> Iterator[str]:
    realms: dict[tuple[str, str], str] = {}
    for issuer in settings.auth_issuers:
        if realms.setdefault((issuer.issuer, issuer.audience), issuer.realm) != issuer.realm:
            yield f"{issuer.issuer} needs another audience for each realm"
        if settings.env == "production" and urlsplit(issuer.jwks_url).scheme != "https":
            yield f"{issuer.jwks_url} must begin with https://"


def kept_text(path: Path, make: Callable[[], str]) -> str:
    """The secret text of this file, which is made once, for our eyes only. Raises OSError."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Linked into place whole: of two processes that start at once, both read the same text.
        draft = path.with_name(f".{path.name}-{os.getpid()}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(make() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text(encoding="ascii").strip()
