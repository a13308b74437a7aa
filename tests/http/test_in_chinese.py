"""Problems and explanations in the language that the caller asks for; English stays as it was."""

import json
import re
import uuid

import pytest

from tests.callers import sign_in
from tests.partners.sender import PLAIN, linked_person, make_sender
from tests.people import served, settings_for, walk

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
# What stays in Latin letters: names of fields, types, rules, units of JSON, and what was sent.
HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    async with served(settings_for(servers, database_url, home)) as made:
        yield made


@pytest.fixture(scope="module")
async def alice(client):
    return await sign_in(client, "alice")


@pytest.fixture(scope="module")
async def operator(client):
    return await sign_in(client, "olga", "operator")


@pytest.fixture(scope="module")
async def metro(operator):
    return await make_sender(operator, "metro")


def spoken(problem):
    """Everything in a problem that people read."""
    return [
        problem["title"],
        problem["detail"],
        *(error["detail"] for error in problem.get("errors", [])),
    ]


def silent(problem):
    """The rest of it, which programs read."""
    errors = [error["pointer"] for error in problem.get("errors", [])]
    told = {"title", "detail", "errors", "instance"}
    return {name: value for name, value in problem.items() if name not in told} | {"at": errors}


def a_walk(**changes):
    return json.dumps(walk(**changes)).encode()


NOWHERE = "01980000-0000-7000-8000-000000000000"
ACTIONS, BUBBLES = "/v1/me/actions", "/v1/me/bubbles"
CASES = {
    "not json": (ACTIONS, b'{"type": ,}', "请求体不是 JSON：无效字符（字节 9）。"),
    "cut off": (ACTIONS, b'{"type": "mob', "请求体不是 JSON：内容不完整。"),
    "nested": (ACTIONS, b"[" * 10_000, "请求体嵌套过深。"),
    "wrong type": (
        ACTIONS,
        a_walk(attributes={"steps": []}),
        "/attributes/steps 应为 `bool | int | float | str`，而不是 `array`。",
    ),
    "missing": (ACTIONS, b'{"type": "mobility.walk"}', "/occurred_at 为必填项。"),
    "unknown field": (
        ACTIONS,
        a_walk(reportr="device"),
        (
            "/reportr 不是可用的字段：可用的有 type, occurred_at, attributes, reporter"
            "（是否想用 reporter？）。"
        ),
    ),
    "no choice": (
        ACTIONS,
        a_walk(reporter="partner"),
        "/reporter 必须是以下之一：participant, device。",
    ),
    "empty text": (ACTIONS, a_walk(type=""), "/type 应为长度 >= 1 的 `str`。"),
    "no offset": (
        ACTIONS,
        a_walk(occurred_at="2026-11-21T08:00:00"),
        "/occurred_at 必须是 2000 年到 2199 年之间带时区偏移的时间，例如 2026-11-21T08:00:00Z。",
    ),
    "unknown type": (
        ACTIONS,
        a_walk(type="mobility.walkk"),
        "没有行为类型 'mobility.walkk'（是否想用 mobility.walk？）。",
    ),
    "attributes": (
        ACTIONS,
        a_walk(attributes={"steps": 0, "speed": 5}),
        "mobility.walk：steps 必须是 1 到 100000 的整数。",
    ),
    "implausible": (
        ACTIONS,
        a_walk(type="mobility.bike", attributes={"distance_km": 90, "duration_min": 30}),
        (
            "这条 mobility.bike 不合常理：必须满足 has(duration_min) ?"
            " distance_km / (duration_min / 60) <= 45 : verified || distance_km <= 10。"
        ),
    ),
    "reporter": (
        ACTIONS,
        a_walk(type="transit.metro_trip", attributes={}),
        "transit.metro_trip 由合作方上报，不能由参与者上报。",
    ),
    "too late": (
        ACTIONS,
        a_walk(occurred_at="2020-11-21T08:00:00Z"),
        "mobility.walk 在发生后 7 天内可以上报：这一条截至 2020-11-28T08:00:00Z。",
    ),
    "query": (f"{BUBBLES}?limit=0", None, "/query/limit 应为 >= 1 的 `int`。"),
    "cursor": (f"{BUBBLES}?cursor=x", None, "/query/cursor 必须是此列表某一页的 next_cursor。"),
    "no bubble": (f"{BUBBLES}/{NOWHERE}/collect", b"", "您没有这个能量球。"),
    "no page": ("/v1/nothing", None, "此地址没有内容。"),
    "no method": ("/v1/me/balances", b"{}", "此地址没有内容。"),
    "no board": (
        "/v1/leaderboards/speed",
        None,
        "没有排行榜 speed；可用的有 energy, saved, trees, verified。",
    ),
    "operators": ("/v1/operator/partners", None, "此处只接受运营方签发机构颁发的令牌。"),
    "no key": (
        "/v1/me/pledges",
        json.dumps({"project_id": NOWHERE, "trees": 1}).encode(),
        "请发送请求头 Idempotency-Key，由 16 到 128 个可见 ASCII 字符组成。",
    ),
    "no pledge": (f"/v1/me/pledges/{NOWHERE}", None, "您没有这笔认种。"),
    "no partner": ("/v1/me/links", b'{"partner_id": "nobody"}', "没有这个合作方。"),
}


