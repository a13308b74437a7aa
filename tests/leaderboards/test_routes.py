"""Leaderboards as a phone sees them: ranks, pages, neighbours, who is shown, and what is away."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest

from service.http.auth import Authenticator
from service.platform.database import open_database
from tests.actions.conftest import RULES
from tests.callers import Caller, items_of, sign_in
from tests.leaderboards.town import empty, relanes, settle
from tests.people import client_of, publish, running_app, settings_for
from tests.processes import PATIENCE_S


@pytest.fixture(scope="module", params=[1, 4])
def shards(request):
    """Every test holds for boards in one part and in several."""
    return request.param


@pytest.fixture(scope="module")
def settings(servers, database_url, tmp_path_factory, shards):
    home = tmp_path_factory.mktemp("home")
    return settings_for(servers, database_url, home, leaderboard_shards=shards)


@pytest.fixture(scope="module")
async def app(settings):
    """An application that shares rules, clock, database and boards with the town."""
    opened = await open_database(settings, settings.database_url)
    async with opened.transaction() as connection:
        now = datetime.now(UTC)
        await publish(connection, {"test.yaml": RULES}, author="a test", note="", now=now)
    await opened.close()
    async with running_app(settings) as running:
        yield running


@pytest.fixture
async def client(app, town):
    """Nobody is left from the test before; it is noon of a Wednesday in January in Shanghai."""
    await empty(town.shared)
    await town.database.pool.execute("DELETE FROM identities")
    app.state.shared[Authenticator].drop_all()
    await relanes(town, town.shared.lanes)
    async with client_of(app) as made:
        now = datetime.fromisoformat((await made.get("/v1/dev/clock")).json()["now"])
        noon = datetime(now.year + 1, 1, 7, 4, 0, tzinfo=UTC)
        noon += timedelta(days=(2 - noon.weekday()) % 7)
        await made.post("/v1/dev/clock", json={"now": noon.isoformat()})
        async with town.database.transaction() as connection:
            await town.clock.refresh(connection)
        yield made


@pytest.fixture
async def alice(client):
    return await sign_in(client, "alice")


async def crowd(town, scores, **facts):
    """People with these distances walked in kilometres, in the order of their ids."""
    people = sorted(uuid4() for _ in scores)
    for person, km in zip(people, scores, strict=True):
        await town.join(person=person, name=f"{km} km", **facts)
        await town.walk(person, km=km)
    return people


async def board(caller, name="saved", **query):
    answer = await caller.get(f"/v1/leaderboards/{name}", **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def my_rank(caller, name="saved", **query):
    answer = await caller.get(f"/v1/leaderboards/{name}/me", **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def me_of(caller):
    return UUID(str(caller.participant_id))


def walked(items):
    return [(item["rank"], item["display_name"]) for item in items]


async def test_equal_scores_share_a_rank(town, relays, alice):
    await crowd(town, [2, 3, 1, 2])
    await settle(*relays)
    page = await board(alice)
    assert walked(page["items"]) == [(1, "3 km"), (2, "2 km"), (2, "2 km"), (4, "1 km")]
    assert [item["score"] for item in page["items"]] == [303, 202, 202, 101]
    assert {name: page[name] for name in ("board", "period", "scope", "size", "next_cursor")} == {
        "board": "saved",
        "period": "week",
        "scope": "global",
        "size": 4,
        "next_cursor": None,
    }
    as_of = datetime.fromisoformat(page["as_of"])
    assert page["as_of"].endswith("Z")
    assert timedelta(0) <= town.clock.now() - as_of < timedelta(minutes=1)


async def test_pages_hold_everybody_once_with_their_rank(town, relays, alice):
    await crowd(town, [5, 1, 5, 5, 3, 3, 9, 5, 3, 1, 5])
    await settle(*relays)
    whole = await board(alice, limit=200)
    expected = [(1, "9 km"), *[(2, "5 km")] * 5, *[(7, "3 km")] * 3, *[(10, "1 km")] * 2]
    assert walked(whole["items"]) == expected
    for limit in (1, 2, 3, 5, 10, 11):
        assert await items_of(alice, "/v1/leaderboards/saved", limit=limit) == whole["items"]


async def test_pages_stay_in_place_while_people_move_above_them(town, relays, alice):
    people = await crowd(town, [9, 8, 7, 6, 6, 6, 5, 4])
    await settle(*relays)
    first = await board(alice, limit=4)
    assert walked(first["items"]) == [(1, "9 km"), (2, "8 km"), (3, "7 km"), (4, "6 km")]
    await crowd(town, [20, 10])
    await town.walk(people[0], km=5)
    await settle(*relays)
    second = await board(alice, limit=4, cursor=first["next_cursor"])
    assert walked(second["items"]) == [(6, "6 km"), (6, "6 km"), (9, "5 km"), (10, "4 km")]
    assert second["size"] == 10
    seen = {item["participant_id"] for page in (first, second) for item in page["items"]}
    assert seen == {str(person) for person in people}


async def test_a_cursor_outlives_the_person_that_it_names(town, relays, alice):
    people = await crowd(town, [3, 3, 3, 2])
    await settle(*relays)
    first = await board(alice, limit=2)
    gone = UUID(first["items"][-1]["participant_id"])
    await town.erase(gone)
    await settle(*relays)
    second = await board(alice, limit=2, cursor=first["next_cursor"])
    assert walked(second["items"]) == [(1, "3 km"), (3, "2 km")]
    shown = {first["items"][0]["participant_id"], *(i["participant_id"] for i in second["items"])}
    assert shown == {str(person) for person in people} - {str(gone)}


async def test_a_cursor_stays_in_place_when_the_person_that_it_names_moves(town, relays, alice):
    people = await crowd(town, [9, 6, 5, 4])
    await settle(*relays)
    first = await board(alice, limit=2)
    assert walked(first["items"]) == [(1, "9 km"), (2, "6 km")]
    await town.walk(people[1], km=5)
    await settle(*relays)
    second = await board(alice, limit=2, cursor=first["next_cursor"])
    assert walked(second["items"]) == [(3, "5 km"), (4, "4 km")]


async def test_a_page_begun_before_midnight_goes_on_after_it(client, town, relays, alice):
    await crowd(town, [3, 2, 1])
    await settle(*relays)
    first = await board(alice, limit=1, period="day")
    await client.post("/v1/dev/clock", json={"advance_s": 86_400})
    assert (await board(alice, period="day"))["items"] == []
    rest = await board(alice, period="day", cursor=first["next_cursor"])
    assert walked(rest["items"]) == [(2, "2 km"), (3, "1 km")]


async def test_a_cursor_of_another_board_or_of_nobody_is_refused(town, relays, alice):
    await crowd(town, [2, 1])
    await settle(*relays)
    cursor = (await board(alice, limit=1))["next_cursor"]
    forged = base64.urlsafe_b64encode(b"x" * 60).decode()
    for query in (
        {"cursor": cursor, "period": "day"},
        {"cursor": cursor, "scope": "region:CN-ZJ"},
        {"cursor": forged},
        {"cursor": "nonsense"},
    ):
        answer = await alice.get("/v1/leaderboards/saved", **query)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "#/query/cursor"


@pytest.mark.parametrize("visibility", ["hidden", "friends"])
async def test_who_is_not_public_keeps_the_rank_and_is_not_shown(town, relays, alice, visibility):
    await crowd(town, [9, 5, 1])
    await crowd(town, [8, 7, 6, 4, 3, 2], visibility=visibility)
    await settle(*relays)
    page = await board(alice)
    assert walked(page["items"]) == [(1, "9 km"), (5, "5 km"), (9, "1 km")]
    assert page["size"] == 9
    for limit in (1, 2, 3):
        assert await items_of(alice, "/v1/leaderboards/saved", limit=limit) == page["items"]


async def test_people_who_are_not_shown_make_no_page_short(town, relays, alice):
    await crowd(town, [9, 7, 5, 3])
    await crowd(town, [8, 6, 4], visibility="hidden")
    await settle(*relays)
    page = await board(alice, limit=3)
    assert walked(page["items"]) == [(1, "9 km"), (3, "7 km"), (5, "5 km")]


async def test_i_see_myself_though_i_am_hidden(town, relays, alice):
    await alice.patch("/v1/me", {"visibility": "hidden", "display_name": "Alice"})
    await crowd(town, [3, 1])
    await town.walk(me_of(alice), km=2)
    await settle(*relays)
    assert walked((await board(alice))["items"]) == [(1, "3 km"), (2, "Alice"), (3, "1 km")]
    mine = await my_rank(alice)
    assert (mine["rank"], walked(mine["items"])[1]) == (2, (2, "Alice"))


async def test_what_i_see_of_myself_nobody_else_is_shown(client, town, relays, alice):
    bob = await sign_in(client, "bob")
    for caller, name, km in ((alice, "Alice", 2), (bob, "Bob", 1)):
        await caller.patch("/v1/me", {"visibility": "hidden", "display_name": name})
        await town.walk(me_of(caller), km=km)
    await crowd(town, [3])
    await settle(*relays)
    for _ in range(2):
        assert walked((await board(alice))["items"]) == [(1, "3 km"), (2, "Alice")]
        assert walked((await board(bob))["items"]) == [(1, "3 km"), (3, "Bob")]


async def test_who_hides_is_gone_within_a_second(client, town, relays, alice):
    bob = await sign_in(client, "bob")
    await bob.patch("/v1/me", {"display_name": "Bob"})
    await town.walk(me_of(bob), km=2)
    await crowd(town, [3])
    await settle(*relays)
    assert walked((await board(alice))["items"]) == [(1, "3 km"), (2, "Bob")]
    await bob.patch("/v1/me", {"visibility": "hidden"})
    await a_second_later(client)
    assert walked((await board(alice))["items"]) == [(1, "3 km")]
    await bob.patch("/v1/me", {"visibility": "public", "display_name": "Robert"})
    await a_second_later(client)
    assert walked((await board(alice))["items"]) == [(1, "3 km"), (2, "Robert")]


async def test_who_was_erased_is_gone_within_a_second_even_before_the_boards_know(
    client, town, relays, alice
):
    people = await crowd(town, [3, 2, 1])
    await settle(*relays)
    assert walked((await board(alice))["items"]) == [(1, "3 km"), (2, "2 km"), (3, "1 km")]
    await town.erase(people[0])
    await a_second_later(client)
    assert walked((await board(alice))["items"]) == [(2, "2 km"), (3, "1 km")]
    await settle(*relays)
    await a_second_later(client)
    assert walked((await board(alice))["items"]) == [(1, "2 km"), (2, "1 km")]


async def a_second_later(client):
    """The programme's clock goes on: first pages are read anew then."""
    await client.post("/v1/dev/clock", json={"advance_s": 1})


