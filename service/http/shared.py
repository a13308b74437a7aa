"""The shared objects of one API process: made at its start by `app.py`, asked for by their type."""

from typing import Any, TypeVar

import litestar
from litestar.datastructures import State

T = TypeVar("T")

AnyRequest = litestar.Request[Any, Any, State]
"""A request to whatever route."""


def headers_of(request: AnyRequest, name: bytes) -> list[str]:
    """Every header of this name, which is in small letters."""
    headers = request.scope["headers"]
    return [value.decode("latin-1") for each, value in headers if each == name]


def shared(request: AnyRequest, kind: type[T]) -> T:
    """The one object of this type in the process that serves this request."""
    found: T = request.scope["shared"][kind]  # type: ignore[typeddict-item]
    return found
