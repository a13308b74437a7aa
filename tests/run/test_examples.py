"""The examples of the OpenAPI document are a story: each request is sent, each answer compared.

What is another one in each run (ids, numbers of trees, codes) is learnt from the answers, and times
are moved to now. With RECORD=1 in the environment the answers of the run are written to the file.
"""

import json
import os
import re
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec import UNSET

from service.app import create_app
from service.platform.settings import Settings
from service.run.openapi import openapi_document
from service.run.operations import Step, operations, story
from tests.callers import sign_in
from tests.partners.sender import Sender
from tests.people import eventually, served, settings_for
from tests.run.test_worker import working

FILE = Path(__file__).parent.parent.parent / "service" / "run" / "examples.json"
BEGINS = datetime.fromisoformat("2026-11-21T08:00:00Z")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
# Ids, hashes, codes and numbers of trees.
NAME = re.compile(r"(?!\d{4}-\d\d-\d\d)(?=.*\d)\S{8,}")
OPERATIONS = {operation.id: operation for operation in operations(create_app(Settings()))}
# What they answer stands in openapi/openapi.json as a whole, or is a page of figures.
WHOLE = {"getSchema", "getOpenapi", "getMetrics"}
# They follow a moment later.
VIEWS = {"getLeaderboard", "getMyRank"}
SHOWN_MAX = 2


@pytest.fixture(scope="module")
def document():
    return openapi_document(create_app(Settings()))


@pytest.fixture(scope="module")
def schemas(document):
    """As they are for whoever sends and receives no more than they tell."""
    found = json.loads(json.dumps(document["components"]["schemas"]))
    for schema in found.values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return found


def validator_of(schemas, schema):
    whole = {**schema, "components": {"schemas": schemas}}
    return Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)


def contents(document, step):
    """What the document tells of a step's request and of its answer, by media type."""
    operation = OPERATIONS[step.operation]
    told = document["paths"][operation.path][operation.method]
    status = str(step.status or operation.handler.status_code)
    return told.get("requestBody", {}).get("content"), told["responses"][status].get("content")


def named(step):
    return f"{step.operation} by {step.by or 'anybody'}"


def test_every_operation_has_examples(document):
    for methods in document["paths"].values():
        for told in methods.values():
            name = told["operationId"]
            for content in told.get("requestBody", {}).get("content", {}).values():
                assert "example" in content, name
            for status, answer in told["responses"].items():
                for content in answer.get("content", {}).values():
                    is_shown = status < "300" and status == min(told["responses"])
                    assert not is_shown or name in WHOLE or "example" in content, name
            for parameter in told.get("parameters", ()):
                assert parameter["in"] != "path" or "example" in parameter, name


@pytest.mark.parametrize("step", story(), ids=named)
def test_examples_are_of_the_form_that_is_told(document, schemas, step):
    request, answer = contents(document, step)
    if step.body is not UNSET and not step.status:
        validator_of(schemas, request[step.media]["schema"]).validate(step.body)
    if step.answer is not UNSET:
        (content,) = answer.values()
        validator_of(schemas, content["schema"]).validate(step.answer)