async def test_among_equals_my_neighbours_are_those_of_the_board(town, relays, alice):
    me = me_of(alice)
    await crowd(town, [3] * 9 + [2] * 12 + [1] * 5)
    await town.walk(me, km=2)
    for other in range(2):
        await settle(*relays)
        whole = await board(alice, limit=150 + other)
        index = next(i for i, it in enumerate(whole["items"]) if it["participant_id"] == str(me))
        for around in (0, 1, 2, 3, 5, 8, 13, 50):
            mine = await my_rank(alice, around=around)
            assert mine["items"] == whole["items"][max(index - around, 0) : index + around + 1]
            assert mine["rank"] == whole["items"][index]["rank"]
        await crowd(town, [2] * 9)


async def test_my_rank_stands_among_my_neighbours(town, relays, alice):
    me = me_of(alice)
    await crowd(town, [20, 19, 18, 17, 10, 10, 5, 4, 3, 2, 1])
    await town.walk(me, km=10)
    await settle(*relays)
    mine = await my_rank(alice, around=2)
    assert (mine["rank"], mine["score"], mine["percentile"]) == (5, 1010, 63.6)
    assert len(mine["items"]) == 5
    whole = (await board(alice))["items"]
    index = next(i for i, item in enumerate(whole) if item["participant_id"] == str(me))
    assert mine["items"] == whole[index - 2 : index + 3]
    assert (await my_rank(alice))["items"] == whole[max(index - 5, 0) : index + 6]
    assert (await my_rank(alice, around=0))["items"] == [whole[index]]
    assert (await my_rank(alice, around=50))["items"] == whole


