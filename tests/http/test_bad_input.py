"""Bad input of every kind gets a problem document that says where it is wrong, and why."""

import json
import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.people import headers_of, served, settings_for, walk

ACTIONS = "/v1/me/actions"
JSON = {"Content-Type": "application/json"}
UUID = "01980000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    async with served(settings_for(servers, database_url, home)) as made:
        yield made


@pytest.fixture(scope="module")
async def alice(client):
    return await headers_of(client, "alice")


@pytest.fixture(scope="module")
async def operator(client):
    return await headers_of(client, "olga", "operator")


def assert_problem(answer, status, code):
    """The answer is a problem document of this kind; gives it."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"].endswith(code)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", problem["instance"])
    assert "Traceback" not in answer.text
    assert "<html" not in answer.text.lower()
    return problem


def a_walk(**changes):
    return json.dumps(walk(**changes)).encode()


def with_attributes(text):
    return a_walk(attributes="ATTRIBUTES").replace(b'"ATTRIBUTES"', text)


def at(moment):
    return moment.isoformat()


async def test_the_walk_that_the_cases_spoil_is_accepted(client, alice):
    answer = await client.post(ACTIONS, content=a_walk(), headers=alice | JSON)
    assert answer.status_code == 201, answer.text


UNPARSABLE = {
    "nothing": b"",
    "not JSON": b"steps=8000",
    "half of it": a_walk()[:-2],
    "more behind it": a_walk() + b"x",
    "NaN": with_attributes(b'{"steps": NaN}'),
    "Infinity": with_attributes(b'{"steps": -Infinity}'),
    "100,000 brackets": b"[" * 100_000,
    "100,000 brackets in a field": with_attributes(b"[" * 100_000),
    "50,000 braces": b'{"a":' * 50_000,
    "invalid UTF-8": with_attributes(b'{"steps": "\xff\xfe"}'),
    "UTF-16": a_walk().decode().encode("utf-16"),
    "a lone surrogate": with_attributes(rb'{"note": "\ud800 and more text"}'),
    "a lone low surrogate": with_attributes(rb'{"note": "\udc00"}'),
    "an encoded surrogate": with_attributes(b'{"note": "\xed\xa0\x80"}'),
    "a raw NUL": with_attributes(b'{"note": "a\x00b"}'),
    "a wrong field before the fault": b'{"nonsense": 1, "steps": NaN}',
}


@pytest.mark.parametrize("body", UNPARSABLE.values(), ids=UNPARSABLE.keys())
async def test_what_is_no_json_is_malformed(client, alice, body):
    answer = await client.post(ACTIONS, content=body, headers=alice | JSON)
    assert_problem(answer, 400, "malformed-request")


MISSHAPEN = {
    "a list": (b"[]", "#"),
    "null": (b"null", "#"),
    "a number for a text": (a_walk(type=7), "#/type"),
    "null for a text": (a_walk(type=None), "#/type"),
    "a number for a time": (a_walk(occurred_at=1_795_291_200), "#/occurred_at"),
    "no time": (a_walk(occurred_at="yesterday"), "#/occurred_at"),
    "a time without an offset": (a_walk(occurred_at="2026-11-21T08:00:00"), "#/occurred_at"),
    "a day without a time": (a_walk(occurred_at="2026-11-21"), "#/occurred_at"),
    "the 13th month": (a_walk(occurred_at="2026-13-01T08:00:00Z"), "#/occurred_at"),
    "before 2000": (a_walk(occurred_at="1999-12-31T23:59:59Z"), "#/occurred_at"),
    "after 2199": (a_walk(occurred_at="2200-01-01T00:00:00Z"), "#/occurred_at"),
    "the end of time": (a_walk(occurred_at="9999-12-31T23:59:59-12:00"), "#/occurred_at"),
    "an unknown field": (a_walk(points=5), "#/points"),
    "a misspelt field": (b'{"type": "mobility.walk", "occured_at": ""}', "#/occured_at"),
    "a missing field": (b'{"type": "mobility.walk"}', "#/occurred_at"),
    "an unknown reporter": (a_walk(reporter="neighbour"), "#/reporter"),
    "a list for attributes": (a_walk(attributes=[1]), "#/attributes"),
    "an object in an attribute": (with_attributes(b'{"steps": {}}'), "#/attributes/steps"),
    "a huge float": (with_attributes(b'{"steps": 1e999}'), "#/attributes/steps"),
    "a huge whole number": (
        with_attributes(b'{"steps": ' + b"9" * 5_000 + b"}"),
        "#/attributes/steps",
    ),
    "a NUL in a text": (a_walk(type="mobility\0walk"), "#/type"),
    "a NUL in an attribute": (with_attributes(rb'{"note": "a\u0000"}'), "#/attributes/note"),
    "a NUL in a name": (with_attributes(rb'{"a\u0000": 1}'), "#/attributes/a%00"),
    "a name with a slash": (with_attributes(b'{"a/b~c": []}'), "#/attributes/a~1b~0c"),
    "a name twice": (a_walk()[:-1] + b', "type": "mobility.bike"}', "#/type"),
    "a name twice in attributes": (
        with_attributes(b'{"steps": 8000, "steps": 1}'),
        "#/attributes/steps",
    ),
    "a name twice, once escaped": (
        with_attributes(rb'{"steps": 8000, "step\u0073": 1}'),
        "#/attributes/steps",
    ),
    "61 seconds of another minute": (
        a_walk(occurred_at="2026-11-21T12:00:60Z"),
        "#/occurred_at",
    ),
}


@pytest.mark.parametrize(("body", "pointer"), MISSHAPEN.values(), ids=MISSHAPEN.keys())
async def test_json_of_another_shape_is_invalid(client, alice, body, pointer):
    answer = await client.post(ACTIONS, content=body, headers=alice | JSON)
    problem = assert_problem(answer, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == pointer
    assert problem["errors"][0]["detail"]


async def test_a_name_twice_in_an_item_harms_no_other(client, alice):
    first, second = (a_walk(idempotency_key=f"a-name-twice-item-{n}") for n in "12")
    spoilt = second[:-1] + b', "type": "mobility.bike"}'
    body = b'{"actions": [%b, %b]}' % (spoilt, first)
    answer = await client.post(f"{ACTIONS}/batch", content=body, headers=alice | JSON)
    wrong, right = answer.json()["results"]
    assert right["status"] == "accepted"
    assert wrong["problem"]["errors"][0] == {
        "pointer": "#/actions/0/type",
        "detail": "is given more than once",
    }
    body = b'{"actions": [%b], "actions": [%b]}' % (first, second)
    answer = await client.post(f"{ACTIONS}/batch", content=body, headers=alice | JSON)
    problem = assert_problem(answer, 422, "invalid-request")
    assert [each["pointer"] for each in problem["errors"]] == ["#/actions"]


async def test_an_operator_says_nothing_twice(client, operator):
    body = b'{"id": "twice", "name": "n", "action_types": [], "source_prefix": "urn:a", "id": "b"}'
    answer = await client.post("/v1/operator/partners", content=body, headers=operator | JSON)
    assert_problem(answer, 422, "invalid-request")


@pytest.mark.parametrize(
    "second", ["5", "null", '"text"', "[]", '{"type": "Feature"}', '{"type": "Point", "x": 1}']
)
async def test_an_unknown_field_below_a_name_that_stands_twice_is_told(client, operator, second):
    """What is unknown is looked for in what stands first, and is not in what stands last."""
    first = '{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2], "zz": 1}}'
    body = f'{{"name": "n", "area_m2": 1, "position": {first}, "position": {second}}}'.encode()
    path = f"/v1/operator/projects/{uuid.uuid4()}/plots"
    answer = await client.post(path, content=body, headers=operator | JSON)
    problem = assert_problem(answer, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == "#/position/geometry/zz"


async def test_a_persons_leap_second_is_the_second_that_follows(client, alice):
    today = datetime.now(UTC).date()
    body = a_walk(occurred_at=f"{today - timedelta(days=1)}T23:59:60.5Z")
    answer = await client.post(ACTIONS, content=body, headers=alice | JSON)
    assert answer.json()["occurred_at"] == f"{today}T00:00:00.500000Z"
    items = {"actions": [json.loads(body) | {"idempotency_key": "in-the-leap-second"}]}
    answer = await client.post(f"{ACTIONS}/batch", json=items, headers=alice)
    assert answer.json()["accepted"] == 1, answer.text


async def test_a_report_with_fewer_digits_is_the_same_report(client, alice):
    second, key = (datetime.now(UTC) - timedelta(hours=1)).isoformat()[:19], "the-same-instant-x"
    answers = []
    for digits in ("999999999", "999999"):
        body = a_walk(occurred_at=f"{second}.{digits}Z")
        headers = alice | JSON | {"Idempotency-Key": key}
        answers.append(await client.post(ACTIONS, content=body, headers=headers))
    assert [answer.status_code for answer in answers] == [201, 200], answers[1].text
    assert answers[0].json()["occurred_at"] == f"{second}.999999Z"


async def test_a_misspelt_field_is_told_how_it_is_spelt(client, alice):
    body = {"type": "mobility.walk", "occured_at": "2026-11-21T08:00:00Z"}
    answer = await client.post(ACTIONS, json=body, headers=alice)
    assert "did you mean occurred_at?" in answer.json()["errors"][0]["detail"]


BAD_ATTRIBUTES = {
    "more than allowed": (b'{"steps": 100001}', "#/attributes/steps"),
    "less than allowed": (b'{"steps": 0}', "#/attributes/steps"),
    "no whole number": (b'{"steps": 80.5}', "#/attributes/steps"),
    "a text": (b'{"steps": "8000"}', "#/attributes/steps"),
    "too large for the database": (b'{"steps": 9223372036854775808}', "#/attributes/steps"),
    "300 digits": (b'{"steps": ' + b"9" * 300 + b"}", "#/attributes/steps"),
    "unknown": (b'{"steps": 8000, "speed": 5}', "#/attributes/speed"),
    "emoji for a number": ('{"steps": "🌳"}'.encode(), "#/attributes/steps"),
    "missing": (b"{}", "#/attributes/steps"),
}


@pytest.mark.parametrize(
    ("attributes", "pointer"), BAD_ATTRIBUTES.values(), ids=BAD_ATTRIBUTES.keys()
)
async def test_attributes_that_do_not_fit_the_type_are_invalid(client, alice, attributes, pointer):
    body = with_attributes(attributes)
    answer = await client.post(ACTIONS, content=body, headers=alice | JSON)
    problem = assert_problem(answer, 422, "invalid-attributes")
    assert problem["errors"][0]["pointer"] == pointer


async def test_an_unknown_action_type_is_refused(client, alice):
    answer = await client.post(ACTIONS, json=walk(type="mobility.teleport"), headers=alice)
    assert_problem(answer, 422, "unknown-action-type")


@pytest.mark.parametrize(
    ("occurred_at", "reason"),
    [
        (at(datetime.now(UTC) + timedelta(hours=1)), "in-future"),
        (at(datetime.now(UTC) - timedelta(days=3_650)), "too-late"),
    ],
    ids=["future", "late"],
)
async def test_a_time_that_the_catalogue_refuses_has_its_reason(client, alice, occurred_at, reason):
    answer = await client.post(ACTIONS, json=walk(occurred_at=occurred_at), headers=alice)
    problem = assert_problem(answer, 422, "action-refused")
    assert problem["reason"] == reason


@pytest.mark.parametrize("size", [262_145, 1_200_000])
async def test_a_body_that_is_too_large_is_refused(client, alice, size):
    body = a_walk(type="x" * size)
    answer = await client.post(ACTIONS, content=body, headers=alice | JSON)
    assert_problem(answer, 413, "body-too-large")


async def test_a_body_of_unknown_length_is_refused_once_it_is_too_large(client, alice):
    read = 0

    async def endless():
        nonlocal read
        while read < 1_000:
            read += 1
            yield b" " * 10_000

    answer = await client.post(ACTIONS, content=endless(), headers=alice | JSON)
    assert_problem(answer, 413, "body-too-large")
    assert read < 1_000


async def test_an_operators_body_may_be_larger(client, operator):
    body = json.dumps({"name": "x" * 300_000}).encode()
    answer = await client.post("/v1/operator/projects", content=body, headers=operator | JSON)
    assert_problem(answer, 422, "invalid-request")
    body = json.dumps({"name": "x" * 2_100_000}).encode()
    answer = await client.post("/v1/operator/projects", content=body, headers=operator | JSON)
    assert_problem(answer, 413, "body-too-large")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json5"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
    ids=["none", "text", "form", "other JSON", "gzip"],
)
async def test_a_body_that_is_not_said_to_be_json_is_refused(client, alice, headers):
    answer = await client.post(ACTIONS, content=a_walk(), headers=alice | headers)
    assert_problem(answer, 415, "unsupported-media-type")


async def test_the_content_type_is_judged_before_the_size(client, alice):
    headers = alice | {"Content-Type": "text/plain"}
    answer = await client.post(ACTIONS, content=b"x" * 300_000, headers=headers)
    assert_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"],
)
async def test_parameters_and_case_of_the_content_type_do_not_matter(client, alice, content_type):
    headers = alice | {"Content-Type": content_type}
    answer = await client.post(ACTIONS, content=a_walk(), headers=headers)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("content", "headers"), [(b"", {}), (b"", {"Content-Type": "text/plain"}), (b"{}", JSON)]
)
async def test_a_post_without_fields_takes_nothing_or_an_empty_object(
    client, alice, content, headers
):
    answer = await client.post("/v1/me/bubbles/collect", content=content, headers=alice | headers)
    assert answer.status_code == 200, answer.text


async def test_a_post_without_fields_refuses_fields(client, alice):
    answer = await client.post("/v1/me/bubbles/collect", json={"all": True}, headers=alice)
    problem = assert_problem(answer, 422, "invalid-request")
    assert problem["errors"] == [
        {"pointer": "#/all", "detail": "is not a field: none is allowed here"}
    ]


BAD_QUERIES = {
    "limit=0": "#/query/limit",
    "limit=201": "#/query/limit",
    "limit=-1": "#/query/limit",
    "limit=many": "#/query/limit",
    "limit=": "#/query/limit",
    "limit=" + "9" * 400: "#/query/limit",
    "limit=5&limit=6": "#/query/limit",
    "cursor=nonsense": "#/query/cursor",
    "cursor=%F0%9F%8C%B3": "#/query/cursor",
    "cursor=a%00b": "#/query/cursor",
    "cursor=" + "A" * 600: "#/query/cursor",
    "offset=5": "#/query/offset",
}


@pytest.mark.parametrize(("query", "pointer"), BAD_QUERIES.items(), ids=lambda text: text[:20])
async def test_a_bad_query_is_invalid(client, alice, query, pointer):
    answer = await client.get(f"/v1/me/bubbles?{query}", headers=alice)
    problem = assert_problem(answer, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("path", ["/v1/me", "/v1/program", f"{ACTIONS}/{UUID}", "/v1/me/export"])
async def test_a_query_where_none_is_read_is_invalid(client, alice, path):
    problem = assert_problem(
        await client.get(f"{path}?limt=5", headers=alice), 422, "invalid-request"
    )
    assert [error["pointer"] for error in problem["errors"]] == ["#/query/limt"]
    if path != "/v1/program":
        assert_problem(await client.get(f"{path}?limt=5"), 401, "unauthenticated")


async def test_a_post_reads_no_query(client, alice):
    answer = await client.post(f"{ACTIONS}?dry_run=1", headers=alice, json=walk())
    assert_problem(answer, 422, "invalid-request")


@pytest.mark.parametrize("path", ["/v1/me/", "/v1/program/", "/v1/nonsense/", "/v1/me//actions"])
async def test_each_thing_has_one_address(client, alice, path):
    for headers in (alice, {}):
        assert_problem(await client.get(path, headers=headers), 404, "not-found")


async def test_head_answers_as_get_without_the_body(client, alice):
    asked = await client.head("/v1/me", headers=alice)
    got = await client.get("/v1/me", headers=alice)
    assert (asked.status_code, asked.content) == (200, b"")
    for name in ("content-type", "content-length", "cache-control"):
        assert asked.headers[name] == got.headers[name]
    assert (await client.head("/v1/me")).status_code == 401
    assert (await client.head("/v1/nonsense")).status_code == 404
    only_post = await client.head("/v1/me/bubbles/collect", headers=alice)
    assert (only_post.status_code, only_post.headers["allow"]) == (405, "POST, OPTIONS")


async def test_a_query_that_is_no_utf_8_is_malformed(client, alice):
    answer = await client.get("/v1/me/bubbles?cursor=%ff", headers=alice)
    assert_problem(answer, 400, "malformed-request")


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "nonsense",
        UUID[:-1],
        UUID.replace("-", ""),
        "{" + UUID + "}",
        "urn:uuid:" + UUID,
        UUID.replace("7000", "g000"),
        "%00",
        "%F0%9F%8C%B3",
        "a" * 5_000,
        UUID,
    ],
    ids=lambda text: text[:20],
)
async def test_a_malformed_or_unknown_id_is_not_found(client, alice, text):
    answer = await client.get(f"/v1/me/actions/{text}", headers=alice)
    assert_problem(answer, 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v2/me"),
        ("GET", "/v1/me/nothing"),
        ("POST", "/v1/nothing"),
        ("DELETE", "/v1/me/actions/5/6"),
        ("GET", "/.env"),
        ("GET", "/v1/../../etc/passwd"),
        ("GET", "/v1/%2e%2e/%00"),
        # Parts that are not built yet are not there.
        ("GET", "/v1/me/friends"),
        ("POST", "/v1/me/shield"),
    ],
)
async def test_an_unknown_path_is_not_found_with_and_without_a_token(client, alice, method, path):
    for headers in ({}, alice, {"Authorization": "Bearer nonsense"}):
        assert_problem(await client.request(method, path, headers=headers), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/me", "GET"),
        ("DELETE", "/v1/me/actions", "POST"),
        ("POST", "/v1/program", "GET"),
        ("BREW", "/v1/me", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(client, alice, method, path, allowed):
    answer = await client.request(method, path, headers=alice)
    assert_problem(answer, 405, "method-not-allowed")
    assert allowed in answer.headers["allow"]


@pytest.mark.parametrize(
    "key",
    ["short", "x" * 129, "k" * 15, '"' + "k" * 15 + '"', "with a blank in it", ""],
    ids=lambda text: text[:20] or "empty",
)
async def test_a_malformed_idempotency_key_is_told(client, alice, key):
    headers = alice | {"Idempotency-Key": key}
    answer = await client.post("/v1/me/bubbles/collect", headers=headers)
    assert_problem(answer, 400, "idempotency-key-malformed")


async def test_a_key_may_be_quoted_and_then_means_the_same(client, alice):
    bare = alice | {"Idempotency-Key": "the-same-key-0001"}
    quoted = alice | {"Idempotency-Key": '"the-same-key-0001"'}
    first = await client.post("/v1/me/bubbles/collect", headers=bare)
    again = await client.post("/v1/me/bubbles/collect", headers=quoted)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content


async def test_the_same_key_with_another_body_is_refused(client, alice):
    headers = alice | {"Idempotency-Key": "the-same-key-0002"}
    await client.post("/v1/me/bubbles/collect", headers=headers)
    answer = await client.post("/v1/me/bubbles/collect", content=b"{}", headers=headers | JSON)
    assert_problem(answer, 422, "idempotency-key-reused")


async def test_emoji_and_many_scripts_are_stored_as_they_came(client, alice):
    name = "Ali 🌳 李 ع नि می\u200cخواهم"
    answer = await client.patch("/v1/me", json={"display_name": name}, headers=alice)
    assert answer.json()["display_name"] == name
    assert (await client.get("/v1/me", headers=alice)).json()["display_name"] == name


async def test_a_fault_of_the_service_tells_nothing_of_the_inside(client, alice, monkeypatch):
    def fail(*_arguments, **_named):
        raise RuntimeError("the secret of the inside")

    monkeypatch.setattr("service.participants.routes.find_participant", fail)
    answer = await client.get("/v1/me", headers=alice)
    assert_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text


async def test_the_request_id_is_echoed_only_when_it_is_a_plain_one(client):
    for text in ("abcd-EFGH_1234", UUID):
        answer = await client.get("/nothing", headers={"X-Request-Id": text})
        assert answer.headers["x-request-id"] == text
    assert answer.json()["instance"] == f"urn:uuid:{UUID}"
    for text in ("short", "x" * 65, "with blanks in it", "<script>alert(1)</script>"):
        answer = await client.get("/nothing", headers={"X-Request-Id": text})
        assert answer.headers["x-request-id"] != text


async def test_personal_answers_are_not_kept_by_caches(client, alice):
    answer = await client.get("/v1/me", headers=alice)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
