"""A setting as people write and read it: its text, what is allowed there, and what may be shown."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit, urlunsplit

import msgspec

from service.platform.terminal import typed

DATABASE_SCHEMES = frozenset({"postgresql", "postgres"})
REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})
# A setting whose value nobody may read.
Secret = Annotated[str, "secret"]


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


def is_secret(hint: Any) -> bool:
    """Whether nobody may read the setting's value."""
    return bool(hint == Secret)


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
