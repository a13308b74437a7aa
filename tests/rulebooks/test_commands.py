"""`saxaul rules` as an operator types it: lines, exit codes, JSON."""

import asyncio
import json

import asyncpg
import pytest
from click.testing import CliRunner

from service.rulebooks.commands_test import schema_text
from service.run.commands_rules import rules
from tests.rules.sets import PROGRAM, ROOT, WALK

GOOD = PROGRAM + WALK + (
    "rules:\n  - id: r\n    action: mobility.walk\n    title: t\n    earns: 5\n    examples:\n"
    "      - {name: nine steps, given: {steps: 9}, expect: {earns: 5}}\n"
    "    limits: [{per: day, count: 9}]\n"
)  # fmt: skip
WARNED = GOOD.replace("    earns: 5\n", "    when: steps > 0\n    earns: 5\n")
BAD = GOOD.replace("earns: 5\n", "earns: stepps\n")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules").mkdir()
    return tmp_path / "rules"


def run(*arguments):
    result = CliRunner().invoke(rules, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_good_folder(folder):
    (folder / "walk.yaml").write_text(GOOD)
    assert run("check") == (0, "rules: 1 action types, 1 rules, 0 factors, 1 examples\n")
    assert run("test", "rules") == (0, "1 of 1 examples as expected\n")
    assert run("check", "--strict")[0] == 0


def test_a_bad_folder(folder):
    (folder / "walk.yaml").write_text(BAD)
    line = "rules/walk.yaml:20:12: error: stepps is not known here; did you mean steps?\n"
    assert run("check") == (1, line + "1 error, 0 warnings\n")
    assert run("test") == (1, line + "1 error, 0 warnings\n")
    code, output = run("check", "--format", "json")
    assert code == 1
    assert json.loads(output) == {
        "ok": False,
        "problems": [
            {
                "file": "rules/walk.yaml",
                "line": 20,
                "column": 12,
                "path": "rules[0].earns",
                "message": "stepps is not known here; did you mean steps?",
                "severity": "error",
            }
        ],
    }


def test_warnings_change_nothing_unless_strict(folder):
    (folder / "walk.yaml").write_text(WARNED)
    code, output = run("check")
    assert code == 0
    assert output.splitlines()[0] == (
        "rules/walk.yaml:20:17: warning: this is always true: steps lies between 1 and 100000"
    )
    assert run("check", "--strict")[0] == 1
    assert run("test", "--strict")[0] == 1


HIDDEN = ["._walk.yaml", ".walk.yaml.swp", ".~lock.walk.yaml#", "walk.yaml~", "#walk.yaml#"]
STRANGE = ["Old.YML", "walk.YAML", "walk.yaml.txt", "walk.yml.bak"]


def litter(folder):
    """What editors and systems leave beside a file, and what somebody took for rules."""
    folder.mkdir(exist_ok=True)
    (folder / ".#walk.yaml").symlink_to("ada@host.123:456")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "walk.yaml").write_text("{")
    for name in (*HIDDEN, *STRANGE):
        (folder / name).write_bytes(b"\xff{")
    (folder / "README.md").write_text("no rules")
    (folder / "notes").mkdir()
    (folder / "city").mkdir()
    for name in ("walk.yaml", "bike.yml", "README.md", ".walk.yaml"):
        (folder / "city" / name).write_text("{")


def test_what_others_leave_there_is_nobodys_rules_and_what_looks_like_rules_is_told(folder):
    (folder / "walk.yaml").write_text(GOOD)
    litter(folder)
    litter(folder / "tests")
    (folder / "tests" / "ok.yaml").write_text("[]\n")
    expected = "".join(
        f"{where}/city:1:1: warning: 2 of its files look like rules; subfolders are not read\n"
        if name == "city"
        else f"{where}/{name}:1:1: warning: not read, as its name does not end in .yaml or .yml\n"
        for where in ("rules", "rules/tests")
        for name in sorted(["city", *STRANGE])
    )
    told = expected + "0 errors, 10 warnings\n"
    assert run("check") == (0, told + "rules: 1 action types, 1 rules, 0 factors, 1 examples\n")
    assert run("check", "--strict")[0] == 1
    assert run("test")[1].startswith(expected)
    assert run("diff", "rules", "rules")[0] == 0


