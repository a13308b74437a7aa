"""Versions of the rules as an operator's program sees them: check, publish, compare, roll back."""

import asyncio
import hashlib
import itertools
from datetime import timedelta

import pytest

from service.platform.acts import entry_digest
from service.rules.compile.draft import sha256_of
from tests.callers import items_of, saxaul, sign_in
from tests.people import client_of, eventually, running_app, settings_for, walk
from tests.rules.sets import PROGRAM, WALK

RULES = "/v1/operator/rulebooks"
SWITCH = timedelta(seconds=2)
LIMITED = "limits: [{per: day, count: 9}], "
EXAMPLE = "examples: [{name: nine steps, given: {steps: 9}, expect: {earns: %s}}]"


def rules(earns, expect=None, more=""):
    example = EXAMPLE % (earns if expect is None else expect)
    return (
        f"{PROGRAM}{WALK}rules:\n  - {{id: r, action: mobility.walk, title: t, earns: {earns},"
        f" {more}{example}}}\n"
    )


@pytest.fixture
def settings(servers, fresh_database_url, tmp_path):
    return settings_for(servers, fresh_database_url, tmp_path / "home")


@pytest.fixture
async def client(settings):
    async with running_app(settings) as app, client_of(app) as made:
        yield made


@pytest.fixture
async def olive(client):
    return await sign_in(client, "olive", "operator")


async def publish(operator, text, note="a test", key=None, **more):
    files = {"walk.yaml": text}
    return await operator.post(RULES, {"files": files, "note": note, **more}, key)


async def test_checking_tells_every_problem_and_stores_nothing(olive):
    bad = rules("stepps", 5).replace("category: mobility", "category: moblity")
    answer = await olive.post(f"{RULES}/check", {"files": {"walk.yaml": bad}})
    assert answer.status_code == 200
    told = answer.json()
    assert told["ok"] is False
    assert [set(problem) for problem in told["problems"]] == [
        {"file", "line", "column", "path", "message", "severity"}
    ] * len(told["problems"])
    assert {problem["file"] for problem in told["problems"]} == {"walk.yaml"}
    assert "moblity" in told["problems"][0]["message"]
    good = await olive.post(f"{RULES}/check", {"files": {"walk.yaml": rules(5, more=LIMITED)}})
    assert (good.status_code, good.json()) == (200, {"ok": True, "problems": []})
    wrong = await olive.post(f"{RULES}/check", {"files": {"walk.yaml": rules(5, 6, LIMITED)}})
    assert wrong.json()["ok"] is False
    assert wrong.json()["problems"][0]["message"].endswith("earns is 5, not 6")
    nothing = await olive.post(f"{RULES}/check", {"files": {}})
    assert (nothing.status_code, nothing.json()["ok"]) == (200, False)
    assert (await olive.get(RULES)).json() == {"items": [], "next_cursor": None}


async def test_a_version_is_published_listed_shown_and_decides(olive, client):
    answer = await publish(olive, rules(5), "the first rules")
    assert answer.status_code == 201
    sha256 = sha256_of({"walk.yaml": rules(5)})
    assert answer.json() == {"version": 1, "sha256": sha256}
    shown = (await olive.get(f"{RULES}/1")).json()
    assert shown.pop("files") == {"walk.yaml": rules(5)}
    assert shown.pop("created_at").endswith("Z")
    assert shown == {
        "version": 1,
        "sha256": sha256,
        "author": "olive",
        "note": "the first rules",
        "based_on": None,
        "active": True,
    }
    ann = await sign_in(client, "ann")

    async def decides():
        answer = await ann.post("/v1/me/actions", walk(attributes={"steps": 9}))
        return answer.status_code == 201 and answer.json()["energy_g"] == 5

    await eventually(decides)


async def test_errors_and_examples_refuse_and_nothing_is_stored(olive):
    for text in (rules("nope"), rules(5, 6, LIMITED), "program: 5", ""):
        answer = await publish(olive, text)
        assert (answer.status_code, answer.json()["code"]) == (422, "rulebook-invalid")
        assert answer.json()["problems"][0]["severity"] == "error"
    assert (await olive.get(RULES)).json()["items"] == []


