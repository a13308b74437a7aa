"""The catalogue and suggestions over HTTP, in the language that the reader asks for."""

import uuid

import pytest

from tests.callers import sign_in
from tests.people import eventually, served, settings_for, walk
from tests.rules.sets import shipped

TITLES = {"en": "Walking", "zh": "步行"}
HINTS = {"en": "Walk a short way instead of driving", "zh": "短途步行代替开车"}
CAMPAIGN = """campaigns:
  - id: demo-days
    title: {en: Green days, zh: 绿色日}
    from: 2020-01-01
    until: 2100-01-01
    rules: [walk]
    earns_times: 2
"""


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    """One application for the module, with a campaign; each test signs in somebody new."""
    settings = settings_for(servers, database_url, tmp_path_factory.mktemp("home"))
    async with served(settings) as made:
        olive = await sign_in(made, "olive", "operator")
        files = {name.rpartition("/")[2]: text for name, text in shipped().items()}
        files["campaigns.yaml"] = CAMPAIGN
        published = await olive.post("/v1/operator/rulebooks", {"files": files, "note": "a test"})
        assert published.status_code == 201, published.text

        version = published.json()["version"]

        async def is_active():
            return (await made.get("/v1/action-types")).json()["rulebook_version"] == version

        await eventually(is_active)
        yield made


def walking(answer):
    assert answer.status_code == 200, answer.text
    return next(item for item in answer.json()["items"] if item["type"] == "mobility.walk")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("zh", "zh"),
        ("zh-Hans-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("ZH-hans", "zh"),
        ("en;q=0.5, zh;q=0.6", "zh"),
        ("zh;q=0.5, en-GB", "en"),
        ("zh;q=0", "en"),
        ("fr-CA, de;q=0.7", "en"),
        ("*", "en"),
        (";;q=,zh;;=1,,\x7f zh;q=nan;" * 40, "en"),
        (b"\xff\xfe, zh;q=0.3", "zh"),
        ("x" * 600 + ", zh", "en"),
    ],
)
async def test_titles_hints_and_suggestions_speak_the_readers_language(client, header, language):
    headers = {} if header is None else {"Accept-Language": header}
    catalogue = await client.get("/v1/action-types", headers=headers)
    alice = await sign_in(client, f"alice-{uuid.uuid4()}")
    alice.headers |= headers
    suggestions = await alice.get("/v1/me/suggestions")
    for answer in (catalogue, suggestions):
        item = walking(answer)
        assert (item["title"], item["hint"]) == (TITLES[language], HINTS[language])
        assert answer.headers["content-language"] == language
        assert answer.headers["vary"].removeprefix("Accept-Encoding, ") == "Accept-Language"
        assert answer.headers["content-type"] == "application/json"


async def test_several_headers_are_one_list(client):
    headers = [("Accept-Language", "fr"), ("Accept-Language", "zh;q=0.4")]
    answer = await client.get("/v1/action-types", headers=headers)
    assert walking(answer)["title"] == TITLES["zh"]


async def test_an_award_names_its_campaign_in_the_readers_language(client):
    alice = await sign_in(client, f"alice-{uuid.uuid4()}")
    now = (await client.get("/v1/dev/clock")).json()["now"]
    alice.headers["Accept-Language"] = "zh"
    recorded = await alice.post("/v1/me/actions", walk(occurred_at=now, attributes={"steps": 5000}))
    path = f"/v1/me/actions/{recorded.json()['id']}"
    for answer, action in (
        (recorded, recorded.json()),
        (one := await alice.get(path), one.json()),
        (several := await alice.get("/v1/me/actions"), several.json()["items"][0]),
    ):
        assert "x 2 绿色日" in action["awards"][0]["explanation"]
        assert answer.headers["content-language"] == "zh"
        assert answer.headers["vary"] == "Accept-Language"
    alice.headers["Accept-Language"] = "fr"
    told = (await alice.get(path)).json()["awards"][0]["explanation"]
    assert "x 2 Green days" in told
