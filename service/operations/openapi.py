"""The OpenAPI document, made from the routes: their access, structs, codes and docstrings."""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import litestar
import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from msgspec import Struct

from service.errors import PROBLEM_JSON, PROBLEMS, FieldError
from service.wire import Access

_REF = "#/components/schemas/{name}"
_EVERY = ("internal-error", "unavailable")
_CLOSED = ("unauthenticated", "forbidden")
# Of every signed request, also of one that has no body to send.
_SIGNED = (
    "unauthenticated",
    "signature-malformed",
    "body-too-large",
    "unsupported-media-type",
)
_WITH_BODY = (
    "malformed-request",
    "body-too-large",
    "unsupported-media-type",
    "invalid-request",
)
_WITH_KEY = ("idempotency-key-malformed", "idempotency-in-progress", "idempotency-key-reused")
_HEADERS = {
    "RateLimit-Policy": "How many requests pass in which time, where requests are limited:"
    ' `"partner";q=1000;w=10`, w in seconds.',
    "RateLimit": "How many more would pass now, and in how many seconds all of them:"
    ' `"partner";r=997;t=1`.',
    "Retry-After": "After so many seconds the request may pass.",
    "WWW-Authenticate": "What credentials are asked for: `Bearer` or `Signature`.",
    "Idempotency-Replayed": "`true` on the first answer to this Idempotency-Key, given again.",
}
_LIMITED = ("RateLimit-Policy", "RateLimit")
_HEADERS_OF = {
    "unauthenticated": ("WWW-Authenticate",),
    "idempotency-in-progress": ("Retry-After",),
    "rate-limited": (*_LIMITED, "Retry-After"),
    "unavailable": ("Retry-After",),
}
_PATH_PARAMETER = re.compile(r"\{(\w+)\}")

_STAMP = {"webhook-id": "^[A-Za-z0-9_-]{1,64}$", "webhook-timestamp": "^[0-9]{1,12}$"}
_SIGNATURE = {
    "type": "apiKey",
    "in": "header",
    "name": "webhook-signature",
    "description": "Standard Webhooks: `v1,` and the base64 of HMAC-SHA256, or `v1a,` and that of"
    " an ed25519 signature, over webhook-id, webhook-timestamp and the body, joined by dots."
    " Several entries stand with a space between.",
}

_ABOUT = """\
Backend for personal carbon points: recorded low-carbon actions become energy, energy becomes trees.

Every error is a problem document (RFC 9457) with a stable `code`; `errors` names each faulty place
by an RFC 6901 pointer. Times are RFC 3339; answers are in UTC. Grams are whole numbers and end in
`_g`. Lists take `limit` and `cursor` and answer `next_cursor`. Any POST of a participant takes an
`Idempotency-Key`: sent again unchanged, it answers the same and does nothing twice.
"""


