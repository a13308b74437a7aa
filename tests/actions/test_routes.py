"""Actions as an app meets them: recorded, repeated, refused, batched, listed."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.callers import advance, items_of, sign_in
from tests.people import served, settings_for, walk
from tests.rules.sets import shipped_rulebook


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    """One application for the module: each test signs in somebody new."""
    home = tmp_path_factory.mktemp("actions")
    async with served(settings_for(servers, database_url, home)) as made:
        yield made


@pytest.fixture
async def alice(client):
    return await sign_in(client, f"alice-{uuid.uuid4()}")


@pytest.fixture
async def now(client):
    """The programme's time: the module's tests move it forward."""
    told = (await client.get("/v1/dev/clock")).json()["now"]
    return datetime.fromisoformat(told).replace(microsecond=0)


def at(instant):
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def box(now, code):
    return walk(type="recycling.box", attributes={"box_code": code}, occurred_at=at(now))


async def test_a_walk_is_recorded_and_every_gram_explained(alice, now):
    answer = await alice.post("/v1/me/actions", walk(occurred_at=at(now)))
    assert answer.status_code == 201
    action = answer.json()
    assert (action["saved_g"], action["energy_g"]) == (565, 160)
    assert action["status"] == "accepted"
    assert action["source"] == "participant"
    assert action["occurred_at"] == at(now)
    [award] = action["awards"]
    assert (award["rule"], award["limited_by"]) == ("walk", None)
    assert "8000" in award["explanation"]
    assert "160 g" in award["explanation"]
    assert action["bubble"]["energy_g"] == 160
    ripens = datetime.fromisoformat(action["bubble"]["ripens_at"])
    assert datetime.fromisoformat(action["bubble"]["expires_at"]) - ripens == timedelta(hours=72)
    assert (await alice.balances())["ripening_g"] == 160


async def test_a_walk_told_in_parts_earns_the_same_and_every_part_explains_itself(alice, now):
    answers = [
        (await alice.post("/v1/me/actions", walk(occurred_at=at(now), attributes={"steps": n})))
        for n in (8, 8, 8, 8)
    ]
    actions = [answer.json() for answer in answers]
    assert [action["energy_g"] for action in actions] == [0, 0, 0, 1]
    eight = "8 steps x 0.02 g = 0.16 g"
    assert [action["awards"][0]["explanation"] for action in actions] == [
        f"{eight}: 0 g, 0.16 g carried on",
        f"{eight}, plus 0.16 g carried on earlier that day: 0 g, 0.32 g carried on",
        f"{eight}, plus 0.32 g carried on earlier that day: 0 g, 0.48 g carried on",
        f"{eight}, plus 0.48 g carried on earlier that day: 1 g",
    ]
    assert (await alice.get(f"/v1/me/actions/{actions[2]['id']}")).json() == actions[2]
    assert (await alice.get("/v1/me")).json()["totals"]["earned_g"] == 1


async def test_the_same_key_answers_the_first_answer_again(alice, now):
    body, key = walk(occurred_at=at(now)), str(uuid.uuid4())
    first = await alice.post("/v1/me/actions", body, key)
    again = await alice.post("/v1/me/actions", body, key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    assert (await alice.balances())["ripening_g"] == 160


async def test_the_same_key_for_another_walk_is_refused(alice, now):
    key = str(uuid.uuid4())
    await alice.post("/v1/me/actions", walk(occurred_at=at(now)), key)
    other = walk(occurred_at=at(now), attributes={"steps": 10})
    answer = await alice.post("/v1/me/actions", other, key)
    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency-key-reused"


async def test_a_hundred_parallel_copies_pay_once(alice, now):
    body, key = walk(occurred_at=at(now)), str(uuid.uuid4())
    answers = await asyncio.gather(*(alice.post("/v1/me/actions", body, key) for _ in range(100)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 99 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await alice.balances())["ripening_g"] == 160


async def test_the_daily_limit_cuts_and_says_so(alice, now):
    first = await alice.post(
        "/v1/me/actions", walk(occurred_at=at(now), attributes={"steps": 10_000})
    )
    second = await alice.post(
        "/v1/me/actions", walk(occurred_at=at(now), attributes={"steps": 10_000})
    )
    third = await alice.post(
        "/v1/me/actions", walk(occurred_at=at(now), attributes={"steps": 10_000})
    )
    assert [a.json()["energy_g"] for a in (first, second, third)] == [200, 96, 0]
    assert second.json()["awards"][0]["limited_by"] == "296 g per day"
    assert third.status_code == 201
    assert third.json()["bubble"] is None


async def test_a_late_walk_counts_in_its_own_day(alice, now):
    """The limit is of the day on which it happened, in the programme's zone."""
    today = walk(occurred_at=at(now), attributes={"steps": 20_000})
    before = walk(occurred_at=at(now - timedelta(days=2)), attributes={"steps": 20_000})
    answers = [await alice.post("/v1/me/actions", body) for body in (today, before)]
    assert [answer.json()["energy_g"] for answer in answers] == [296, 296]


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"type": "mobility.wolk"}, "unknown-action-type", None),
        ({"attributes": {"steps": 0}}, "invalid-attributes", None),
        ({"attributes": {}}, "invalid-attributes", None),
        ({"attributes": {"steps": 8, "stepz": 1}}, "invalid-attributes", None),
        (
            {"type": "transit.metro_trip", "attributes": {}},
            "action-refused",
            "reporter-not-allowed",
        ),
    ],
)
async def test_what_the_catalogue_refuses(alice, now, change, code, reason):
    answer = await alice.post("/v1/me/actions", walk(occurred_at=at(now)) | change)
    assert answer.status_code == 422
    problem = answer.json()
    assert (problem["code"], problem.get("reason")) == (code, reason)
    if code == "invalid-attributes":
        assert all(fault["pointer"].startswith("#/attributes") for fault in problem["errors"])
    assert (await alice.balances())["ripening_g"] == 0