async def test_my_neighbours_are_the_nearest_that_are_shown(town, relays, alice):
    me = me_of(alice)
    await crowd(town, [9, 1])
    await crowd(town, [6, 4], visibility="hidden")
    await town.walk(me, km=5)
    await settle(*relays)
    mine = await my_rank(alice, around=1)
    assert mine["rank"] == 3
    assert [item["rank"] for item in mine["items"]] == [1, 3, 5]


async def test_percentile_counts_the_others_who_are_not_above(client, town, relays):
    people = await crowd(town, [4, 3, 3, 1])
    await settle(*relays)
    found = [(await town_rank(client, town, person))["percentile"] for person in people]
    assert found == [100.0, 66.6, 66.6, 0.0]


async def town_rank(client, town, person):
    """What somebody of the town sees, who never signed in: the id gets a subject here."""
    caller = await sign_in(client, f"town {person}")
    made = me_of(caller)
    await town.database.pool.execute(
        "UPDATE identities SET participant_id = $2 WHERE participant_id = $1", made, person
    )
    again = await sign_in(client, f"town {person}")
    assert me_of(again) == person
    return await my_rank(again)


async def test_who_leads_alone_is_above_everybody(town, relays, alice):
    me = me_of(alice)
    await town.walk(me)
    await settle(*relays)
    mine = await my_rank(alice)
    assert (mine["rank"], mine["percentile"], len(mine["items"])) == (1, 100.0, 1)