def test_a_folder_with_nothing_but_strangers_says_so(folder):
    (folder / "walk.YAML").write_text(GOOD)
    code, told = run("check")
    assert (code, told.splitlines()) == (
        1,
        [
            "rules/walk.YAML:1:1: warning: not read, as its name does not end in .yaml or .yml",
            "rules:1:1: error: this folder holds no .yaml file",
            "1 error, 1 warning",
        ],
    )


def test_an_example_that_comes_out_otherwise(folder):
    (folder / "walk.yaml").write_text(GOOD.replace("{earns: 5}", "{earns: 6, saves: 1}"))
    assert run("check")[0] == 0
    code, output = run("test")
    assert code == 1
    assert output.splitlines() == [
        "rules/walk.yaml:22:55: error: example 'nine steps' of r: saves is 0, not 1",
        "rules/walk.yaml:22:55: error: example 'nine steps' of r: earns is 5, not 6",
        "2 errors, 0 warnings",
        "0 of 1 examples as expected",
    ]


def test_wrong_usage(folder):
    assert run("check", "nowhere")[0] == 2
    assert run("check", "--format", "xml")[0] == 2
    assert run("publish")[0] == 2


def test_a_folder_without_rules_or_with_bytes(folder):
    code, output = run("check")
    assert code == 1
    assert output.startswith("rules:1:1: error: this folder holds no .yaml file")
    (folder / "a.yaml").write_bytes(b"\xff")
    (folder / "b.yaml").write_text("program: 5")
    code, output = run("check")
    assert code == 1
    assert [line.split(" ")[0] for line in output.splitlines()[:2]] == [
        "rules/a.yaml:1:1:",
        "rules/b.yaml:1:10:",
    ]
    assert run("publish", "--note", "x")[0] == 1


def test_the_schema():
    assert run("schema") == (0, schema_text())
    assert json.loads(schema_text())["title"] == "Saxaul rules, v1"


async def test_publishing_and_listing(folder, settings, fresh_database_url, monkeypatch):
    monkeypatch.setenv("SAXAUL_DATABASE_URL", fresh_database_url)
    monkeypatch.setenv("SAXAUL_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("SAXAUL_HOME", str(settings.home))
    (folder / "walk.yaml").write_text(GOOD)

    async def typed(*arguments):
        return await asyncio.to_thread(run, *arguments)

    assert await typed("publish", "--note", "first") == (
        0,
        "version 1 is active; running processes switch within 2 s\n",
    )
    (folder / "walk.yaml").write_text(BAD)
    code, output = await typed("publish", "--note", "bad")
    assert code == 1
    assert "rules/walk.yaml:20:12: error: stepps" in output
    assert output.endswith("nothing was published\n")
    (folder / "walk.yaml").write_text(GOOD.replace("5", "6"))
    assert (await typed("publish", "--note", "late", "--based-on", "7"))[0] == 1
    assert (await typed("publish", "--note", "second", "--based-on", "1"))[0] == 0
    code, output = await typed("list")
    assert code == 0
    lines = [line.split() for line in output.splitlines()]
    assert [line[:2] for line in lines[1:]] == [["*", "2"], ["1", lines[2][1]]]
    assert ["first" in line for line in lines[1:]] == [False, True]
    connection = await asyncpg.connect(fresh_database_url)
    assert await connection.fetchval("SELECT folder_sha256 IS NOT NULL FROM active_rulebook")
    await connection.close()


def test_the_shipped_folder_is_good_from_the_command_line(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run("check", "--strict")[0] == 0
    assert run("test", "--strict")[0] == 0