@pytest.mark.parametrize(
    ("shift", "reason"),
    [(timedelta(minutes=6), "in-future"), (-timedelta(days=7, minutes=1), "too-late")],
)
async def test_time_has_two_ends(alice, now, shift, reason):
    answer = await alice.post("/v1/me/actions", walk(occurred_at=at(now + shift)))
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)


async def test_a_box_is_paid_once_whoever_brings_it(client, alice, now):
    bob = await sign_in(client, f"bob-{uuid.uuid4()}")
    code = f"BOX-{uuid.uuid4().hex[:8]}".upper()
    first = await alice.post("/v1/me/actions", box(now, code))
    second = await bob.post("/v1/me/actions", box(now, code))
    assert first.status_code == 201
    assert (second.status_code, second.json()["reason"]) == (422, "already-claimed")
    assert str(alice.participant_id) not in second.text


async def test_a_batch_judges_each_item_on_its_own(alice, now):
    keys = [str(uuid.uuid4()) for _ in range(4)]
    good = walk(occurred_at=at(now))
    items = [
        good | {"idempotency_key": keys[0]},
        good | {"idempotency_key": keys[1], "attributes": {"steps": -1}},
        good | {"idempotency_key": keys[0]},
        good | {"idempotency_key": keys[2], "speed": 3},
        {"idempotency_key": keys[3], "type": "mobility.walk", "occurred_at": "yesterday"},
        good | {"idempotency_key": keys[0], "attributes": {"steps": 1}},
        good,
    ]
    answer = await alice.post("/v1/me/actions/batch", {"actions": items})
    assert answer.status_code == 200
    told = answer.json()
    assert [result["status"] for result in told["results"]] == [
        "accepted", "rejected", "duplicate", "rejected", "rejected", "rejected", "rejected",
    ]  # fmt: skip
    assert (told["received"], told["accepted"], told["duplicate"], told["rejected"]) == (7, 1, 1, 5)
    assert [result["id"] for result in told["results"]] == [
        keys[0], keys[1], keys[0], keys[2], keys[3], keys[0], None,
    ]  # fmt: skip
    assert told["results"][0]["energy_g"] == 160
    assert told["results"][1]["problem"]["errors"][0]["pointer"] == "#/actions/1/attributes/steps"
    assert told["results"][3]["problem"]["errors"][0]["pointer"] == "#/actions/3/speed"
    assert told["results"][5]["problem"]["code"] == "idempotency-key-reused"
    assert (await alice.balances())["ripening_g"] == 160


@pytest.mark.parametrize(
    "item",
    [
        b"1e400",
        b"[1e400]",
        b'{"idempotency_key": 1e400}',
        b'{"idempotency_key": "kkkkkkkkkkkkkkkkk", "type": "a\\u0000b"}',
        b'{"type": "mobility.walk", "attributes": {"steps": 1e400}}',
        b'{"idempotency_key": "kkkkkkkkkkkkkkkkk", "type": "\\ud800"}',
        b'{"attributes": {"\\udc00\\ud83d\\ude00\\uD83D": 1}}',
        b"9" * 5_000,
        b"null",
    ],
)
async def test_no_item_of_a_batch_can_spoil_the_others(alice, now, item):
    good = msgspec.json.encode(walk(occurred_at=at(now)) | {"idempotency_key": str(uuid.uuid4())})
    headers = alice.headers | {"Content-Type": "application/json"}
    body = b'{"actions": [' + item + b", " + good + b"]}"
    answer = await alice.client.post("/v1/me/actions/batch", headers=headers, content=body)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["rejected", "accepted"]


async def test_a_batch_and_a_single_request_know_the_same_keys(alice, now):
    key = str(uuid.uuid4())
    body = walk(occurred_at=at(now))
    first = await alice.post("/v1/me/actions", body, key)
    batch = {"actions": [body | {"idempotency_key": key}]}
    again = (await alice.post("/v1/me/actions/batch", batch)).json()["results"][0]
    assert (again["status"], again["action_id"]) == ("duplicate", first.json()["id"])


