"""The OpenAPI document: access and codes from the routes, words and examples from files."""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from litestar import Litestar
from msgspec import UNSET, Struct, UnsetType

from service import VERSION
from service.operations.readiness import PartState
from service.planting.answers import Season
from service.platform.errors import PROBLEM_JSON, PROBLEMS, Code, FieldError, Reason
from service.rulebooks.routes_operator import ProblemAnswer
from service.rules.tell.changes import RulebookDifference
from service.run.operations import Operation, operations, story, words

_REF = "#/components/schemas/{name}"
_LIMITED = ("RateLimit-Policy", "RateLimit")
_HEADERS_OF = {
    "unauthenticated": ("WWW-Authenticate",),
    "idempotency-in-progress": ("Retry-After",),
    "rate-limited": (*_LIMITED, "Retry-After"),
    "unavailable": ("Retry-After",),
}
_LISTING = re.compile(rb"Listing_(\w+?)_(?=\")")
_NAMED = re.compile(rb"#/components/schemas/(\w+)")

_STAMP = {"webhook-id": "^[A-Za-z0-9_-]{1,64}$", "webhook-timestamp": "^[0-9]{1,12}$"}


class Problem(Struct, frozen=True):
    """RFC 9457. Members beyond `instance` come with some codes only."""

    type: str
    title: str
    status: int
    detail: str
    code: Code
    instance: str
    errors: list[FieldError] | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET
    needed_g: int | UnsetType = UNSET
    available_g: int | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    season: Season | UnsetType = UNSET
    trees_left: int | UnsetType = UNSET
    pledged: int | UnsetType = UNSET
    trees: list[str] | UnsetType = UNSET
    problems: list[ProblemAnswer] | UnsetType = UNSET
    based_on: int | UnsetType = UNSET
    active_version: int | UnsetType | None = UNSET
    diff: RulebookDifference | UnsetType | None = UNSET
    parts: dict[str, PartState] | UnsetType = UNSET


def openapi_text(app: Litestar) -> bytes:
    """The document as it is served and as it stands in `openapi/openapi.json`."""
    return msgspec.json.format(msgspec.json.encode(openapi_document(app)), indent=2) + b"\n"


def openapi_document(app: Litestar) -> dict[str, Any]:
    """The whole description, in a stable order."""
    offered, known = operations(app), words()
    schema_of, components = _schemas(offered)
    paths: dict[str, dict[str, Any]] = {}
    for operation in offered:
        described = _described(operation, schema_of, components)
        paths.setdefault(operation.path, {})[operation.method] = described
    for query in {operation.access.query for operation in offered} - {None}:
        # A query is told parameter by parameter.
        del components[_name(schema_of[repr(query)])]
    tags = sorted({operation.tag for operation in offered})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Saxaul",
            "version": VERSION,
            "description": known.about,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": known.tags[name]} for name in tags],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "headers": {
                name: {"description": told, "schema": {"type": "string"}}
                for name, told in known.headers.items()
            },
            "securitySchemes": {
                name: {**_SCHEMES[name], "description": told}
                for name, told in known.security.items()
            },
        },
    }


_BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
_SCHEMES = {
    "participantToken": _BEARER,
    "operatorToken": _BEARER,
    "partnerSignature": {"type": "apiKey", "in": "header", "name": "webhook-signature"},
}


