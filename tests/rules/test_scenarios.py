"""Scenarios under a virtual clock: what carries over, and how a difference is told."""

import json
from datetime import date, timedelta
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from service.actions.streak import mark_active, streak_days
from service.rulebooks.commands_test import schema_text
from service.rules.language.scenario_schema import json_schema
from service.rules.trial.check import failed_scenarios, try_folder
from service.rules.trial.world import streak_before
from service.run.commands_rules import rules
from tests.rules.sets import PROGRAM, ROOT, content_of, shipped

RULES = (
    PROGRAM
    + """
action_types:
  mobility.walk:
    category: mobility
    reported_by: [participant, device]
    attributes:
      steps: {type: integer, minimum: 1, maximum: 100000}
      distance_km: {type: number, minimum: 0, maximum: 100, required: false}
    plausible: "!has(distance_km) || distance_km <= steps * 0.002"
  mobility.ride:
    category: mobility
    reported_by: [participant, partner]
    attributes:
      minutes: {type: number, minimum: 1, maximum: 600, unit: min, required: false}
      no: {type: string, required: false}
    lasts: minutes
    overlap: exclusive
    claim: {by: no, per: month, within: partner}
rules:
  - id: ride
    action: mobility.ride
    when: verified
    earns: 50
    limits: [{per: day, count: 3, group: trips}, {per: ever, count: 2, by: no}]
    examples: [{given: {}, expect: {skipped: true}}]
  - id: streak
    action: mobility.walk
    when: streak_days >= 2
    earns: streak_days
    limits: [{per: day, grams: 900}]
    examples: [{given: {steps: 1}, context: {streak_days: 2}, expect: {earns: 2}}]
  - id: walk
    action: mobility.walk
    saves: "has(distance_km) ? distance_km * 100 : 0"
    earns: steps * 0.01
    limits: [{per: day, grams: 100, group: trips}]
    examples: [{given: {steps: 100}, expect: {earns: 1}}]
campaigns:
  - {id: fair, title: Fair, from: 2026-06-05, until: 2026-06-07, rules: [ride], regions: [CN-ZJ],
     earns_times: 2, budget_g: 70}
"""
)

WALK = "participant: ann, action: mobility.walk"
RIDE = "participant: ann, action: mobility.ride, context: {partner: p}"


@pytest.fixture
def run(tmp_path):
    """Run steps, each the inside of a mapping, as one scenario; answer its problems' lines."""

    def lines(*steps, rules_text=RULES):
        (tmp_path / "tests").mkdir(exist_ok=True)
        (tmp_path / "rules.yaml").write_text(rules_text)
        (tmp_path / "tests" / "a.yaml").write_text("".join(f"- {{{step}}}\n" for step in steps))
        return [str(problem).rpartition("tests/")[2] for problem in try_folder(tmp_path).problems]

    return lines


def test_limits_and_groups_carry_over(run):
    assert run(
        f"at: 2026-05-01T08:00, {WALK}, attributes: {{steps: 6000}}, expect: {{earns: 60}}",
        f"at: 2026-05-01T09:00, {RIDE}, expect: {{earns: 50}}",
        f"at: 2026-05-01T10:00, {WALK}, attributes: {{steps: 6000}},"
        " expect: {earns: 0, limited_by: 100 g per day}",
        "at: 2026-05-01T10:00, participant: bo, action: mobility.walk, attributes: {steps: 6000},"
        " expect: {earns: 60}",
        f"at: 2026-05-01T11:00, {RIDE}, expect: {{earns: 50}}",
        f"at: 2026-05-01T12:00, {RIDE}, expect: {{earns: 0, limited_by: 3 per day}}",
        f"at: 2026-05-02T00:00, {RIDE}, expect: {{earns: 0, limited_by: 2 per ever}}",
        f"at: 2026-05-02T00:00, {WALK}, attributes: {{steps: 6000}}, expect: {{earns: 60}}",
    ) == []  # fmt: skip


