"""What an application offers, operation by operation, and the files that tell of it.

`words.yaml` tells what operations do and what properties are, by their names: one word means one
thing, or `Schema.name` says otherwise. `examples.json` is a story that a test sends to the program.
"""

import re
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_type_hints

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from msgspec import UNSET, Struct

from service.http.access import Access

_FOLDER = Path(__file__).parent
_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
# Whom it is for, by how its path begins.
_TAGS = {
    "/v1/dev/": "Development",
    "/v1/partners/": "Partners",
    "/v1/operator/": "Operators",
    "/v1/": "Mobile apps",
    "": "Operations",
}
# Of every signed request, also of one that has no body to send.
_SIGNED = ("unauthenticated", "signature-malformed", "body-too-large", "unsupported-media-type")
_WITH_BODY = ("malformed-request", "body-too-large", "unsupported-media-type", "invalid-request")
_WITH_KEY = ("idempotency-key-malformed", "idempotency-in-progress", "idempotency-key-reused")


class Words(Struct, frozen=True, forbid_unknown_fields=True):
    """What is told of everything, by its name."""

    about: str
    tags: dict[str, str]
    security: dict[str, str]
    headers: dict[str, str]
    operations: dict[str, str]
    properties: dict[str, str]

    def of(self, owner: str, name: str) -> str:
        """What a property or parameter is. Raises LookupError for one that nobody described."""
        told = self.properties.get(f"{owner}.{name}") or self.properties.get(name)
        if told is None:
            raise LookupError(f"words.yaml says nothing of {owner}.{name}")
        return told


class Step(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request of the story and its answer: the first of an operation is its example.

    `by` is whose it is; `path` and `query` are its parameters; `status` is one of a problem.
    """

    operation: str
    by: str = ""
    path: dict[str, str] = {}
    query: dict[str, str] = {}
    key: str = ""
    media: str = "application/json"
    body: Any = UNSET
    status: int = 0
    answer: Any = UNSET


@cache
def words() -> Words:
    """The file of words."""
    return msgspec.yaml.decode((_FOLDER / "words.yaml").read_bytes(), type=Words)


@cache
def story() -> list[Step]:
    """The file of examples, in the order in which they can be sent."""
    return msgspec.json.decode((_FOLDER / "examples.json").read_bytes(), type=list[Step])


class Operation(Struct, frozen=True):
    """One method of one path."""

    method: str
    path: str
    handler: HTTPRouteHandler
    access: Access

    @property
    def id(self) -> str:
        """Its name in clients made from the document."""
        if isinstance(self.handler.operation_id, str):
            return self.handler.operation_id
        first, *rest = self.handler.handler_name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    @property
    def answer(self) -> Any:
        """The type of a good answer; None for one without a body."""
        hint = get_type_hints(self.handler.fn, include_extras=True)["return"]
        return self.access.answer or (None if hint is NoneType else hint)

    @property
    def tag(self) -> str:
        """Whom it is for."""
        return next(tag for start, tag in _TAGS.items() if self.path.startswith(start))

    @property
    def parameters(self) -> list[str]:
        """The names of what stands in its path."""
        return _PATH_PARAMETER.findall(self.path)

    @property
    def takes_key(self) -> bool:
        """Whether it can be repeated by an Idempotency-Key."""
        is_participants = self.method == "post" and self.access.role == "participant"
        return is_participants or self.access.takes_key

    @property
    def is_counted(self) -> bool:
        """Whether callers are limited; whoever watches a process is not told that it is busy."""
        return not self.path.startswith(("/health/", "/metrics"))

    @property
    def codes(self) -> list[str]:
        """The codes of its problems."""
        access, is_partners = self.access, self.access.role == "partner"
        # Who a partner is, is not told: an unknown one's signature is refused like any other.
        has_place = bool(self.parameters) and not is_partners
        told = (
            (is_partners, _SIGNED),
            (access.role in {"participant", "operator"}, ("unauthenticated", "forbidden")),
            (has_place, ("not-found",)),
            (access.query is not None, ("malformed-request", "invalid-request")),
            (access.body is not None, _WITH_BODY),
            (access.key_required, ("idempotency-key-required",)),
            (self.takes_key, _WITH_KEY),
            (True, access.problems),
            (self.is_counted, ("rate-limited",)),
            (True, ("internal-error", "unavailable")),
        )
        return list(dict.fromkeys(code for holds, codes in told if holds for code in codes))


def operations(app: Litestar) -> list[Operation]:
    """All that the application offers, by path and method."""
    found = [
        Operation(method.lower(), route.path_format, handler, handler.opt["access"])
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if "access" in handler.opt and handler.resolve_include_in_schema()
        for method in handler.http_methods
    ]
    return sorted(found, key=lambda operation: (operation.path, operation.method))
