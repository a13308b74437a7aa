"""The description of the interface says what the code does, and stands in the repository."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from litestar.routes import HTTPRoute
from openapi_spec_validator import validate

from service.app import create_app
from service.platform.errors import PROBLEMS
from service.platform.settings import Settings
from service.run.commands_openapi import generated
from service.run.openapi import openapi_document
from service.run.operations import operations, words
from tests.people import served, settings_for

FOLDER = Path(__file__).parent.parent.parent / "openapi"

# What the contract answers with 201; everything else that succeeds with a body answers 200.
CREATING = {
    "POST /v1/me/links",
    "POST /v1/operator/partners",
    "POST /v1/operator/partners/{partner_id}/keys",
    "POST /v1/partners/{partner_id}/links",
    "POST /v1/me/actions",
    "POST /v1/me/pledges",
    "POST /v1/operator/participants/{participant_id}/adjustments",
    "POST /v1/operator/projects",
    "POST /v1/operator/projects/{project_id}/plots",
    "POST /v1/operator/rulebooks",
}


@pytest.fixture(scope="module")
def app():
    return create_app(Settings())


@pytest.fixture(scope="module")
def document(app):
    return openapi_document(app)


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    async with served(settings_for(servers, database_url, home)) as made:
        yield made


def operations_of(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


@pytest.mark.parametrize("name", ["openapi.json", "rules.schema.json", "scenarios.schema.json"])
def test_what_is_generated_stands_in_the_repository(name):
    assert (FOLDER / name).read_bytes() == generated()[name], "run `make openapi`"


def test_the_document_is_valid(document):
    validate(document)


def test_every_route_is_described(app, document):
    described = {name for name, _ in operations_of(document)}
    offered = {
        f"{method} {route.path_format}"
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }
    assert offered - described == {"GET /schema/page.js", "GET /schema/page.css"}
    assert described <= offered


def test_operations_have_names_of_their_own(document):
    names = Counter(operation["operationId"] for _, operation in operations_of(document))
    assert [name for name, count in names.items() if count > 1] == []
    assert [name for name in names if not re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", name)] == []


def properties_of(document):
    """Every property of every schema, and every parameter, with its full name."""
    for name, schema in document["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            yield f"{name}.{field}", told
    for _, operation in operations_of(document):
        for told in operation.get("parameters", ()):
            yield f"{operation['operationId']}.{told['name']}", {**told["schema"], **told}


def test_everything_says_what_it_is(document):
    silent = [name for name, told in properties_of(document) if len(told["description"]) < 5]
    for name, operation in operations_of(document):
        silent += [name] * (len(operation["summary"]) < 10 or len(operation["description"]) < 20)
    silent += [tag["name"] for tag in document["tags"] if len(tag["description"]) < 20]
    silent += [
        name
        for name, schema in document["components"]["schemas"].items()
        if not schema["description"]
    ]
    assert silent == []


def test_every_word_is_used_and_has_one_meaning(document):
    told = json.dumps(document, ensure_ascii=False)
    known = msgspec.to_builtins(words())
    texts = [
        (name, text)
        for group in known.values()
        if group != known["about"]
        for name, text in group.items()
    ]
    assert [
        name for name, text in texts if json.dumps(text, ensure_ascii=False)[1:-1] not in told
    ] == []
    exceptions = {name for name in words().properties if "." in name}
    queries = {kind.__name__ for kind in queries_of(create_app(Settings()))}
    known_names = {name for name, _ in properties_of(document)}
    assert [n for n in exceptions - known_names if n.partition(".")[0] not in queries] == []
    properties = words().properties
    assert [n for n in exceptions if properties[n] == properties.get(n.partition(".")[2])] == []


def queries_of(app):
    return {operation.access.query for operation in operations(app)} - {None}


def test_names_of_schemas_are_plain(document):
    names = document["components"]["schemas"]
    assert [name for name in names if not re.fullmatch(r"([A-Z][a-z0-9]*)+", name)] == []


def test_a_problem_tells_its_codes_and_what_comes_with_them(document):
    problem = document["components"]["schemas"]["Problem"]
    assert set(problem["properties"]["code"]["enum"]) == set(PROBLEMS)
    assert {"reason", "needed_g", "available_g", "errors"} <= set(problem["properties"])
    assert {"type", "title", "status", "detail", "code", "instance"} == set(problem["required"])


TIMES = re.compile(r".*(_at|\.at|\.now|\.time|\.timestamp|\.as_of|\.not_before|\.not_after)")
DAYS = re.compile(r"(Season|RuleAnswer|CampaignAnswer)\.(from|until)|DaySides\.day")
# A time of day, and a period that may be told as a day or as a time.
OTHERWISE = {"RipeningTerms.next_day_at"}


def test_times_and_days_say_their_form(document):
    forms = {
        name: {form.get("format") for form in told.get("anyOf", [told]) if form != {"type": "null"}}
        for name, told in properties_of(document)
    }
    found = {name: form for name, form in forms.items() if TIMES.fullmatch(name)}
    assert {n for n, form in found.items() if form != {"date-time"}} == OTHERWISE
    assert len(found) > 30
    days = {name: form for name, form in forms.items() if DAYS.fullmatch(name)}
    assert set(map(frozenset, days.values())) == {frozenset({"date"})}


def test_what_may_be_left_out_is_not_required_and_what_always_comes_is(app, document):
    """Generators of clients take what has a default for what is always there."""
    schemas = document["components"]["schemas"]
    assert [name for name, told in properties_of(document) if "default" in told] == []
    for operation in operations(app):
        kind = operation.access.body
        if kind is not None:
            needed = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
            assert set(schemas[kind.__name__].get("required", ())) == needed
    assert set(schemas["ActionAnswerList"]["required"]) == {"items", "next_cursor"}
    assert set(schemas["Health"]["required"]) == {"status", "parts"}
    assert "reason" not in schemas["ItemProblem"]["required"]


def test_only_what_creates_answers_201(document):
    creating = {name for name, told in operations_of(document) if "201" in told["responses"]}
    assert creating == CREATING


def test_all_but_public_operations_ask_for_a_token(app, document):
    for operation in operations(app):
        security = document["paths"][operation.path][operation.method]["security"]
        if operation.access.role == "public":
            assert security == []
        else:
            proof = "Signature" if operation.access.role == "partner" else "Token"
            scopes = [operation.access.scope] if operation.access.scope else []
            assert security == [{f"{operation.access.role}{proof}": scopes}]


def test_errors_are_problem_documents(document):
    for name, operation in operations_of(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], name
        assert "500" in operation["responses"], name


TAKING_KEYS = {
    "POST /v1/operator/actions/{action_id}/reverse",
    "POST /v1/operator/participants/{participant_id}/adjustments",
    "POST /v1/operator/projects",
    "POST /v1/operator/projects/{project_id}/plots",
    "POST /v1/operator/rulebooks",
}


def test_whatever_can_be_repeated_by_a_key_says_so(document):
    taking = {
        name
        for name, operation in operations_of(document)
        if "Idempotency-Key" in {p["name"] for p in operation.get("parameters", ())}
    }
    assert {name for name in taking if "/v1/operator/" in name} == TAKING_KEYS
    by_participants = {
        name
        for name, operation in operations_of(document)
        if name.startswith("POST") and operation["security"] == [{"participantToken": []}]
    }
    assert taking - TAKING_KEYS == by_participants


def headers_of(document, status):
    """The headers of all answers of this status."""
    return {
        frozenset(operation["responses"][status].get("headers", ()))
        for _, operation in operations_of(document)
        if status in operation["responses"]
    }


def test_answers_tell_their_headers(document):
    limits = {"RateLimit-Policy", "RateLimit"}
    assert headers_of(document, "401") == {frozenset({"WWW-Authenticate"})}
    assert headers_of(document, "429") == {frozenset({*limits, "Retry-After"})}
    assert headers_of(document, "503") == {frozenset({"Retry-After"})}
    paths = document["paths"]
    sent = paths["/v1/partners/{partner_id}/events"]["post"]["responses"]
    assert set(sent["200"]["headers"]) == limits
    recorded = paths["/v1/me/actions"]["post"]["responses"]
    assert set(recorded["200"]["headers"]) == {*limits, "Idempotency-Replayed"}
    live = paths["/health/live"]["get"]["responses"]
    assert "429" not in live
    assert "headers" not in live["200"]


def test_a_signed_request_tells_what_its_signature_is_refused_with(document):
    for path, posts in {"events": True, "links": True, "parked": False}.items():
        methods = document["paths"][f"/v1/partners/{{partner_id}}/{path}"]
        told = methods["post" if posts else "get"]["responses"]
        assert {"400", "401", "413", "415"} <= set(told)
        # Only a link code can be missing: who a partner is, is not told.
        assert ("404" in told) == (path == "links")


def test_why_an_item_is_refused_is_told_by_type(document):
    schemas = document["components"]["schemas"]
    for name in ("EventResult", "BatchResult"):
        told = schemas[name]["properties"]["problem"]["$ref"].rpartition("/")[2]
        assert {"code", "title", "detail", "reason", "errors"} == set(schemas[told]["properties"])


def schemas_of_requests(document):
    """Every schema that a request is held against, with the place where it stands."""
    waiting = []
    for name, operation in operations_of(document):
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]
            waiting += [(name, told["schema"]) for told in content.values()]
        waiting += [
            (f"{name} {parameter['name']}", parameter["schema"])
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query"
        ]
    seen = set()
    while waiting:
        place, schema = waiting.pop()
        if "$ref" in schema:
            if schema["$ref"] in seen:
                continue
            seen.add(schema["$ref"])
            name = schema["$ref"].rpartition("/")[2]
            schema, place = document["components"]["schemas"][name], name
        yield place, schema
        waiting += [
            (f"{place}.{key}", inner) for key, inner in schema.get("properties", {}).items()
        ]
        waiting += [(place, inner) for inner in schema.get("anyOf", ())]
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                waiting.append((f"{place}.{key}", schema[key]))


# Events by their standards: attributes that nobody here knows are ignored.
EXTENSIBLE = {"CloudEvent", "WebhookEvent"}
VALUES = ("attributes.additionalProperties", "data.additionalProperties")


def test_requests_refuse_unknown_fields_and_have_bounds(document):
    unbounded = []
    for place, schema in schemas_of_requests(document):
        kind = schema.get("type")
        if kind == "object" and "properties" in schema:
            assert (schema.get("additionalProperties") is False) != (place in EXTENSIBLE), place
        is_bounded = {
            "string": not {"maxLength", "enum", "format", "pattern"}.isdisjoint(schema),
            "integer": "maximum" in schema and "minimum" in schema,
            "array": "maxItems" in schema,
        }.get(kind, True)
        # Values of attributes have the bounds of their action type.
        if not is_bounded and not place.endswith(VALUES):
            unbounded.append(place)
    assert unbounded == []


def test_every_code_of_a_problem_is_known():
    for code, (status, title) in PROBLEMS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", code)
        assert 400 <= status <= 599
        assert title


async def test_the_served_document_is_the_generated_one(client):
    for path in ("/schema", "/schema/openapi.json"):
        answer = await client.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.content == generated()["openapi.json"]


class Loaded(HTMLParser):
    """What a browser would fetch for a page."""

    def __init__(self):
        super().__init__()
        self.addresses, self.inline = [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "script" and "src" not in found:
            self.inline.append(tag)
        if tag in {"script", "img", "iframe"}:
            self.addresses.append(found.get("src"))
        if tag == "link":
            self.addresses.append(found["href"])
        if tag == "style":
            self.inline.append(tag)


async def test_the_page_works_without_any_other_server(client):
    answer = await client.get("/schema", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    page = Loaded()
    page.feed(answer.text)
    assert page.inline == []
    assert page.addresses == ["/schema/page.css", "/schema/page.js"]
    for address in page.addresses:
        asset = await client.get(address)
        assert asset.status_code == 200
        # No address of another machine in what is fetched, so nothing else will be.
        assert "://" not in asset.text
    assert json.loads((await client.get("/schema/openapi.json")).content)["openapi"] == "3.1.0"
