"""Versions of the rules as an operator types them: show, pull, activate, explain."""

import json
import re

import pytest

from tests.callers import saxaul, sign_in
from tests.people import eventually, served, settings_for, walk
from tests.rules.sets import PROGRAM, ROOT, WALK

EXAMPLE = "examples: [{name: nine steps, given: {steps: 9}, expect: {earns: %s}}]"


def rules(earns):
    example = EXAMPLE % earns
    return (
        f"{PROGRAM}{WALK}rules:\n"
        f"  - {{id: r, action: mobility.walk, title: t, earns: {earns}, {example}}}\n"
    )


@pytest.fixture
def settings(servers, fresh_database_url, tmp_path):
    return settings_for(servers, fresh_database_url, tmp_path / "home")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "draft"
    path.mkdir()
    (path / "walk.yaml").write_text(rules(5))
    return path


async def test_publish_look_pull_and_roll_back(settings, folder):
    # An editor's lock, and a file that looks like rules: neither is published or in the way.
    (folder / ".#walk.yaml").symlink_to("ada@host.123:456")
    (folder / "old.YML").write_text("{")
    publishing = await saxaul(settings, "rules", "publish", str(folder), "--note", "first")
    assert publishing == (
        0,
        "version 1 is active; running processes switch within 2 s\n",
        f"{folder}/old.YML:1:1: warning: not read, as its name does not end in .yaml or .yml\n",
    )
    (folder / "walk.yaml").write_text(rules(6))
    await saxaul(settings, "rules", "publish", str(folder), "--note", "second")

    code, printed, _ = await saxaul(settings, "rules", "show", "1", "--file", "walk.yaml")
    assert (code, printed) == (0, rules(5))
    code, printed, _ = await saxaul(settings, "rules", "show", "2")
    assert printed.startswith("# version 2, active: second\n# by ")
    assert printed.endswith(f"# --- walk.yaml\n{rules(6)}")

    code, printed, _ = await saxaul(settings, "rules", "diff", "1", str(folder))
    assert (code, printed.splitlines()[0]) == (0, "  r: earns 5 -> 6 g")
    (folder / "mine.yaml").write_text("# a note of mine\nfactors: {}\n")
    code, _, errors = await saxaul(settings, "rules", "pull", "1", str(folder))
    assert (code, errors) == (
        1,
        f"{folder} holds other content; --force overwrites it:\n  walk.yaml\n",
    )
    assert (folder / "walk.yaml").read_text() == rules(6)
    code, printed, errors = await saxaul(settings, "rules", "pull", "1", str(folder), "--force")
    assert (code, printed) == (0, f"{folder} holds version 1: walk.yaml\n")
    assert errors == f"{folder}/mine.yaml is no part of version 1; it stays\n"
    assert (folder / "walk.yaml").read_text() == rules(5)
    kept = [".#walk.yaml", "mine.yaml", "old.YML", "walk.yaml"]
    assert sorted(path.name for path in folder.iterdir()) == kept
    new = folder / "new"
    code, printed, _ = await saxaul(settings, "rules", "pull", "2", str(new))
    assert (code, (new / "walk.yaml").read_text()) == (0, rules(6))

    code, printed, _ = await saxaul(settings, "rules", "activate", "1")
    assert (code, printed) == (0, "version 1 is active; running processes switch within 2 s\n")
    code, printed, _ = await saxaul(settings, "rules", "activate", "1")
    assert (code, printed) == (0, "version 1 is active already\n")
    for words in (["activate", "9"], ["show", "9"], ["pull", "9", str(new)]):
        code, _, errors = await saxaul(settings, "rules", *words)
        assert (code, errors) == (1, "There is no version 9 of the rules.\n")


async def test_who_comes_too_late_is_told_what_changed(settings, folder):
    await saxaul(settings, "rules", "publish", str(folder), "--note", "first")
    (folder / "walk.yaml").write_text(rules(6))
    await saxaul(settings, "rules", "publish", str(folder), "--note", "x", "--based-on", "1")
    code, _, errors = await saxaul(
        settings, "rules", "publish", str(folder), "--note", "y", "--based-on", "1"
    )
    assert code == 1
    assert errors.splitlines()[:2] == [
        "The draft rests on version 1, but version 2 is active now.",
        "  r: earns 5 -> 6 g",
    ]


