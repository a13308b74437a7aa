"""A setting as people write and read it: its text, what is allowed there, what may be shown."""

import base64
import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from service.platform.terminal import typed

DATABASE_SCHEMES = frozenset({"postgresql", "postgres"})
MASTER_KEY_BYTES = 32
REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})
# A setting whose value nobody may read.
Secret = Annotated[str, "secret"]


class Explained(Struct, frozen=True):
    """A setting as `saxaul config show` prints it, a secret masked; `fault`: what is wrong."""

    variable: str
    value: str
    default: str
    meaning: str
    fault: str


def parsed(text: str, hint: Any) -> Any:
    """The value of a setting's text. Raises ValueError with what is allowed."""
    if hint in {str, Secret}:
        return text
    kind, meta = get_args(hint) if get_origin(hint) is Annotated else (hint, None)
    if kind is Path:
        try:
            return Path(text).expanduser()
        except RuntimeError as error:
            raise ValueError(f"{text!r} begins with a home folder that nobody has") from error
    if get_origin(kind) is tuple:
        try:
            return msgspec.json.decode(text, type=hint)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ValueError(f"must be JSON as `{typed('config show')}` says: {error}") from error
    fault = f"must be {_allowed(kind, meta)}, not {text!r}"
    if kind is int and not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError(fault)
    try:
        return msgspec.convert(text, hint, strict=False)
    except ValueError as error:
        raise ValueError(fault) from error


def _allowed(kind: Any, meta: Any) -> str:
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}"
    if kind is bool:
        return "true or false"
    if kind is int:
        if meta.le is None:
            return f"a whole number of at least {meta.ge}"
        return f"a whole number from {meta.ge} to {meta.le}"
    return f"a text of {meta.min_length} to {meta.max_length} characters"


def shown(value: Any, *, is_secret: bool) -> str:
    """The value as text; a secret is masked."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return msgspec.json.encode(value).decode()
    text = str(value)
    if not is_secret or not text:
        return text
    parts = urlsplit(text)
    if parts.scheme not in DATABASE_SCHEMES | REDIS_SCHEMES or not is_address(text):
        return "***"
    # An address is worth seeing; its password and its parameters are not.
    host = parts.netloc.rpartition("@")
    user = host[0].partition(":")[0]
    netloc = f"{user}:***@{host[2]}" if host[1] else host[2]
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def is_link_start(url: str) -> bool:
    """Whether links can begin with this: http or https, a host, perhaps a path."""
    parts = urlsplit(url) if is_address(url) else None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    return not (parts.query or parts.fragment or parts.username)


def is_address(url: str) -> bool:
    """Whether an address is whole: a / or # in its password ends the host too early."""
    try:
        port = urlsplit(url).port
    except ValueError:
        return False
    return port is None or port > 0


def meaningless(name: str, known: Iterable[str]) -> str:
    """One line about a variable that begins like ours and is none of them."""
    close = get_close_matches(name, sorted(known), n=1)
    hint = f"did you mean {close[0]}?" if close else f"`{typed('config show')}` lists what does."
    return f"{name} is set and means nothing here; {hint}"


def one_line(error: Exception) -> str:
    """What an error says, without line breaks."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def is_loopback(address: str) -> bool:
    """Whether an address or host name means this machine."""
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def text_of(environ: Mapping[str, str], variable: str, *, is_secret: bool) -> str | None:
    """What the variable, or the file that holds a secret, says. Raises OSError, ValueError."""
    text = environ.get(variable)
    path = environ.get(f"{variable}_FILE") if is_secret else None
    if text and path:
        raise ValueError(f"also {variable}_FILE is set; use one of them")
    if path:
        return Path(path).read_text(encoding="utf-8").strip()
    return text.strip() if text and text.strip() else None


def faults_of_url(url: str, schemes: frozenset[str]) -> Iterator[str]:
    """What is wrong with the address of a server."""
    if not is_address(url):
        # Never with the text: what looks like a port may be a password.
        yield "its port is no number; / # and @ in a password are written %2F %23 %40"
    elif urlsplit(url).scheme not in schemes:
        yield f"must begin with {', '.join(f'{name}://' for name in sorted(schemes))}"


def is_master_key(text: str) -> bool:
    """Whether this is the base64 of a key."""
    try:
        return len(base64.b64decode(text, validate=True)) == MASTER_KEY_BYTES
    except ValueError:
        return False


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