class Problem(Struct, frozen=True):
    """RFC 9457. Some codes add members of their own, such as `needed_g` or `reason`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Operation:
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
        if self.access.answer is not None:
            return self.access.answer
        hint = get_type_hints(self.handler.fn, include_extras=True)["return"]
        if get_origin(hint) is litestar.Response:
            hint = get_args(hint)[0]
        elif isinstance(hint, type) and issubclass(hint, litestar.Response):
            hint = dict
        return None if hint is NoneType else hint

    @property
    def tag(self) -> str:
        """Whom it is for."""
        if self.path.startswith("/v1/dev/"):
            return "Development"
        if not self.path.startswith("/v1/"):
            return "Operations"
        if self.path.startswith("/v1/partners/"):
            return "Partners"
        return "Operators" if self.path.startswith("/v1/operator/") else "Mobile apps"


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


def openapi_text(app: Litestar) -> bytes:
    """The document as it is served and as it stands in `openapi/openapi.json`."""
    return msgspec.json.format(msgspec.json.encode(openapi_document(app)), indent=2) + b"\n"


def openapi_document(app: Litestar) -> dict[str, Any]:
    """The whole description, in a stable order."""
    offered = operations(app)
    types: list[Any] = [Problem]
    for operation in offered:
        access = operation.access
        types += [kind for kind in (access.query, operation.answer) if kind]
        types += [kind for kind in access.media.values() if kind]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = {_key(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    queries = {operation.access.query for operation in offered} - {None}
    paths: dict[str, dict[str, Any]] = {}
    for operation in offered:
        paths.setdefault(operation.path, {})[operation.method] = _described(
            operation, schema_of, components
        )
    for query in queries:
        # A query is told parameter by parameter.
        del components[schema_of[_key(query)]["$ref"].rpartition("/")[2]]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Saxaul",
            "version": version("saxaul"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in sorted({operation.tag for operation in offered})],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "headers": {
                name: {"description": told, "schema": {"type": "string"}}
                for name, told in _HEADERS.items()
            },
            "securitySchemes": {
                f"{realm}Token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": f"An access token of the {realm}s' issuer.",
                }
                for realm in ("participant", "operator")
            }
            | {"partnerSignature": _SIGNATURE},
        },
    }


def _key(kind: Any) -> str:
    return repr(kind)


def _described(
    operation: Operation, schema_of: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    access = operation.access
    text = inspect.getdoc(operation.handler.fn) or ""
    summary, _, description = text.partition("\n\n")
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": " ".join(summary.split()).rstrip("."),
    }
    if description:
        described["description"] = description
    if access.role == "partner":
        described["security"] = [{"partnerSignature": []}]
    elif access.role != "public":
        scopes = [access.scope] if access.scope else []
        described["security"] = [{f"{access.role}Token": scopes}]
    else:
        described["security"] = []
    if parameters := list(_parameters(operation, schema_of, components)):
        described["parameters"] = parameters
    if access.body is not None:
        described["requestBody"] = {
            "required": bool(_required(access.body)),
            "content": {
                media: {"schema": schema_of[_key(kind)]} for media, kind in access.media.items()
            },
        }
    described["responses"] = _responses(operation, schema_of)
    return described


def _required(kind: type[Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind) if field.required]


def _parameters(
    operation: Operation, schema_of: dict[str, Any], components: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    for name in _PATH_PARAMETER.findall(operation.path):
        schema = (
            {"type": "string", "format": "uuid"}
            if name.endswith("_id") and name != "partner_id"
            else {"type": "string"}
        )
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    query = operation.access.query
    if query is not None:
        component = components[schema_of[_key(query)]["$ref"].rpartition("/")[2]]
        for name, schema in component["properties"].items():
            yield {
                "name": name,
                "in": "query",
                "required": name in component.get("required", ()),
                "schema": schema,
            }
    if operation.access.role == "partner":
        for name, pattern in _STAMP.items():
            schema = {"type": "string", "pattern": pattern}
            yield {"name": name, "in": "header", "required": True, "schema": schema}
    if _takes_key(operation):
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "required": operation.access.key_required,
            "description": "Makes the request repeatable: the same key, the same answer.",
            "schema": {"type": "string", "minLength": 16, "maxLength": 128},
        }


def _takes_key(operation: Operation) -> bool:
    is_participants = operation.method == "post" and operation.access.role == "participant"
    return is_participants or operation.access.takes_key


def _is_counted(operation: Operation) -> bool:
    """Whether callers are limited; whoever watches over a process is not told that it is busy."""
    return not operation.path.startswith(("/health/", "/metrics"))


def _responses(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    answer = operation.answer
    good: dict[str, Any] = {"description": "No content" if answer is None else "Done"}
    if answer is str:
        good["content"] = {"text/plain": {"schema": {"type": "string"}}}
    elif answer is not None:
        good["content"] = {"application/json": {"schema": schema_of[_key(answer)]}}
    responses: dict[str, Any] = {str(operation.handler.status_code): good}
    told = [*_LIMITED] if _is_counted(operation) and operation.access.role != "operator" else []
    if _takes_key(operation):
        told.append("Idempotency-Replayed")
    if told:
        good["headers"] = _headers(told)
    if operation.access.role == "participant" and operation.handler.status_code == 201:
        responses.setdefault("200", {**good, "description": "Done before, with this key"})
    problem = {PROBLEM_JSON: {"schema": schema_of[_key(Problem)]}}
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(_codes(operation)):
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    for status, codes in sorted(by_status.items()):
        description = "; ".join(f"`{code}`: {PROBLEMS[code][1]}" for code in codes)
        responses[str(status)] = {"description": description, "content": problem}
        if told := [name for code in codes for name in _HEADERS_OF.get(code, ())]:
            responses[str(status)]["headers"] = _headers(told)
    return responses


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _codes(operation: Operation) -> Iterable[str]:
    access = operation.access
    if access.role == "partner":
        yield from _SIGNED
    elif access.role != "public":
        yield from _CLOSED
    # Who a partner is, is not told: an unknown one's signature is refused like any other.
    if _PATH_PARAMETER.search(operation.path) and access.role != "partner":
        yield "not-found"
    if access.query is not None:
        yield from ("malformed-request", "invalid-request")
    if access.body is not None:
        yield from _WITH_BODY
    if access.key_required:
        yield "idempotency-key-required"
    if _takes_key(operation):
        yield from _WITH_KEY
    yield from access.problems
    if _is_counted(operation):
        yield "rate-limited"
    yield from _EVERY
