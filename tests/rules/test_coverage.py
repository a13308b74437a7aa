"""Coverage: conditions seen true and false, limits seen to cut, what is missing by its place."""

import json

import pytest
from click.testing import CliRunner

from service.rules.trial.check import try_folder
from service.run.commands_rules import rules
from tests.rules.sets import PROGRAM, ROOT, WALK

RULES = """rules:
  - id: far
    action: mobility.walk
    when: steps >= 1000
    earns: 9
    limits:
      - {per: day, count: 1}
      - {per: month, grams: 20, by: shoe}
    examples:
      - {given: {steps: 2000}, expect: {earns: 9}}
  - id: walk
    action: mobility.walk
    earns: 1
    examples:
      - {given: {steps: 1}, expect: {earns: 1}}
  - id: old
    action: mobility.walk
    when: steps > 5
    until: 2026-01-01
    earns: 1
    examples:
      - {given: {steps: 9}, context: {occurred_at: 2026-01-01T00:00}, expect: {skipped: true}}
"""
TEXT = PROGRAM + WALK.replace("participant, device, partner", "partner") + RULES
TOP = (PROGRAM + WALK).count("\n")
STEP = (
    "- {{at: 2026-05-0{day}T08:00, participant: a, action: mobility.walk,"
    " attributes: {{steps: {steps}}}, expect: {{}}}}\n"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules" / "tests").mkdir(parents=True)
    (tmp_path / "rules" / "a.yaml").write_text(TEXT)
    return tmp_path / "rules"


def missing(folder):
    trial = try_folder(folder)
    assert trial.problems == ()
    return [
        f"{point.line - TOP}:{point.column} {point.rule} {point.what}"
        for point in trial.coverage.missing()
    ]


def test_what_no_test_reached_is_named_at_its_place(folder):
    skipped = "is skipped for no action by its when"
    assert missing(folder) == [
        f"4:11 far {skipped}",
        "7:9 far never reaches its limit of 1 per day",
        "8:9 far never reaches its limit of 20 g per month by shoe",
        # Its dates excluded the example: its condition was not even asked.
        "16:5 old applies to no action",
        f"18:11 old {skipped}",
    ]
    steps = [STEP.format(day=1, steps=2000), STEP.format(day=2, steps=1)]
    (folder / "tests" / "a.yaml").write_text("".join(steps))
    assert [line.split(" ")[0] for line in missing(folder)] == ["7:9", "8:9", "16:5", "18:11"]


def test_a_limit_is_reached_when_it_cuts(folder):
    text = (folder / "tests" / "a.yaml").write_text
    text(STEP.format(day=1, steps=2000) * 2)
    assert "7:9" not in [line.split(" ")[0] for line in missing(folder)]
    text("".join(STEP.format(day=day, steps=2000) for day in (1, 2)))
    assert "8:9" in [line.split(" ")[0] for line in missing(folder)]
    text("".join(STEP.format(day=day, steps=2000) for day in (1, 2, 3)))
    lines = [line.split(" ")[0] for line in missing(folder)]
    assert ("7:9" in lines, "8:9" in lines) == (True, False)


def test_two_limits_may_cut_one_award(folder):
    limits = "      - {per: day, grams: 7}\n      - {per: month, grams: 4}\n"
    whole = limits + "      - {per: year, grams: 4}\n"
    (folder / "a.yaml").write_text(TEXT.replace("      - {per: day, count: 1}\n", whole))
    (folder / "tests" / "a.yaml").write_text(STEP.format(day=1, steps=2000))
    trial = try_folder(folder)
    reached = {point.what for point in trial.coverage.points if point.is_seen}
    assert "never reaches its limit of 7 g per day" in reached
    assert "never reaches its limit of 4 g per month" in reached
    assert "never reaches its limit of 4 g per year" not in reached


def test_what_is_refused_or_fails_reaches_nothing(folder):
    (folder / "a.yaml").write_text(TEXT.replace("earns: 9\n", "earns: 1500 - steps\n"))
    coverage = try_folder(folder).coverage
    assert "far applies to no action" in [f"{p.rule} {p.what}" for p in coverage.missing()]
    (folder / "a.yaml").write_text(TEXT)
    late = STEP.format(day=1, steps=0).replace("{}}", "{refused: invalid-attributes}}")
    (folder / "tests" / "a.yaml").write_text(late)
    assert missing(folder)[0].startswith("4:11 far is skipped")


def test_the_table_and_the_least_that_is_wanted(folder):
    def run(*arguments):
        result = CliRunner().invoke(rules, ["test", *arguments])
        return result.exit_code, result.output.splitlines()

    code, lines = run("--coverage")
    assert code == 0
    assert lines[:5] == [
        "3 of 3 examples as expected",
        "rule  applies  skipped  limits reached  where",
        f"far   yes      NO       0 of 2          rules/a.yaml:{TOP + 2}:5",
        f"walk  yes      -        -               rules/a.yaml:{TOP + 11}:5",
        f"old   NO       NO       -               rules/a.yaml:{TOP + 16}:5",
    ]
    assert lines[5] == (
        f"rules/a.yaml:{TOP + 4}:11: not tested: far is skipped for no action by its when"
    )
    assert lines[-1] == "coverage: 28 % (2 of 7)"
    assert run("--min-coverage", "28") == (0, lines)
    assert run("--min-coverage", "29") == (1, [*lines, "at least 29 % are wanted"])
    assert run("--min-coverage", "101")[0] == 2
    assert run()[1] == lines[:1]


def test_the_report_for_programs(folder):
    result = CliRunner().invoke(rules, ["test", "--format", "json", "--min-coverage", "50"])
    assert result.exit_code == 1
    report = json.loads(result.output)
    assert report["ok"] is True
    coverage = report["coverage"]
    assert (coverage["percent"], coverage["seen"], coverage["of"]) == (28, 2, 7)
    assert coverage["points"][0] == {
        "rule": "far",
        "what": "applies to no action",
        "file": "rules/a.yaml",
        "line": TOP + 2,
        "column": 5,
        "seen": True,
    }
    assert "coverage" not in json.loads(
        CliRunner().invoke(rules, ["test", "--format", "json"]).output
    )


def test_the_shipped_rules_are_covered(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(rules, ["test", "--strict", "--min-coverage", "100"])
    assert result.exit_code == 0, result.output
    assert "coverage: 100 %" in result.output
    assert " scenarios as expected" in result.output