class Story:
    """Sends the steps in order, and learns what the examples' names are called in this run."""

    def __init__(self, client, document, schemas, now):
        self.client, self.document, self.schemas = client, document, schemas
        self.shift = now - BEGINS
        self.real = {}
        self.callers = {}
        self.partner = None

    def to_real(self, value):
        """A value of an example as it is sent in this run."""
        if isinstance(value, dict):
            return {name: self.to_real(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.to_real(inner) for inner in value]
        return self.real.get(value) or moved(value, self.shift) if is_text(value) else value

    def learn(self, example, real):
        """Remember what is called otherwise."""
        if isinstance(example, dict) and isinstance(real, dict):
            for name in example.keys() & real.keys():
                self.learn(example[name], real[name])
        elif isinstance(example, list) and isinstance(real, list):
            for pair in zip(example, real, strict=False):
                self.learn(*pair)
        elif is_text(example) and is_text(real) and example != real and NAME.fullmatch(example):
            self.real.setdefault(example, real)

    async def send(self, step):
        operation = OPERATIONS[step.operation]
        path = operation.path.format(**self.to_real(step.path))
        body = UNSET if step.body is UNSET else self.to_real(step.body)
        if operation.access.role == "partner":
            media = None if body is UNSET else step.media
            content = b"" if body is UNSET else json.dumps(body).encode()
            tail = path.removeprefix(f"/v1/partners/{self.partner.id}")
            return await self.partner.call(operation.method, tail, content, media)
        headers = dict(self.callers[step.by].headers) if step.by else {}
        if step.key:
            headers["Idempotency-Key"] = step.key
        sent = {} if body is UNSET else {"json": body}
        return await self.client.request(
            operation.method, path, params=self.to_real(step.query), headers=headers, **sent
        )

    async def tell(self, step):
        """Send it until views have caught up; the answer, held against what is told of it."""
        answer = None

        async def is_there():
            nonlocal answer
            answer = await self.send(step)
            return answer.status_code != 503 and (step.operation not in VIEWS or counted(answer))

        await eventually(is_there)
        status = step.status or OPERATIONS[step.operation].handler.status_code
        assert answer.status_code == status, (named(step), answer.text)
        if status == 204 or step.operation == "getMetrics":
            return UNSET
        real = answer.json()
        if step.operation not in WHOLE:
            (content,) = contents(self.document, step)[1].values()
            validator_of(self.schemas, content["schema"]).validate(real)
        if step.operation == "makePartnerKey" and self.partner is None:
            self.partner = Sender(self.client, step.path["partner_id"], real["secret"], "")
        return real


def counted(answer):
    return bool(answer.json()["items"])


def is_text(value):
    return isinstance(value, str)


def moved(text, shift):
    """A text with its times, so many days later; a day alone as well."""
    if DAY.fullmatch(text):
        return (date.fromisoformat(text) + shift).isoformat()
    return TIME.sub(lambda found: moved_time(found[0], shift), text)


def moved_time(text, shift):
    later = (datetime.fromisoformat(text) + shift).replace(microsecond=0)
    return later.isoformat().replace("+00:00", "Z")


def shapes_differ(example, real, at=""):
    """Where an answer has another form than its example; null and the end of lists fit all."""
    if isinstance(example, dict) and isinstance(real, dict):
        if example.keys() != real.keys():
            yield f"{at}: {sorted(example.keys() ^ real.keys())}"
        for name in example.keys() & real.keys():
            yield from shapes_differ(example[name], real[name], f"{at}/{name}")
    elif isinstance(example, list) and isinstance(real, list):
        if bool(example) != bool(real):
            yield f"{at}: {len(example)} and {len(real)} items"
        for index, pair in enumerate(zip(example, real, strict=False)):
            yield from shapes_differ(*pair, f"{at}/{index}")
    elif None not in {example, real} and kind_of(example) != kind_of(real):
        yield f"{at}: {example} and {real}"


def kind_of(value):
    if isinstance(value, str):
        return "time" if TIME.fullmatch(value) else "text"
    return "number" if type(value) in {int, float} else type(value)


def as_example(value, tale):
    """An answer as it is shown: short, at the time of the story, without a secret."""
    if isinstance(value, dict):
        return {name: as_example(inner, tale) for name, inner in value.items()}
    if isinstance(value, list):
        shown = value[:SHOWN_MAX] if value and isinstance(value[0], dict) else value
        return [as_example(inner, tale) for inner in shown]
    if not isinstance(value, str):
        return value
    if value.startswith("eyJ"):
        return "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
    if value.startswith("whsec_"):
        return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    names = {real: example for example, real in tale.real.items()}
    return names.get(value) or moved(value, -tale.shift)


async def test_the_program_takes_and_answers_the_examples(
    servers, fresh_database_url, tmp_path, document, schemas
):
    settings = settings_for(servers, fresh_database_url, tmp_path / "home")
    told = []
    async with served(settings) as client, working(settings):
        now = datetime.fromisoformat((await client.get("/v1/dev/clock")).json()["now"])
        # At the time of day of the story, so that it is days later and nothing else.
        begins = datetime.combine(now + timedelta(days=1), BEGINS.timetz())
        await client.post("/v1/dev/clock", json={"now": begins.isoformat()})
        tale = Story(client, document, schemas, begins)
        for name, role in (("alice", "participant"), ("ben", "participant"), ("olga", "operator")):
            tale.callers[name] = await sign_in(client, name, role)
        for step in story():
            real = await tale.tell(step)
            tale.learn(step.answer, real)
            if os.environ.get("RECORD") and step.operation not in WHOLE and real is not UNSET:
                recorded = as_example(real, tale)
                step = msgspec.structs.replace(step, answer=recorded)  # noqa: PLW2901
            elif step.answer is not UNSET and step.operation not in WHOLE:
                assert [*shapes_differ(step.answer, real)] == [], named(step)
            told.append(step)
    if os.environ.get("RECORD"):
        FILE.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")


def test_the_story_has_no_step_that_nobody_needs():
    assert {step.operation for step in story()} == set(OPERATIONS)
    assert all(isinstance(step, Step) for step in story())