async def test_a_whole_batch_can_be_repeated_by_a_key_of_its_own(alice, now):
    batch = {"actions": [walk(occurred_at=at(now)) | {"idempotency_key": str(uuid.uuid4())}]}
    key = str(uuid.uuid4())
    first = await alice.post("/v1/me/actions/batch", batch, key)
    again = await alice.post("/v1/me/actions/batch", batch, key)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = {"actions": batch["actions"] * 2}
    refused = await alice.post("/v1/me/actions/batch", other, key)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused")
    short = await alice.post("/v1/me/actions/batch", batch, "short")
    assert (short.status_code, short.json()["code"]) == (400, "idempotency-key-malformed")


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_has_one_to_a_hundred_items(alice, now, count):
    items = [walk(occurred_at=at(now)) | {"idempotency_key": str(uuid.uuid4())}] * count
    answer = await alice.post("/v1/me/actions/batch", {"actions": items})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/actions"


async def test_my_actions_are_listed_latest_first_and_are_only_mine(client, alice, now):
    times = [at(now - timedelta(hours=hours)) for hours in (5, 1, 3)]
    for time in times:
        body = walk(occurred_at=time, attributes={"steps": 100})
        await alice.post("/v1/me/actions", body)
    listed = await items_of(alice, "/v1/me/actions", limit=2)
    assert [item["occurred_at"] for item in listed] == [times[1], times[2], times[0]]
    bob = await sign_in(client, f"bob-{uuid.uuid4()}")
    assert await items_of(bob, "/v1/me/actions") == []
    foreign = await bob.get(f"/v1/me/actions/{listed[0]['id']}")
    assert foreign.status_code == 404
    own = await alice.get(f"/v1/me/actions/{listed[0]['id']}")
    assert own.json() == listed[0]


async def test_a_reversed_action_says_so_wherever_it_is_shown(client, alice, now):
    body, key = walk(occurred_at=at(now)), str(uuid.uuid4())
    action = (await alice.post("/v1/me/actions", body, key)).json()
    operator = await sign_in(client, "olga", "operator")
    reason = {"reason": "a test"}
    undone = await operator.post(f"/v1/operator/actions/{action['id']}/reverse", reason)
    assert undone.status_code == 200, undone.text
    told = {"at": undone.json()["at"], **reason}
    for shown in (
        (await alice.get(f"/v1/me/actions/{action['id']}")).json(),
        (await alice.get("/v1/me/actions")).json()["items"][0],
        (await alice.post("/v1/me/actions", body, key)).json(),
    ):
        assert shown == action | {"status": "reversed", "reversal": told}
    assert (await alice.balances())["ripening_g"] == 0


async def test_the_catalogue_is_public(client):
    types = (await client.get("/v1/action-types")).json()["items"]
    assert {entry["type"]: len(entry["rules"]) > 0 for entry in types} == dict.fromkeys(
        shipped_rulebook().action_types, True
    )
    assert len(types) == 29


@pytest.mark.parametrize("path", ["/v1/action-types", "/v1/me/suggestions"])
async def test_catalogue_and_suggestions_come_in_pages_by_type(alice, path):
    whole = (await alice.get(path)).json()
    assert whole["next_cursor"] is None
    types = [item["type"] for item in whole["items"]]
    assert types == sorted(types)
    assert len(types) > 7
    assert [item["type"] for item in await items_of(alice, path, limit=7)] == types
    assert len((await alice.get(path, limit=7)).json()["items"]) == 7
    wrong = await alice.get(path, limit=0)
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["#/query/limit"]


async def test_suggestions_tell_what_is_left_today(alice, now):
    def walking(answer):
        return [item for item in answer.json()["items"] if item["type"] == "mobility.walk"]

    [before] = walking(await alice.get("/v1/me/suggestions"))
    assert before["rules"][0]["limits"][0]["left"] == 296
    body = walk(occurred_at=at(now), attributes={"steps": 8000})
    await alice.post("/v1/me/actions", body)
    [after] = walking(await alice.get("/v1/me/suggestions"))
    assert after["rules"][0]["limits"][0]["left"] == 136
    await alice.post("/v1/me/actions", body)
    assert walking(await alice.get("/v1/me/suggestions")) == []


async def test_energy_is_collected_when_ripe_and_lost_when_late(client, alice, now):
    """Runs last: it moves the module's clock by days."""
    action = (await alice.post("/v1/me/actions", walk(occurred_at=at(now)))).json()
    await advance(client, days=2)
    collected = await alice.post(f"/v1/me/bubbles/{action['id']}/collect")
    assert collected.json()["collected_g"] == 160
    assert collected.json()["balances"]["available_g"] == 160