def test_a_late_report_counts_in_its_own_day(run):
    late = "context: {occurred_at: 2026-05-01T23:59}"
    assert run(
        f"at: 2026-05-01T08:00, {WALK}, attributes: {{steps: 8000}}, expect: {{earns: 80}}",
        f"at: 2026-05-02T08:00, {WALK}, attributes: {{steps: 8000}}, {late},"
        " expect: {earns: 20, limited_by: 100 g per day}",
        f"at: 2026-05-02T08:00, {WALK}, attributes: {{steps: 8000}}, expect: {{earns: 80}}",
        f"at: 2026-05-09T08:00, {WALK}, attributes: {{steps: 1}}, {late},"
        " expect: {refused: too-late}",
    ) == []  # fmt: skip


def test_trips_of_one_person_do_not_overlap(run):
    ride = "action: mobility.ride, attributes: {minutes: 30}"
    assert run(
        f"at: 2026-05-01T08:00, participant: ann, {ride}, expect: {{}}",
        f"at: 2026-05-01T08:29, participant: ann, {ride}, expect: {{refused: overlap}}",
        f"at: 2026-05-01T08:29, participant: bo, {ride}, expect: {{}}",
        # What was refused fills no minutes.
        f"at: 2026-05-01T08:30, participant: ann, {ride}, expect: {{skipped: true}}",
        "at: 2026-05-01T08:31, participant: ann, action: mobility.ride, expect: {}",
    ) == []  # fmt: skip


def test_claims_are_over_all_people_and_within_a_partner(run):
    ride = "action: mobility.ride, attributes: {no: '7'}"
    assert run(
        f"at: 2026-05-01T08:00, participant: ann, {ride}, context: {{partner: p}}, expect: {{}}",
        f"at: 2026-05-02T08:00, participant: bo, {ride}, context: {{partner: p}},"
        " expect: {refused: already-claimed}",
        f"at: 2026-05-02T08:00, participant: bo, {ride}, context: {{partner: q}}, expect: {{}}",
        # Told by the person and by a partner, it is one ride.
        f"at: 2026-05-02T08:00, participant: bo, {ride}, expect: {{refused: already-claimed}}",
        f"at: 2026-05-02T08:00, participant: chen, {ride}, expect: {{}}",
        f"at: 2026-06-01T08:00, participant: bo, {ride}, context: {{partner: p}}, expect: {{}}",
    ) == []  # fmt: skip


def test_streaks_grow_by_days_also_by_late_ones(run):
    walk = f"{WALK}, attributes: {{steps: 100}}"
    assert run(
        f"at: 2026-05-01T08:00, {walk}, expect: {{earns: 1, rules: {{streak: {{skipped: true}}}}}}",
        f"at: 2026-05-03T08:00, {walk}, expect: {{rules: {{streak: {{skipped: true}}}}}}",
        f"at: 2026-05-03T09:00, {walk}, context: {{occurred_at: 2026-05-02T09:00}}, expect: {{}}",
        f"at: 2026-05-03T10:00, {walk},"
        " expect: {earns: 3, rules: {streak: {earns: 2, saves: 0}, walk: {earns: 1}}}",
        f"at: 2026-05-04T10:00, {walk}, expect: {{earns: 4}}",
    ) == []  # fmt: skip


def test_campaigns_hold_their_budget_over_people_and_regions(run):
    def ride(who, more=""):
        return f"participant: {who}, action: mobility.ride, context: {{partner: p{more}}}"

    assert run(
        f"at: 2026-06-05T08:00, {ride('ann')}, expect: {{earns: 50}}",
        f"at: 2026-06-05T08:00, {ride('ann', ', region: CN-ZJ')},"
        " expect: {earns: 100, campaign: fair}",
        # The region is the person's and stays.
        f"at: 2026-06-05T08:00, {ride('ann')}, expect: {{earns: 0, limited_by: 2 per ever}}",
        f"at: 2026-06-05T08:00, {ride('bo', ', region: CN-ZJ')},"
        " expect: {earns: 70, limited_by: 70 g per campaign, rules: {ride: {campaign: fair}}}",
        f"at: 2026-06-06T08:00, {ride('bo')}, expect: {{earns: 50}}",
        f"at: 2026-06-06T08:00, {ride('cy', ', region: CN-ZJ')}, expect: {{earns: 50}}",
    ) == []  # fmt: skip


def test_a_step_may_come_several_times(run):
    step = f"at: 2026-05-01T08:00, {RIDE}, attributes: {{no: 'N-{{n}}'}}"
    assert run(f"{step}, times: 3, expect: {{earns: 50}}") == []
    (line,) = run(f"{step}, times: 5, expect: {{earns: 50}}")
    assert line.endswith(
        "step 1 (ann, mobility.ride), time 4 of 5: earns is 0, not 50;"
        " ride saves 0 g and earns 0 g, cut by 3 per day"
    )