async def test_without_a_score_i_have_no_rank(town, relays, alice):
    await crowd(town, [3])
    await settle(*relays)
    assert await my_rank(alice) == {"rank": None, "score": 0, "percentile": None, "items": []}


async def test_regions_rank_what_was_done_there(town, relays, alice):
    await crowd(town, [5, 2], region="CN-ZJ")
    await crowd(town, [4], region="CN-BJ")
    await crowd(town, [3])
    await settle(*relays)
    page = await board(alice, scope="region:CN-ZJ")
    assert (walked(page["items"]), page["size"]) == ([(1, "5 km"), (2, "2 km")], 2)
    assert (await board(alice, scope="region:NO-03"))["size"] == 0
    assert (await board(alice))["size"] == 4


async def test_each_period_counts_what_was_booked_in_it(client, town, relays, alice):
    people = await crowd(town, [1])
    sizes = {}
    for period, days in (("day", 1), ("week", 6), ("month", 24), ("all", 400)):
        await settle(*relays)
        sizes[period] = [(await board(alice, period=period))["size"]]
        await client.post("/v1/dev/clock", json={"advance_s": days * 86_400})
        town.later(timedelta(days=days))
        await settle(*relays)
        sizes[period].append((await board(alice, period=period))["size"])
        await town.walk(people[0])
    assert sizes == {"day": [1, 0], "week": [1, 0], "month": [1, 0], "all": [1, 1]}


async def test_all_three_boards_through_the_api(client, town, relays, alice):
    """Walk, collect, pledge: each is on its board as soon as the relay has carried it."""
    await alice.patch("/v1/me", {"region": "CN-ZJ", "display_name": "Alice"})
    await alice.walks(steps=8000)
    await client.post("/v1/dev/clock", json={"advance_s": 86_400})
    town.later(timedelta(days=1))
    collected = await alice.post("/v1/me/bubbles/collect")
    assert collected.json()["collected_g"] == 160
    await settle(*relays)
    assert (await my_rank(alice, "saved"))["score"] == 565
    assert (await my_rank(alice, "energy"))["score"] == 160
    assert (await my_rank(alice, "energy", scope="region:CN-ZJ", period="day"))["rank"] == 1
    assert (await my_rank(alice, "saved", period="day"))["rank"] is None
    assert (await board(alice, "trees"))["items"] == []