@pytest.mark.parametrize(("path", "body", "detail"), CASES.values(), ids=list(CASES))
async def test_a_problem_is_told_in_the_callers_language(client, alice, path, body, detail):
    async def asked(**languages):
        headers = alice.headers | {"Content-Type": "application/json"} | languages
        method = "GET" if body is None else "POST"
        return await client.request(method, path, content=body or None, headers=headers)

    english, chinese = await asked(), await asked(**CHINESE)
    assert chinese.headers["content-language"] == "zh"
    assert english.headers["content-language"] == "en"
    assert "Accept-Language" in chinese.headers["vary"]
    told = chinese.json()
    assert told["detail"] == detail
    assert all(HAN.search(text) for text in spoken(told)), told
    assert silent(told) == silent(english.json())
    assert not any(HAN.search(text) for text in spoken(english.json()))
    french = await asked(**{"Accept-Language": "fr"})
    assert spoken(french.json()) == spoken(english.json())


async def test_without_a_token_it_is_told_too(client):
    answer = await client.get("/v1/me", headers=CHINESE)
    assert (answer.status_code, answer.json()["title"]) == (401, "需要有效的凭证")
    answer = await client.get("/v1/me", headers=CHINESE | {"Authorization": "Bearer x.y.z"})
    assert answer.json()["detail"] == "该令牌在此处无效。"


async def test_items_of_a_batch_are_told_apart(client, alice):
    items = [
        walk(attributes={"steps": 100}) | {"idempotency_key": f"walk-{uuid.uuid4()}"},
        walk(attributes={"steps": 0}) | {"idempotency_key": f"walk-{uuid.uuid4()}"},
        {"idempotency_key": "short"},
    ]
    answer = await client.post(
        "/v1/me/actions/batch", json={"actions": items}, headers=alice.headers | CHINESE
    )
    assert answer.headers["content-language"] == "zh"
    good, bad, short = answer.json()["results"]
    assert good["status"] == "accepted"
    assert bad["problem"] == {
        "code": "invalid-attributes",
        "title": "属性与行为类型不符",
        "detail": "mobility.walk：steps 必须是 1 到 100000 的整数。",
        "errors": [
            {
                "pointer": "#/actions/1/attributes/steps",
                "detail": "steps 必须是 1 到 100000 的整数",
            }
        ],
    }
    assert short["problem"]["detail"] == "/actions/2/idempotency_key 应为长度 >= 16 的 `str`。"