def test_the_reporter_follows_from_type_partner_and_verified(run):
    walk = "participant: bo, action: mobility.walk, attributes: {steps: 100}"
    ride = "at: 2026-05-01T08:00, participant: ann, action: mobility.ride"
    refused = "expect: {refused: reporter-not-allowed}"
    assert run(
        f"{ride}, expect: {{skipped: true}}",
        f"{ride}, context: {{verified: true}}, expect: {{earns: 50}}",
        f"{ride}, context: {{reporter: partner}}, expect: {{earns: 50}}",
        f"{ride}, context: {{reporter: device}}, {refused}",
        f"at: 2026-05-01T08:00, {walk}, context: {{reporter: device}}, expect: {{earns: 1}}",
        f"at: 2026-05-01T08:00, {walk}, context: {{verified: true}}, {refused}",
    ) == []  # fmt: skip


CAME = "walk saves 0 g and earns 1 g"
BOUNDS = "steps must be a whole number from 1 to 100000"
IMPLAUSIBLE = (
    "This is not a plausible mobility.walk:"
    " it must hold that !has(distance_km) || distance_km <= steps * 0.002"
)


@pytest.mark.parametrize(
    ("step", "faults"),
    [
        (
            "attributes: {steps: 100, distance_km: 0.1}, expect: {saves: 11, earns: 2}",
            [
                ("11,", "saves is 10, not 11; walk saves 10 g and earns 1 g"),
                ("2}", "earns is 1, not 2; walk saves 10 g and earns 1 g"),
            ],
        ),
        (
            "attributes: {steps: 100}, expect: {refused: too-late}",
            [("too-late", f"it is accepted; {CAME}")],
        ),
        (
            "attributes: {steps: 1, distance_km: 9}, expect: {refused: overlap}",
            [
                ("overlap", f"it is refused as implausible: {IMPLAUSIBLE}."),
            ],
        ),
        (
            "attributes: {steps: 0}, expect: {}",
            [("{}", f"it is refused as invalid-attributes: mobility.walk: {BOUNDS}.")],
        ),
        ("attributes: {steps: 9}, expect: {earns: 0}", []),
        (
            "attributes: {steps: 100}, expect: {skipped: true}",
            [("true", f"a rule applies; {CAME}")],
        ),
        (
            "attributes: {steps: 100}, expect: {limited_by: 1 per day, campaign: fair}",
            [
                ("1 per", f"limited_by is nothing, not 1 per day; {CAME}"),
                ("fair", f"campaign is nothing, not fair; {CAME}"),
            ],
        ),
        (
            "attributes: {steps: 100}, expect: {rules: {walk: {skipped: true}, streak: {}}}",
            [("true", f"walk applies; {CAME}"), ("{}}}", f"streak does not apply; {CAME}")],
        ),
        (
            "attributes: {steps: 100}, expect: {rules: {walk: {earns: 7}, ride: {skipped: true}}}",
            [("7", f"earns is 1, not 7 by walk; {CAME}")],
        ),
    ],
)
def test_a_difference_is_told_at_its_value_with_what_came(run, step, faults):
    whole = f"at: 2026-05-01T08:00, {WALK}, {step}"
    behind = whole.index("expect:")
    assert run(whole) == [
        f"a.yaml:1:{whole.index(at, behind) + 4}: error: step 1 (ann, mobility.walk): {text}"
        for at, text in faults
    ]


def test_a_step_with_a_name_goes_by_it(run):
    step = f"at: 2026-05-01T08:00, name: a walk, {WALK}, attributes: {{steps: 100}}"
    (line,) = run(f"{step}, expect: {{earns: 9}}")
    assert "error: step 1 (a walk): earns is 1, not 9" in line