async def test_a_recorded_action_is_explained_by_the_version_that_decided_it(settings, folder):
    async with served(settings) as client:
        ann = await sign_in(client, "ann")
        olive = await sign_in(client, "olive", "operator")
        walked = (await ann.post("/v1/me/actions", walk())).json()
        tiny = (await ann.post("/v1/me/actions", walk(attributes={"steps": 16}))).json()
        code, printed, _ = await saxaul(settings, "rules", "explain", "--action", tiny["id"])
        assert "0 g from earlier that day + 0.32 g: 0 g, 0.32 g carried on" in printed
        code, _, errors = await saxaul(
            settings, "rules", "publish", str(folder), "--note", "five grams"
        )
        assert code == 0, errors

        async def is_switched():
            return (await client.get("/v1/program")).json()["rulebook_version"] == 2

        await eventually(is_switched)
        later = (await ann.post("/v1/me/actions", walk(attributes={"steps": 9}))).json()
        who = ["--participant", str(ann.participant_id)]
        code, printed, errors = await saxaul(
            settings, "rules", "explain", "--action", walked["id"], *who
        )
        assert code == 0, errors
        assert "decided by version 1 (rules hash" in printed
        assert "5.6 km x 100.95 g/pkm = 565.32" in printed
        assert "factors.petrol_car_pkm = 100.95 g/pkm (UK DESNZ 2026" in printed
        assert "result     160 g of energy, 565 g CO2e saved" in printed
        code, printed, _ = await saxaul(settings, "rules", "explain", "--action", later["id"])
        assert "decided by version 2 (rules hash" in printed
        assert "published by" in printed
        assert ": five grams" in printed
        assert "earns      5: 5 g" in printed
        assert "taken back" not in printed
        undone = f"/v1/operator/actions/{later['id']}/reverse"
        assert (await olive.post(undone, {"reason": "a test"})).status_code == 200
        code, printed, _ = await saxaul(settings, "rules", "explain", "--action", later["id"])
        assert re.search("^taken back .*Z, with all that follows: a test$", printed, re.MULTILINE)
        await ann.delete("/v1/me")
        code, printed, _ = await saxaul(settings, "rules", "explain", "--action", walked["id"])
        assert (code, "what was reported is erased" in printed) == (0, True)
        assert "walk: 160 g of energy, 565 g CO2e saved" in printed
        stranger = "00000000-0000-4000-8000-000000000000"
        code, _, errors = await saxaul(settings, "rules", "explain", "--action", stranger)
        assert (code, errors) == (1, f"There is no action {stranger}.\n")


async def test_a_rule_is_explained_without_a_database(settings):
    given = '{"distance_km": 8.2, "duration_min": 21}'
    rules_folder = str(ROOT / "rules")
    away = settings_for_nowhere(settings)
    code, printed, errors = await saxaul(
        away, "rules", "explain", "metro-trip", "--given", given, "--rules", rules_folder
    )
    assert code == 0, errors
    assert [line.strip() for line in printed.splitlines()][-6:] == [
        "100.95 g/pkm - 15.49 g/pkm = 85.46",
        "8.2 km x 85.46 = 700.772",
        "= 701 g CO2e (700.772 rounded)",
        "earns      52: 52 g",
        "limit      5 per day: cuts nothing",
        "result     52 g of energy, 701 g CO2e saved",
    ]
    code, printed, _ = await saxaul(
        away, "rules", "explain", "box", "--rules", rules_folder, "--format", "json",
        "--given", '{"box_code": "B"}', "--context", '{"verified": true}',
    )  # fmt: skip
    (told,) = json.loads(printed)["awards"]
    saves = next(step for step in told["steps"] if step["name"] == "saves")
    assert saves["result"] == "37 g CO2e"
    assert saves["lines"][0].startswith("factors.box_reuse = 37 g/box (Cainiao and ZTO")
    for text in ("2026-11-30T23:59:60Z", "2026-12-01T00:00:00Z", "2026-12-01T07:59:60+08:00"):
        code, printed, errors = await saxaul(
            away, "rules", "explain", "metro-trip", "--rules", rules_folder,
            "--given", given, "--context", json.dumps({"occurred_at": text}),
        )  # fmt: skip
        assert (code, errors) == (0, ""), text
        assert "2026-12-01" in printed
    wrong = (
        [],
        ["nope"],
        ["metro-trip", "--given", "{"],
        ["metro-trip", "--given", "[]"],
        ["metro-trip", "--given", '{"price": 1, "price": 2}'],
        ["metro-trip", "--context", '{"weather": 1}'],
        ["metro-trip", "--context", '{"occurred_at": "2026-02-30T08:00"}'],
        ["metro-trip", "--context", '{"occurred_at": "2026-12-01T08:00:60Z"}'],
        ["metro-trip", "--action", "00000000-0000-4000-8000-000000000000"],
    )
    for words in wrong:
        code, _, errors = await saxaul(away, "rules", "explain", *words, "--rules", rules_folder)
        assert (code, errors.startswith("Usage:")) == (2, True), words


def settings_for_nowhere(settings):
    """Servers that nobody can reach: whoever asks them fails."""
    return type(settings)(
        home=settings.home,
        database_url="postgresql://u@127.0.0.1:1/x",
        redis_url="redis://127.0.0.1:1",
        redis_prefix=settings.redis_prefix,
        secret_key=settings.secret_key,
    )