async def test_what_is_not_offered_is_refused_by_name(alice):
    for path, pointer in (
        ("saved?scope=friends", "#/query/scope"),
        ("saved?scope=team:1", "#/query/scope"),
        ("saved?scope=region:zj", "#/query/scope"),
        ("saved?scope=region:CN-ZJ%0A", "#/query/scope"),
        ("saved?period=year", "#/query/period"),
        ("saved?limit=0", "#/query/limit"),
        ("saved?limit=201", "#/query/limit"),
        ("saved?page=2", "#/query/page"),
        ("saved/me?around=51", "#/query/around"),
        ("saved/me?scope=friends", "#/query/scope"),
    ):
        answer = await alice.get(f"/v1/leaderboards/{path}")
        fault = answer.json()["errors"][0]
        assert (answer.status_code, fault["pointer"]) == (422, pointer)
        if "scope" in pointer:
            assert "global, or region:" in fault["detail"]
    for path in ("steps", "steps/me"):
        answer = await alice.get(f"/v1/leaderboards/{path}")
        assert answer.status_code == 404
        assert "energy, saved, trees" in answer.json()["detail"]


async def test_boards_are_for_participants(client):
    nobody = Caller(client, {})
    operator = await sign_in(client, "olga", "operator")
    assert (await nobody.get("/v1/leaderboards/saved")).status_code == 401
    assert (await operator.get("/v1/leaderboards/saved")).status_code == 403


async def test_boards_that_are_not_built_yet_are_away_for_a_moment(town, relays, alice):
    for path in ("saved", "saved/me"):
        answer = await alice.get(f"/v1/leaderboards/{path}")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["code"] == "unavailable"
    await settle(*relays)
    assert (await board(alice))["size"] == 0


async def test_without_redis_only_boards_are_away(servers, settings, tmp_path):
    away = settings_for(
        servers, settings.database_url, tmp_path / "home", redis_url="redis://127.0.0.1:1"
    )
    async with running_app(away) as app, client_of(app) as client:
        bob = await sign_in(client, "bob")
        await bob.walks()
        for path in ("saved", "saved/me"):
            answer = await bob.get(f"/v1/leaderboards/{path}")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


async def test_more_people_at_once_than_connections_to_redis_are_all_answered(town, relays, alice):
    await crowd(town, [3, 2, 1])
    await town.walk(me_of(alice), km=2)
    await settle(*relays)
    first = await board(alice, limit=1)
    for ask in (
        partial(alice.get, "/v1/leaderboards/saved"),
        partial(alice.get, "/v1/leaderboards/saved", limit=1, cursor=first["next_cursor"]),
        partial(alice.get, "/v1/leaderboards/saved/me"),
    ):
        answers = await asyncio.gather(*(ask() for _ in range(256)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1


async def test_a_page_costs_one_command_a_shard_whatever_its_size(shared, town, relays, alice):
    await crowd(town, [km % 7 + 1 for km in range(30)])
    await town.walk(me_of(alice), km=4)
    await settle(*relays)
    # From the first answer on it is known which boards are in use.
    first = await board(alice, limit=1)
    ask, ask_me = partial(board, alice), partial(my_rank, alice)
    for asking in (
        partial(ask, limit=2),
        partial(ask, limit=200),
        partial(ask, limit=1, cursor=first["next_cursor"]),
        partial(ask_me, around=1),
        partial(ask_me, around=50),
    ):
        assert await commands_of(shared, asking()) == shared.layout.shards


async def test_who_asks_for_a_first_page_at_once_shares_it(shared, town, relays, alice):
    await crowd(town, [3, 2, 1])
    await settle(*relays)
    await board(alice, limit=1)
    many = asyncio.gather(*(board(alice, limit=2) for _ in range(100)))
    assert await commands_of(shared, many) == shared.layout.shards


async def commands_of(shared, asking):
    """How many commands on this test's keys Redis gets meanwhile, those inside scripts apart."""
    seen, ready, done = [], asyncio.Event(), asyncio.Event()
    prefix = shared.layout.prefix

    async def watch():
        async with shared.redis.monitor() as monitor:
            ready.set()
            async for command in monitor.listen():
                if command["client_type"] != "lua":
                    seen.append(command["command"])
                if f"{prefix}end" in command["command"]:
                    done.set()
                    return

    watching = asyncio.create_task(watch())
    await ready.wait()
    await asking
    await shared.redis.get(f"{prefix}end")
    await asyncio.wait_for(done.wait(), PATIENCE_S)
    await watching
    return len([command for command in seen if f"{prefix}lb:" in command])