def test_all_faults_of_a_file_are_told_and_nothing_of_it_runs(run):
    refusals = "already-claimed, implausible, in-future, invalid-attributes, overlap"
    refusals += ", reporter-not-allowed, too-late, unknown-action-type"
    form = "a time like 2026-06-05T08:15 or 2026-06-05T08:15:00+08:00"
    forward = "the clock only goes forward: a step before this one is at 2026-05-01T08:00"
    assert run(
        f"at: 2026-05-01T08:00, {WALK}, attributes: {{steps: 1}}, expect: {{earns: 7}}",
        f"at: 2026-05-01T07:59, {WALK}, expect: {{rules: {{wlk: {{}}}}}}",
        "at: 2026-02-30T07:59, participant: ann, action: mobility.wlk, expect: {campaign: fare}",
        f"at: 2026-05-01T08:00, {WALK}, context: {{occurred_at: 2026-05-01T25:00}}, expect: {{}}",
        "at: noon, participants: ann, expect: {refused: nope}, times: 0, context: {region: zj}",
    ) == [
        f"a.yaml:2:8: error: {forward}",
        "a.yaml:2:84: error: there is no rule wlk; did you mean walk?",
        "a.yaml:3:8: error: there is no such time: day is out of range for month",
        "a.yaml:3:52: error: there is no action type mobility.wlk; did you mean mobility.walk?",
        "a.yaml:3:85: error: there is no campaign fare; did you mean fair?",
        "a.yaml:4:90: error: there is no such time: hour must be in 0..23",
        "a.yaml:5:3: error: a step needs participant and action",
        f"a.yaml:5:8: error: at must be {form}, not 'noon'",
        "a.yaml:5:14: error: participants is not known in a step; did you mean participant?",
        f"a.yaml:5:51: error: refused cannot be 'nope'; allowed are {refusals}",
        "a.yaml:5:65: error: times must be a whole number from 1 to 1000, not 0",
        "a.yaml:5:86: error: region must be an ISO 3166 code like CN-ZJ, or CN, not 'zj'",
    ]


def test_a_rule_that_fails_is_told(run):
    broken = RULES.replace("earns: steps * 0.01", "earns: 100 - steps")
    assert run(
        f"at: 2026-05-01T08:00, {WALK}, attributes: {{steps: 101}}, expect: {{earns: 0}}",
        rules_text=broken,
    )[-1].endswith("an expression of walk failed: it gives no grams to pay")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", "1:1: error: this file is empty"),
        (b"a: 1", "1:1: error: a file of scenarios must be a list of steps, not a mapping"),
        (b"- &a {at: 1}\n- *a\n", "1:3: error: anchors (&a) are not allowed"),
        (b"- !!python/object:os.system {}", "1:3: error: tags (!!python/object:os.system)"),
        (b"- 1\n---\n- 2\n", "2:1: error: a file holds one document"),
        (b"- " * 21 + b"x", "1:41: error: values are nested at most 20 levels deep"),
        (b"- {at: 1, at: 2}", "1:11: error: at stands here twice"),
        (b"#" * (257 * 1024), "1:1: error: a file has at most 256 KiB"),
        (b"- \xff", "1:3: error: byte 0xff is not UTF-8"),
        (b"- {}\n" * 10_001, "error: a file has at most 10,000 values"),
        (b"- 1\n" * 101, "a.yaml:101:3: error: after 100 errors nothing further is checked"),
    ],
    ids=lambda value: value[:12] if isinstance(value, bytes) else "",
)
def test_scenario_files_are_as_safe_to_load_as_rules(tmp_path, text, line):
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "a.yaml").write_bytes(text)
    trial = try_folder(tmp_path)
    assert any(line in str(problem) for problem in trial.problems), trial.problems
    assert trial.summary[-1] == "0 of 1 scenarios as expected, 0 steps"