async def test_what_a_set_may_be_called_and_how_large_it_is(olive):
    for name in ("walk.txt", "a\u0000.yaml", "..", "a/", ".yaml/"):
        answer = await olive.post(RULES, {"files": {name: rules(5)}, "note": "x"})
        assert answer.status_code == 422, name
        assert answer.json()["code"] == "invalid-request"
    twice = {"a/walk.yaml": rules(5), "b/walk.yaml": rules(6)}
    answer = await olive.post(RULES, {"files": twice, "note": "x"})
    assert answer.json()["errors"][0]["pointer"] == "#/files/b~1walk.yaml"
    answer = await olive.post(RULES, {"files": {"a.yaml": rules(5)}})
    assert answer.status_code == 422
    large = {"a.yaml": rules(5) + "#" * 2_097_152}
    answer = await olive.post(RULES, {"files": large, "note": "x"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


async def test_versions_are_listed_in_pages_the_newest_first(olive):
    for earns in range(1, 6):
        assert (await publish(olive, rules(earns), f"{earns} g")).status_code == 201
    first = (await olive.get(RULES, limit=2)).json()
    assert [item["version"] for item in first["items"]] == [5, 4]
    await publish(olive, rules(6))
    found = await items_of(olive, RULES, limit=2)
    assert [item["version"] for item in found] == [6, 5, 4, 3, 2, 1]
    assert [item["active"] for item in found] == [True, *[False] * 5]
    assert [item["based_on"] for item in found] == [5, 4, 3, 2, 1, None]
    rest = (await olive.get(RULES, limit=2, cursor=first["next_cursor"])).json()
    assert [item["version"] for item in rest["items"]] == [3, 2]


async def test_rolling_back_and_forward(olive, client):
    await publish(olive, rules(5))
    await publish(olive, rules(6))
    back = await olive.post(f"{RULES}/1/activate")
    assert (back.status_code, back.json()["version"], back.json()["active"]) == (200, 1, True)
    assert (await olive.post(f"{RULES}/1/activate")).status_code == 200

    async def version():
        return (await client.get("/v1/program")).json()["rulebook_version"]

    async def is_back():
        return await version() == 1

    await eventually(is_back)
    forward = await olive.post(f"{RULES}/2/activate", {})
    assert forward.json()["active"] is True
    assert [item["active"] for item in (await olive.get(RULES)).json()["items"]] == [True, False]


async def test_a_version_that_is_not_there(olive):
    await publish(olive, rules(5))
    for version in ("0", "77", "x", "-1", "1.0", "99999999999999999999", "%00"):
        for path in (version, f"{version}/diff/1", f"1/diff/{version}"):
            assert (await olive.get(f"{RULES}/{path}")).status_code == 404, path
        answer = await olive.post(f"{RULES}/{version}/activate")
        assert answer.status_code == 404, version


async def test_what_changed_between_versions_is_told_in_words(olive):
    limited = "limits: [{per: day, count: 5}], "
    await publish(olive, rules(5, more=limited))
    await publish(olive, rules(6))
    told = (await olive.get(f"{RULES}/1/diff/2")).json()
    assert told["same"] is False
    texts = {change["text"]: change["warning"] for change in told["changes"]}
    assert texts["r: earns 5 -> 6 g"] is None
    assert texts["r: limit 5 per day removed"] == "nothing limits it any more"
    (earns,) = [change for change in told["changes"] if change["field"] == "earns"]
    assert (earns["section"], earns["id"], earns["kind"]) == ("rules", "r", "changed")
    assert (earns["before"], earns["after"]) == ("5", "6")
    assert told["consequences"][0]["text"] == "r 'nine steps': earns 5 -> 6 g"
    assert told["consequences"][1]["text"] == "r 'nine steps' 20 times a day: earns 25 -> 120 g"
    same = (await olive.get(f"{RULES}/2/diff/2")).json()
    assert same == {"same": True, "changes": [], "consequences": [], "examples": 0, "left": 0}


async def test_of_two_who_publish_on_the_same_version_one_wins(settings, olive):
    """Two processes, two connections: the loser stores nothing and learns what was changed."""
    await publish(olive, rules(5))
    async with running_app(settings) as other, client_of(other) as client:
        oscar = await sign_in(client, "oscar", "operator")
        answers = await asyncio.gather(
            publish(olive, rules(6), based_on=1), publish(oscar, rules(7), based_on=1)
        )
        won, lost = sorted(answers, key=lambda answer: answer.status_code)
        assert (won.status_code, lost.status_code) == (201, 409)
        told = lost.json()
        assert told["code"] == "rulebook-changed"
        assert (told["based_on"], told["active_version"]) == (1, 2)
        earns = 6 if answers[0] is won else 7
        assert f"r: earns 5 -> {earns} g" in [change["text"] for change in told["diff"]["changes"]]
        listed = (await oscar.get(RULES)).json()["items"]
        assert [item["version"] for item in listed] == [2, 1]
        again = await publish(oscar, rules(8), based_on=2)
        assert again.json()["version"] == 3


async def test_a_draft_on_a_version_that_never_was(olive):
    await publish(olive, rules(5))
    answer = await publish(olive, rules(6), based_on=9)
    assert (answer.status_code, answer.json()["diff"]) == (409, None)


async def test_publishing_again_with_the_same_key_is_one_version(olive):
    key = "published-once-and-for-all"
    first = await publish(olive, rules(5), key=key)
    again = await publish(olive, rules(5), key=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await publish(olive, rules(6), key=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert len((await olive.get(RULES)).json()["items"]) == 1


async def test_only_operators_with_the_scope_come_in(client, olive):
    await publish(olive, rules(5))
    auditor = await sign_in(client, "otto", "operator", scope="audit:read")
    alice = await sign_in(client, "alice")
    for who in (auditor, alice):
        assert (await publish(who, rules(6))).status_code == 403
        assert (await who.post(f"{RULES}/check", {"files": {}})).status_code == 403
        assert (await who.post(f"{RULES}/1/activate")).status_code == 403
        for path in (RULES, f"{RULES}/1", f"{RULES}/1/diff/1"):
            assert (await who.get(path)).status_code == 403


async def test_each_change_stands_in_the_audit_log(settings, olive, database):
    answer = await publish(olive, rules(5), "first")
    await publish(olive, rules(6), "second")
    await publish(olive, rules("nope"))
    await publish(olive, rules(7), based_on=1)
    await olive.post(f"{RULES}/1/activate")
    await olive.post(f"{RULES}/1/activate")
    code, printed, _ = await saxaul(settings, "rules", "activate", "2")
    assert code == 0, printed
    log = await database.pool.fetch("SELECT * FROM audit_log ORDER BY seq")
    sha256 = answer.json()["sha256"]
    assert [(row["act"], row["object"]) for row in log] == [
        ("rulebook.publish", "1"),
        ("rulebook.publish", "2"),
        ("rulebook.activate", "1"),
        ("rulebook.activate", "2"),
    ]
    assert log[0]["detail"] == {"sha256": sha256, "note": "first", "replaced": None}
    assert [row["detail"]["replaced"] for row in log] == [None, 1, 2, 1]
    assert [row["actor"] for row in log[:3]] == ["olive"] * 3
    assert log[3]["actor"] not in {"", "olive"}
    previous = bytes(32)
    for row in log:
        _, at, *rest, stored = row.values()
        assert entry_digest(previous, (row["seq"], at, *rest)) == stored
        previous = stored
    assert len(previous) == hashlib.sha256().digest_size


async def test_each_look_stands_in_the_audit_log(olive, database):
    sha256 = (await publish(olive, rules(5), "first")).json()["sha256"]
    for text in (rules(5), rules("nope")):
        assert (
            await olive.post(f"{RULES}/check", {"files": {"walk.yaml": text}})
        ).status_code == 200
    for path in (RULES, f"{RULES}/1", f"{RULES}/1/diff/1"):
        assert (await olive.get(path)).status_code == 200
    assert (await olive.get(f"{RULES}/9")).status_code == 404
    log = await database.pool.fetch("SELECT * FROM audit_log ORDER BY seq OFFSET 1")
    assert [(row["act"], row["detail"]) for row in log] == [
        ("rulebook.check", {"ok": True}),
        ("rulebook.check", {"ok": False}),
        ("rulebook.list", {}),
        ("rulebook.show", {}),
        ("rulebook.diff", {"before": 1}),
    ]
    assert [row["object"] for row in log[2:]] == ["rulebooks", "1", "1"]
    assert log[0]["object"] == sha256
    assert {row["actor"] for row in log} == {"olive"}


async def test_scenarios_are_run_and_not_published(olive):
    step = (
        "- {at: 2026-06-05T08:00, participant: ann, action: mobility.walk,"
        " attributes: {steps: 9}, expect: {earns: %s}}\n"
    )
    files = {"walk.yaml": rules(5, more=LIMITED), "tests/ann.yaml": step % 6}
    answer = await olive.post(RULES, {"files": files, "note": "x"})
    assert (answer.status_code, answer.json()["code"]) == (422, "rulebook-invalid")
    assert answer.json()["problems"][0]["file"] == "tests/ann.yaml"
    checked = await olive.post(f"{RULES}/check", {"files": files})
    assert checked.json()["problems"] == answer.json()["problems"]
    files["tests/ann.yaml"] = step % 5
    answer = await olive.post(RULES, {"files": files, "note": "x"})
    assert answer.status_code == 201
    assert list((await olive.get(f"{RULES}/1")).json()["files"]) == ["walk.yaml"]


async def test_processes_switch_under_load_and_no_request_is_lost(settings, olive, database):
    """Each award names a version that was active while its request was under way."""
    await publish(olive, rules(1))
    async with running_app(settings) as other, client_of(other) as client:
        people = [
            await sign_in(where, f"walker-{number}")
            for number, where in enumerate((olive.client, client) * 3)
        ]
        answers, done = [], asyncio.Event()

        async def walks(person):
            while not done.is_set():
                report = walk(attributes={"steps": 9})
                answers.append(await person.post("/v1/me/actions", report))

        walking = [asyncio.create_task(walks(person)) for person in people]
        for version in (2, 3):
            answer = await publish(olive, rules(version))
            assert answer.json()["version"] == version
            await eventually(lambda v=version: decide(v, olive.client, client))
        await olive.post(f"{RULES}/1/activate")
        await eventually(lambda: decide(1, olive.client, client))
        done.set()
        await asyncio.gather(*walking)
    assert {answer.status_code for answer in answers} == {201}
    told = [answer.json() for answer in answers]
    seen = [action["awards"][0]["rulebook_version"] for action in told]
    assert set(seen) == {1, 2, 3}
    # A version's own grams: nobody was decided by half of one and half of another.
    assert all(action["energy_g"] == version for action, version in zip(told, seen, strict=True))
    acts = await database.pool.fetch(
        "SELECT version, activated_at FROM rulebook_activations ORDER BY activated_at"
    )
    rows = await database.pool.fetch("SELECT rulebook_version, recorded_at FROM actions")
    for row in rows:
        at = row["recorded_at"]
        since = [act["version"] for act in acts if act["activated_at"] <= at]
        lately = [
            act["version"]
            for act, after in itertools.pairwise(acts)
            if act["activated_at"] <= at <= after["activated_at"] + SWITCH
        ]
        assert row["rulebook_version"] in {since[-1], *lately}


async def decide(version, *clients):
    """Whether all of these processes decide by this version."""
    answers = [await client.get("/v1/program") for client in clients]
    return all(answer.json()["rulebook_version"] == version for answer in answers)