def _schemas(offered: list[Operation]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of each type that goes in or out, and the components that they name."""
    sent = [kind for each in offered for kind in (each.access.query, *each.access.media.values())]
    types = [kind for kind in (*sent, *(each.answer for each in offered), Problem) if kind]
    made = msgspec.json.encode(msgspec.json.schema_components(types, ref_template=_REF))
    schemas, components = msgspec.json.decode(_LISTING.sub(rb"\1List", made))
    schema_of = dict(zip(map(repr, types), schemas, strict=True))
    asked = _reached([schema_of[repr(kind)] for kind in sent if kind], components)
    for name, component in components.items():
        component["description"] = inspect.cleandoc(component["description"])
        for field, schema in component.get("properties", {}).items():
            schema["description"] = words().of(name, field)
            if "default" not in schema:
                continue
            # Generators of clients take what has a default for what is always there.
            default = schema.pop("default")
            if name not in asked:
                component["required"] = [*component.get("required", ()), field]
            elif default:
                schema["description"] += f" Default: {default}."
    return schema_of, components


def _reached(schemas: Any, components: dict[str, Any]) -> set[str]:
    """The names of all components that these schemas need."""
    reached: set[str] = set()
    waiting = schemas
    while waiting:
        found = {name.decode() for name in _NAMED.findall(msgspec.json.encode(waiting))} - reached
        reached |= found
        waiting = [components[name] for name in found]
    return reached


def _name(schema: dict[str, Any]) -> str:
    return str(schema["$ref"].rpartition("/")[2])


def _described(
    operation: Operation, schema_of: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    access, steps = operation.access, [step for step in story() if step.operation == operation.id]
    summary = (inspect.getdoc(operation.handler.fn) or "").partition("\n\n")[0]
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": " ".join(summary.split()).rstrip("."),
        "description": words().operations[operation.id],
        "security": [],
    }
    if access.role == "partner":
        described["security"] = [{"partnerSignature": []}]
    elif access.role != "public":
        described["security"] = [{f"{access.role}Token": [access.scope] if access.scope else []}]
    if parameters := list(_parameters(operation, schema_of, components)):
        given = {**steps[0].path, **steps[0].query} if steps else {}
        for parameter in parameters:
            if "description" not in parameter:
                parameter["description"] = words().of(operation.id, parameter["name"])
            if parameter["name"] in given:
                parameter["example"] = given[parameter["name"]]
        described["parameters"] = parameters
    if access.body is not None:
        content = {media: {"schema": schema_of[repr(kind)]} for media, kind in access.media.items()}
        for step in reversed(steps):
            if step.body is not UNSET and not step.status:
                content[step.media]["example"] = step.body
        is_required = any(field.required for field in msgspec.structs.fields(access.body))
        described["requestBody"] = {"required": is_required, "content": content}
    described["responses"] = _responses(operation, schema_of)
    for step in reversed(steps):
        if step.answer is not UNSET:
            status = str(step.status or operation.handler.status_code)
            (media,) = described["responses"][status]["content"].values()
            media["example"] = step.answer
    return described


def _parameters(
    operation: Operation, schema_of: dict[str, Any], components: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    for name in operation.parameters:
        is_id = name.endswith("_id") and name != "partner_id"
        form = {"format": "uuid"} if is_id else {}
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", **form}}
    query = operation.access.query
    if query is not None:
        component = components[_name(schema_of[repr(query)])]
        for name, schema in component["properties"].items():
            told = {"name": name, "in": "query", "required": name in component.get("required", ())}
            plain = dict(schema)
            yield {**told, "description": plain.pop("description"), "schema": plain}
    headers: dict[str, tuple[bool, dict[str, Any]]] = {}
    if operation.access.role == "partner":
        headers = {name: (True, {"pattern": pattern}) for name, pattern in _STAMP.items()}
    if operation.takes_key:
        bounds = {"minLength": 16, "maxLength": 128}
        headers["Idempotency-Key"] = (operation.access.key_required, bounds)
    if operation.access.is_kept:
        headers["If-None-Match"] = (False, {})
    for name, (is_required, bounds) in headers.items():
        told = {"name": name, "in": "header", "required": is_required}
        yield {**told, "schema": {"type": "string", **bounds}}


def _responses(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    answer = operation.answer
    good: dict[str, Any] = {"description": "No content" if answer is None else "Done"}
    if answer is str:
        good["content"] = {"text/plain": {"schema": {"type": "string"}}}
    elif answer is not None:
        good["content"] = {"application/json": {"schema": schema_of[repr(answer)]}}
    responses: dict[str, Any] = {str(operation.handler.status_code): good}
    told = [*_LIMITED] if operation.is_counted and operation.access.role != "operator" else []
    if operation.takes_key:
        told.append("Idempotency-Replayed")
    if operation.access.is_kept:
        told.append("ETag")
        responses["304"] = {"description": "Not changed", "headers": _headers(told)}
    if told:
        good["headers"] = _headers(told)
    if operation.access.role == "participant" and operation.handler.status_code == 201:
        responses.setdefault("200", {**good, "description": "Done before, with this key"})
    problem = {PROBLEM_JSON: {"schema": schema_of[repr(Problem)]}}
    by_status: dict[int, list[str]] = {}
    for code in operation.codes:
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    for status, codes in sorted(by_status.items()):
        description = "; ".join(f"`{code}`: {PROBLEMS[code][1]}" for code in codes)
        responses[str(status)] = {"description": description, "content": problem}
        if told := [name for code in codes for name in _HEADERS_OF.get(code, ())]:
            responses[str(status)]["headers"] = _headers(told)
    return responses


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
