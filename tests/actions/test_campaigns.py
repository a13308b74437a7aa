"""A campaign as apps meet it: told beforehand, named on the award, gone when its budget is."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from service.platform.database import open_database
from tests.actions.conftest import RULES
from tests.callers import sign_in
from tests.people import client_of, publish, running_app, settings_for

CAMPAIGNS = """campaigns:
  - id: world-environment-day
    title: {{en: World Environment Day, zh: 世界环境日}}
    from: {today}
    until: {until}
    rules: [walk]
    regions: [CN-ZJ]
    earns_times: 2
    budget_g: 150
  - {{id: coming, title: Later, from: {until}, until: {later}, rules: [walk], earns_times: 3}}
"""


@pytest.fixture
async def client(servers, fresh_database_url, tmp_path):
    """An application under rules with a campaign of today and tomorrow."""
    settings = settings_for(servers, fresh_database_url, tmp_path)
    now = datetime.now(UTC)
    today = (now + timedelta(hours=8)).date()
    days = [(today + timedelta(days=days)).isoformat() for days in (0, 2, 4)]
    text = RULES + CAMPAIGNS.format(today=days[0], until=days[1], later=days[2])
    database = await open_database(settings, fresh_database_url)
    async with database.transaction() as connection:
        await publish(connection, {"rules.yaml": text}, author="anna", note="", now=now)
    await database.close()
    async with running_app(settings) as app, client_of(app) as made:
        yield made


async def somebody(client, region):
    person = await sign_in(client, f"somebody-{uuid.uuid4()}")
    assert (await person.patch("/v1/me", {"region": region})).status_code == 200
    return person


async def campaigns(client, **headers):
    told = (await client.get("/v1/program", headers=headers)).json()["campaigns"]
    return [(each["id"], each["title"], each["earns_times"], each["left_g"]) for each in told]


async def suggested(person):
    items = (await person.get("/v1/me/suggestions")).json()["items"]
    rules = {rule["rule"]: rule["campaign"] for item in items for rule in item["rules"]}
    assert rules["ride"] is None
    return rules["walk"] and (rules["walk"]["id"], rules["walk"]["left_g"])


async def test_it_is_told_named_cut_and_gone(client):
    inside, outside = await somebody(client, "CN-ZJ"), await somebody(client, "CN-SH")
    english = ("world-environment-day", "World Environment Day", 2.0, 150)
    chinese = ("world-environment-day", "世界环境日", 2.0, 150)
    assert await campaigns(client) == [english]
    assert await campaigns(client, **{"Accept-Language": "zh"}) == [chinese]
    assert await suggested(inside) == ("world-environment-day", 150)
    assert await suggested(outside) is None

    (award,) = (await inside.walks(5_000))["awards"]
    assert (award["energy_g"], award["limited_by"]) == (200, None)
    assert award["explanation"].startswith(
        "5000 steps x 0.02 g x 2 World Environment Day = 200 g; saves 3.5 km x "
    )
    assert set(award) == {
        "rule", "rulebook_version", "saved_g", "energy_g", "limited_by", "explanation",
    }  # fmt: skip
    (award,) = (await outside.walks(5_000))["awards"]
    assert (award["energy_g"], award["limited_by"]) == (100, None)
    assert await suggested(inside) == ("world-environment-day", 50)

    other = await somebody(client, "CN-ZJ")
    action = await other.walks(5_000)
    (award,) = action["awards"]
    assert (award["energy_g"], award["limited_by"]) == (150, "150 g per campaign")
    assert "cut to 150 g by what was left of the campaign's 150 g" in award["explanation"]
    assert (await other.get(f"/v1/me/actions/{action['id']}")).json()["awards"] == [award]
    assert await campaigns(client) == []
    assert await suggested(other) is None
    (award,) = (await other.walks(1_000))["awards"]
    assert (award["energy_g"], award["limited_by"]) == (20, None)
    assert "World" not in award["explanation"]
