"""Logs on stderr, from our code and from libraries, without secrets.

One JSON object a line for programs, text where a person looks.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_HIDDEN = "[hidden]"
_SECRET_NAMES = re.compile(
    r"(?i)(?:^|[-_])(?:authorization|cookie|signature|secret|secret_key|password|token|link_code)s?$"
)
# Values that are secret whatever their name: bearer tokens, JWTs, webhook secrets, passwords in
# addresses.
_SECRET_VALUES = re.compile(
    r"(?i)(bearer\s+)\S+|eyJ[\w-]+\.[\w-]+\.[\w-]*|whs[ek]c?_[A-Za-z0-9+/=_-]+|(://[^\s:/@]*:)[^\s@/]+(?=@)"
)


def configure_logging(level: str, form: Literal["auto", "text", "json"] = "auto") -> None:
    """Send everything that is logged at `level` or above to stderr. Call it once a process.

    `auto` is text where stderr is a terminal, and JSON elsewhere.
    """
    is_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_text else "iso", utc=not is_text),
    ]
    rendered: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        hide_secrets,
        _as_text() if is_text else structlog.processors.JSONRenderer(serializer=_encode),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=rendered)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def _as_text() -> Processor:
    plain = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what nobody may read in a log, by its name or by its look."""
    return {name: _hidden(name, value) for name, value in event.items()}


def _hidden(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name):
        return _HIDDEN
    if isinstance(value, str):
        return _SECRET_VALUES.sub(rf"\1\2{_HIDDEN}", value)
    if isinstance(value, bytes):
        return _hidden(name, value.decode(errors="replace"))
    if isinstance(value, Mapping):
        return {str(key): _hidden(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden_item(name, item) for item in value]
    return value


def _hidden_item(name: str, item: Any) -> Any:
    # ASGI tells headers as pairs of bytes: the first names the second.
    if isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], bytes | str):
        header = item[0].decode(errors="replace") if isinstance(item[0], bytes) else item[0]
        return [header, _hidden(header, item[1])]
    return _hidden(name, item)


def _encode(event: EventDict, **_options: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
