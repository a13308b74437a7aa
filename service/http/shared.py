"""The shared objects of one API process: made at its start by `app.py`, asked for by their type."""

from typing import Any, TypeVar

import litestar
from litestar.datastructures import State

T = TypeVar("T")


def shared(request: litestar.Request[Any, Any, State], kind: type[T]) -> T:
    """The one object of this type in the process that serves this request."""
    found: T = request.app.state.shared[kind]
    return found