async def test_an_award_explains_itself_in_the_readers_language(client):
    ben = await sign_in(client, f"ben-{uuid.uuid4()}")
    ben.headers |= CHINESE
    first = await ben.post("/v1/me/actions", walk())
    assert first.headers["content-language"] == "zh"
    (award,) = first.json()["awards"]
    assert award["explanation"] == (
        "8000 步 x 0.02 克 = 160 克"
        "；减排 5.6 公里 x 100.95 克/人公里 = 565 克二氧化碳当量 (UK DESNZ 2026)"
    )
    second = (await ben.post("/v1/me/actions", walk(attributes={"steps": 9000}))).json()
    (award,) = second["awards"]
    assert award["limited_by"] == "296 g per day"
    assert award["explanation"] == ("9000 步 x 0.02 克，受每日最多 296 克的上限限制，减为 136 克")
    again = await ben.get(f"/v1/me/actions/{second['id']}")
    assert again.json()["awards"] == second["awards"]
    ben.headers["Accept-Language"] = "en"
    english = (await ben.get("/v1/me/actions")).json()["items"][0]["awards"][0]
    assert english["explanation"] == (
        "9000 steps x 0.02 g, cut to 136 g by the limit of 296 g per day"
    )


async def test_a_partners_events_are_refused_in_its_language(metro):
    await linked_person(metro, "card-9")
    events = [
        metro.event("card-9", "mobility.bike", data={"distance_km": 1}),
        metro.event("card-9", source="urn:bus:east"),
        metro.event("card-9", data={"ticket": "A"}),
        metro.event(None),
    ]
    answer = await metro.post(events, headers=CHINESE)
    assert answer.headers["content-language"] == "zh"
    problems = [result["problem"] for result in answer.json()["results"]]
    assert [problem["detail"] for problem in problems] == [
        "type mobility.bike 未授权给此合作方。",
        "source 必须是 urn:metro，或在其后以 : 或 / 续写。",
        "transit.metro_trip：'ticket' 不是此处的属性（是否想用 ticket_no？）。",
        "subject 为必填项。",
    ]
    assert all(HAN.search(text) for problem in problems for text in spoken(problem))
    refused = await metro.call(
        "POST", "/links", {"link_code": "x", "subject": "u\n1"}, PLAIN, headers=CHINESE
    )
    assert refused.json()["detail"] == "/subject 不能包含字符 U+000A。"
    unsigned = await metro.client.post(
        "/v1/partners/metro/events", json={}, headers=CHINESE | {"Content-Type": PLAIN}
    )
    assert (unsigned.status_code, unsigned.json()["detail"]) == (400, "缺少请求头 webhook-id。")


async def test_a_kept_answer_keeps_its_language(client, operator):
    """The first answer comes again, whoever reads it now."""
    project = {
        "name": "Alxa",
        "species": "saxaul",
        "place": "Inner Mongolia",
        "country": "CN",
        "price_g": 100,
        "capacity": 10,
        "partner": "Green",
    }
    made = await operator.post("/v1/operator/projects", project)
    rosa = await sign_in(client, f"rosa-{uuid.uuid4()}")
    order, key = {"project_id": made.json()["id"], "trees": 1}, str(uuid.uuid4())
    rosa.headers |= CHINESE
    first = await rosa.post("/v1/me/pledges", order, key)
    assert (first.status_code, first.json()["detail"]) == (409, "需要 100 克，可用 0 克。")
    assert first.headers["content-language"] == "zh"
    assert (first.json()["needed_g"], first.json()["available_g"]) == (100, 0)
    rosa.headers["Accept-Language"] = "en"
    again = await rosa.post("/v1/me/pledges", order, key)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    other = await rosa.post("/v1/me/pledges", order, str(uuid.uuid4()))
    assert other.json()["detail"] == "100 g are needed, 0 g are available."


async def test_what_the_checker_of_rules_says_stays_english(client, operator):
    files = {"files": {"a.yaml": "program: 1"}, "note": "x"}
    headers = operator.headers | CHINESE
    answer = await client.post("/v1/operator/rulebooks", json=files, headers=headers)
    told = answer.json()
    assert (answer.status_code, told["title"]) == (422, "规则中有错误")
    assert told["detail"].startswith("a.yaml:1:")
    assert not HAN.search(json.dumps(told["problems"], ensure_ascii=False))
