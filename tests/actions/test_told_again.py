"""A person looks at their actions again: the same is told, and what happened since."""

import pytest

from tests.callers import advance, sign_in
from tests.people import served, settings_for

CHINESE = {"Accept-Language": "zh"}


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    async with served(settings_for(servers, database_url, home)) as made:
        yield made


async def listed(caller, headers=None, **query):
    answer = await caller.client.get(
        "/v1/me/actions", headers=caller.headers | (headers or {}), params=query
    )
    assert answer.status_code == 200, answer.text
    return answer


async def test_the_same_is_told_again_in_each_language(client):
    alice = await sign_in(client, "alice")
    for steps in (8000, 600, 100):
        await alice.walks(steps)
    first, chinese = await listed(alice), await listed(alice, CHINESE)
    assert first.headers["content-language"] == "en"
    assert chinese.headers["content-language"] == "zh"
    assert first.content != chinese.content
    for before, headers in ((first, {}), (chinese, CHINESE)):
        again = await listed(alice, headers)
        assert again.content == before.content
        assert again.headers["content-language"] == before.headers["content-language"]
    alone = await alice.get(f"/v1/me/actions/{first.json()['items'][1]['id']}")
    assert alone.json() == first.json()["items"][1]


async def test_what_happened_since_is_told(client):
    bob, olga = await sign_in(client, "bob"), await sign_in(client, "olga", "operator")
    undone, kept = await bob.walks(8000), await bob.walks(600)
    assert {item["status"] for item in (await listed(bob)).json()["items"]} == {"accepted"}
    path = f"/v1/operator/actions/{undone['id']}/reverse"
    reversed_ = await olga.post(path, {"reason": "counted twice"})
    assert reversed_.is_success, reversed_.text
    newest = await bob.walks(100)
    items = {item["id"]: item for item in (await listed(bob)).json()["items"]}
    assert items[undone["id"]]["status"] == "reversed"
    assert items[undone["id"]]["reversal"]["reason"] == "counted twice"
    assert items[kept["id"]] == kept
    assert items[newest["id"]] == newest
    assert (await bob.get(f"/v1/me/actions/{undone['id']}")).json() == items[undone["id"]]


async def test_pages_of_more_than_is_kept_are_whole(client):
    carla = await sign_in(client, "carla")
    recorded = [(await carla.walks(100 + n))["id"] for n in range(110)]
    await advance(client, minutes=1)
    for limit in (50, 200, 200):
        seen, cursor = [], {}
        while cursor is not None:
            page = (await listed(carla, limit=limit, **cursor)).json()
            seen += [item["id"] for item in page["items"]]
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
        assert sorted(seen) == sorted(recorded)


async def test_nothing_is_told_of_who_was_erased(client):
    dora = await sign_in(client, "dora")
    await dora.walks()
    assert len((await listed(dora)).json()["items"]) == 1
    assert (await dora.delete("/v1/me")).is_success
    assert (await listed(dora)).json()["items"] == []
