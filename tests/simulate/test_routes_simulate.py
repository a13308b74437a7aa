"""Drafts tried over HTTP: the same report as the command's, one at a time, beside all else."""

import asyncio
from pathlib import Path

import pytest

from service.rules.language.load import read_folder
from service.simulate.simulator import Simulator
from tests.callers import sign_in
from tests.people import RULES, served, settings_for, walk
from tests.simulate.test_simulate import contents

SIMULATE = "/v1/operator/rulebooks/simulate"
FILES = {Path(name).name: text for name, text in read_folder(RULES)[0].items()}


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    async with served(settings_for(servers, database_url, home)) as made:
        yield made


@pytest.fixture
async def olive(client):
    return await sign_in(client, "olive", "operator")


@pytest.fixture
async def walked(client):
    """Three people with a walk each; gives what they earned."""
    earned = 0
    for name in ("alice", "bob", "carol"):
        somebody = await sign_in(client, name)
        answer = await somebody.post("/v1/me/actions", walk(attributes={"steps": 9000}))
        assert answer.status_code == 201, answer.text
        earned += answer.json()["energy_g"]
    return earned


async def test_a_draft_is_tried(client, olive, walked, database):
    answer = await olive.post(SIMULATE, {"files": FILES})
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert report["changed_actions"] == 0
    assert report["totals"]["energy_before_g"] == report["totals"]["energy_after_g"] >= walked
    assert report["people"]["all"] >= 3
    assert report["settled"]
    draft = {name: text.replace("steps * 0.02", "steps * 0.01") for name, text in FILES.items()}
    assert draft != FILES
    before = await contents(database)
    report = (await olive.post(SIMULATE, {"files": draft})).json()
    after = await contents(database)
    # Only that somebody looked stands somewhere.
    assert {name for name, rows in after.items() if rows != before[name]} == {
        "audit_head", "audit_log",
    }  # fmt: skip
    assert report["people"]["lose"] >= 3
    assert report["totals"]["energy_after_g"] < report["totals"]["energy_before_g"]
    (rule,) = [each for each in report["rules"] if each["rule"] == "walk"]
    assert rule["energy_after_g"] * 2 == rule["energy_before_g"]
    log = await database.pool.fetchrow("SELECT * FROM audit_log ORDER BY seq DESC LIMIT 1")
    assert (log["actor"], log["act"]) == ("olive", "rulebook.simulate")


async def test_a_period_is_chosen(olive, walked):
    past = {"files": FILES, "from": "2026-01-01", "to": "2026-01-02T00:00:00+08:00"}
    report = (await olive.post(SIMULATE, past)).json()
    assert (report["actions"], report["days"]) == (0, [])
    assert (report["from"], report["to"]) == ("2025-12-31T16:00:00Z", "2026-01-01T16:00:00Z")
    for field, value in (("from", "soon"), ("to", "2026-02-30"), ("from", "2199-01-01")):
        answer = await olive.post(SIMULATE, {"files": FILES, field: value})
        assert answer.status_code == 422, value
        assert answer.json()["errors"][0]["pointer"] == f"#/{field}"


async def test_a_bad_draft_is_refused_with_its_problems(olive):
    bad = FILES | {"mobility.yaml": FILES["mobility.yaml"].replace("steps * ", "stepps * ")}
    answer = await olive.post(SIMULATE, {"files": bad})
    assert (answer.status_code, answer.json()["code"]) == (422, "rulebook-invalid")
    assert "stepps" in answer.json()["problems"][0]["message"]


async def test_only_operators_of_rules_may(client, walked):
    auditor = await sign_in(client, "otto", "operator", scope="audit:read")
    alice = await sign_in(client, "alice")
    for who in (auditor, alice):
        assert (await who.post(SIMULATE, {"files": FILES})).status_code == 403


async def test_one_at_a_time_and_others_are_served_meanwhile(client, olive, walked):
    both = {asyncio.create_task(olive.post(SIMULATE, {"files": FILES})) for _ in range(2)}
    (refused,), (running,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    assert (await refused).status_code == 503
    assert (await refused).headers["Retry-After"] == "10"
    somebody = await sign_in(client, "dave")
    assert (await somebody.post("/v1/me/actions", walk())).status_code == 201
    assert (await running).status_code == 200


async def test_what_takes_too_long_is_stopped(client, olive, walked):
    simulator = client._transport.app.state.shared[Simulator]
    simulator.time_max_s = 0.001
    answer = await olive.post(SIMULATE, {"files": FILES})
    assert answer.status_code == 503
    assert "shorter period" in answer.json()["detail"]
    simulator.time_max_s = 60
    assert (await olive.post(SIMULATE, {"files": FILES})).status_code == 200