def test_faulty_rules_run_nothing_and_hide_no_fault_of_a_scenario(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES + "colours: 1\n")
    (tmp_path / "tests").mkdir()
    walk = "participant: ann, action: mobility.nothing"
    lines = [
        f"- {{at: 2026-06-06T08:00, {walk}, expect: {{earns: 1}}}}",
        f"- {{at: 2026-06-05T08:00, {walk}, expect: {{earns: 1}}}}",
        f"- {{at: 2026-06-05T08:00Z, {walk}, expect: {{earns: 1}}}}",
        f"- {{at: 2026-06-32T08:00, {walk}, expect: {{erns: 1}}}}",
        f"- {{at: 2026-06-31T08:00, {walk}, expect: {{earns: 1}}}}",
    ]
    (tmp_path / "tests" / "a.yaml").write_text("\n".join(lines))
    (tmp_path / "tests" / "b.yaml").write_bytes(b"- \xff")
    trial = try_folder(tmp_path)
    assert [str(problem).removeprefix(f"{tmp_path}/")[:70] for problem in trial.problems] == [
        "rules.yaml:46:1: error: colours is not known in a rule file; allowed a",
        "tests/b.yaml:1:3: error: byte 0xff is not UTF-8; save the file as UTF-",
        "tests/a.yaml:2:8: error: the clock only goes forward: a step before th",
        "tests/a.yaml:4:8: error: there is no such time: day is out of range fo",
        "tests/a.yaml:4:79: error: erns is not known in expect; did you mean ea",
        "tests/a.yaml:5:8: error: there is no such time: day is out of range fo",
    ]
    assert (trial.summary, trial.coverage) == ((), None)
    files = {f"tests/{name}.yaml": "- 1" for name in "ab"}
    assert [p.file for p in failed_scenarios(trial.draft, files)] == list(files)


def test_a_folder_need_not_have_scenarios(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES)
    assert try_folder(tmp_path).summary == ("3 of 3 examples as expected",)
    (tmp_path / "tests").mkdir()
    assert try_folder(tmp_path).problems == ()
    (tmp_path / "tests" / "notes.txt").write_text("not a scenario")
    assert try_folder(tmp_path).summary == ("3 of 3 examples as expected",)


def test_the_command(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "tests").mkdir()
    file = tmp_path / "tests" / "a.yaml"
    step = f"- {{at: 2026-05-01T08:00, {WALK}, attributes: {{steps: 100}}, expect: {{earns: 1}}}}\n"
    file.write_text(step)
    fine = CliRunner().invoke(rules, ["test", str(tmp_path)])
    assert (fine.exit_code, fine.output.splitlines()) == (
        0,
        ["3 of 3 examples as expected", "1 of 1 scenarios as expected, 1 steps"],
    )
    file.write_text(step.replace("earns: 1", "earns: 2"))
    wrong = CliRunner().invoke(rules, ["test", str(tmp_path), "--format", "json"])
    assert wrong.exit_code == 1
    (problem,) = json.loads(wrong.output)["problems"]
    assert (problem["file"], problem["line"], problem["column"], problem["path"]) == (
        str(file),
        1,
        109,
        "[0].expect.earns",
    )
    refused = CliRunner().invoke(rules, ["publish", str(tmp_path), "--note", "x"])
    assert refused.exit_code == 1
    assert refused.output.endswith("nothing was published\n")


def test_the_guides_story_comes_out_as_told(tmp_path):
    guide = (ROOT / "rules" / "README.md").read_text()
    story = guide.split("## Tell a story")[1].split("```yaml\n")[1].split("```")[0]
    for name, text in shipped().items():
        (tmp_path / name.rpartition("/")[2]).write_text(text)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "guide.yaml").write_text(story)
    trial = try_folder(tmp_path)
    assert trial.problems == ()
    assert trial.summary[1] == "1 of 1 scenarios as expected, 3 steps"


def test_the_schema_knows_the_shipped_scenarios():
    text = schema_text(of_scenarios=True)
    assert CliRunner().invoke(rules, ["schema", "--scenarios"]).output == text
    assert (ROOT / "openapi" / "scenarios.schema.json").read_text() == text
    validator = Draft202012Validator(json.loads(text))
    for path in sorted((ROOT / "rules" / "tests").glob("*.yaml")):
        text = path.read_text()
        assert text.startswith("# yaml-language-server: $schema=../../openapi/scenarios.schema")
        validator.validate(content_of(text))
    assert not validator.is_valid([{"at": "noon"}])
    for name, part in json_schema()["$defs"].items():
        assert part["description"], name
        assert all("description" in field for field in part["properties"].values()), name


@given(st.lists(st.integers(0, 60), max_size=40), st.integers(0, 62))
def test_streaks_are_those_of_the_books(offsets, asked):
    first = date(2026, 1, 1)
    book, active = SimpleNamespace(active_days=0, active_anchor=None, active_before=0), set()
    for offset in offsets:
        day = first + timedelta(days=offset)
        mark_active(book, day)
        active.add(day)
    day = first + timedelta(days=asked)
    assert streak_before(active, day) == streak_days(book, day)
