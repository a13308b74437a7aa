"""What a change of the rules means: said in an operator's words, and by what examples come to."""

import shutil

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from service.__main__ import main
from service.rules.language.load import read_folder
from service.rules.tell.diff import diff
from service.rules.tell.rule_set import BrokenSetError
from service.run.commands_rules import rules as rules_group
from tests.rules.sets import ROOT, content_of

SAMPLE = """
program:
  name: Test city
  timezone: Asia/Shanghai
  energy: {ripens: {next_day_at: "07:00"}, expires_after: 72h}
factors:
  car: {value: 100, unit: g/pkm, source: "A source, row 1", year: 2026}
action_types:
  trip:
    title: Trip
    category: mobility
    reported_by: [partner]
    attributes:
      km: {type: number, minimum: 0, maximum: 100, unit: km}
      ticket: {type: string, required: false}
    plausible: km <= 90
    claim: {by: ticket, per: ever, within: all}
rules:
  - id: trip
    action: trip
    title: A trip
    from: 2026-01-01
    when: km >= 0.5
    saves: km * factors.car
    earns: 52
    limits:
      - {per: day, count: 5}
      - {per: month, grams: 3000}
    examples:
      - {name: to work, given: {km: 8}, expect: {saves: 800, earns: 52}}
campaigns:
  - id: week
    title: Week
    rules: [trip]
    from: 2027-06-05
    until: 2027-06-12
    earns_times: 2
    budget_g: 5000
badges:
  - {id: rider, title: Rider, needs: {action: trip, count: 20}}
"""


def texts(*changes):
    """The lines about the sample after these replacements, without what the examples come to."""
    return [change.text for change in difference(*changes).changes]


def difference(*changes):
    after = SAMPLE
    for old, new in changes:
        assert old in after
        after = after.replace(old, new)
    return diff({"a.yaml": SAMPLE}, {"a.yaml": after})


def warned(*changes):
    return {change.text: change.warning for change in difference(*changes).changes}


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("    earns: 52", "    earns: 60", "trip: earns 52 -> 60 g"),
        ("    earns: 52\n", "", "trip: earns 52 -> what it saves"),
        ("    earns: 52", "    earns: km * 10", "trip: earns 52 -> km * 10"),
        ("km * factors.car", "km * 7", "trip: saves km * factors.car -> km * 7"),
        ("    when: km >= 0.5\n", "", "trip: when km >= 0.5 removed"),
        ("km >= 0.5", "km > 0.5", "trip: when km >= 0.5 -> km > 0.5"),
        ("from: 2026-01-01", "from: 2026-02-01", "trip: from 2026-01-01 -> 2026-02-01"),
        ("    from: 2026-01-01\n", "", "trip: from 2026-01-01 removed"),
        (
            "    when:",
            "    until: 2026-07-01\n    when:",
            "trip: until 2026-07-01 (new)",
        ),
        ("      - {per: day, count: 5}\n", "", "trip: limit 5 per day removed"),
        ("count: 5}", "count: 6}", "trip: limit 5 per day -> 6 per day"),
        ("grams: 3000", "grams: 300", "trip: limit 3000 g per month -> 300 g per month"),
        (
            "count: 5}\n",
            "count: 5}\n      - {per: day, count: 9, by: ticket, group: g}\n",
            "trip: limit 9 per day in the group g by ticket (new)",
        ),
        ("title: A trip", "title: {en: A ride}", "trip: title en 'A trip' -> en 'A ride'"),
        (
            "value: 100",
            "value: 90",
            "factors.car: value 100 -> 90 g/pkm, used by trip",
        ),
        ("unit: g/pkm", "unit: g/km", "factors.car: unit g/pkm -> g/km, used by trip"),
        ("year: 2026", "year: 2027", "factors.car: year 2026 -> 2027"),
        ("category: mobility", "category: home", "trip: category mobility -> home"),
        (
            "reported_by: [partner]",
            "reported_by: [participant, partner]",
            "trip: reported_by [partner] -> [participant, partner]",
        ),
        ("maximum: 100,", "maximum: 120,", "trip: km maximum 100 -> 120 km"),
        ("plausible: km <= 90", "plausible: km <= 95", "trip: plausible km <= 90 -> km <= 95"),
        ("    plausible: km <= 90\n", "", "trip: plausible km <= 90 removed"),
        (
            "within: all",
            "within: partner",
            "trip: claim by ticket, per ever, within all -> by ticket, per ever, within partner",
        ),
        ("earns_times: 2", "earns_times: 3", "campaign week: earns_times 2 -> 3"),
        ("until: 2027-06-12", "until: 2027-06-13", "campaign week: until 2027-06-12 -> 2027-06-13"),
        ("    budget_g: 5000\n", "", "campaign week: budget_g 5000 g removed"),
        ("count: 20", "count: 30", "badge rider: needs count 20 -> 30"),
        ("Asia/Shanghai", "Asia/Tokyo", "program: timezone Asia/Shanghai -> Asia/Tokyo"),
        ("72h", "48h", "program: energy expires_after 72h -> 48h"),
        (
            '{next_day_at: "07:00"}',
            "{after: 1h}",
            "program: energy ripens next_day_at 07:00 removed",
        ),
        (
            "      - {per: day, count: 5}\n      - {per: month, grams: 3000}\n",
            "      - {per: month, grams: 3000}\n      - {per: day, count: 5}\n",
            (
                "trip: order of limits 5 per day, then 3000 g per month"
                " -> 3000 g per month, then 5 per day"
            ),
        ),
        ("km: 8}", "km: 9}", "trip: example 'to work' km 8 -> km 9"),
        (
            "{saves: 800, earns: 52}",
            "{earns: 52}",
            "trip: example 'to work' expects saves 800, earns 52 -> earns 52",
        ),
    ],
)
def test_a_change_in_an_operators_words(old, new, text):
    assert text in texts((old, new))


def test_what_comes_and_goes():
    rule = "  - id: second\n    action: trip\n    saves: 3\n    limits: [{per: day, count: 1}]\n"
    added = texts(("campaigns:", f"{rule}campaigns:"))
    assert added == ["second: added: for trip, saves 3, limit 1 per day"]
    after = SAMPLE.replace("campaigns:", f"{rule}campaigns:")
    removed = diff({"a.yaml": after}, {"a.yaml": SAMPLE}).changes
    assert [change.text for change in removed] == [
        "second: removed: for trip, saves 3, limit 1 per day"
    ]
    factor = "  bus: {value: 1, unit: g/km, source: S, year: 2026}\naction_types:"
    assert texts(("action_types:", factor)) == [
        "factors.bus: added: value 1, unit g/km, source S, year 2026"
    ]
    attribute = "      seat: {type: integer, minimum: 1}\n    plausible"
    assert warned(("    plausible", attribute)) == {
        "trip: attribute seat: added: type integer, required true, minimum 1": (
            "reports without it are refused"
        )
    }


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("      - {per: day, count: 5}\n", "", "left: 3000 g per month"),
        ("    earns: 52", "    earns: 520", "10 times as much: a slipped unit?"),
        ("value: 100,", "value: 0.1,", "0.001 times as much: a slipped unit?"),
        ("value: 100,", "value: 160.9344,", "1.61 times as much: a kilometre or a mile?"),
        ("value: 100,", "value: 27.78,", "0.278 times as much: a kilowatt-hour or a megajoule?"),
        ("unit: g/pkm", "unit: g/vkm", "its value did not change with it"),
        ("count: 5}", "count: 50}", "10 times as much: a slipped unit?"),
        ("    budget_g: 5000\n", "", "nothing limits what it pays"),
        ("    plausible: km <= 90\n", "", "nothing is implausible any more"),
        (
            "    claim: {by: ticket, per: ever, within: all}\n",
            "",
            "what was paid once can be paid again",
        ),
        (
            "reported_by: [partner]",
            "reported_by: [partner, participant]",
            "reports of a participant are believed now",
        ),
        (
            "ticket: {type: string, required: false}",
            "ticket: {type: string}",
            "reports without it are refused",
        ),
        ("unit: km}", "unit: m}", "what is reported is read in another unit"),
        ("Shanghai", "Tokyo", "days, weeks and months are counted in another zone from now on"),
    ],
)
def test_what_deserves_a_second_look(old, new, warning):
    assert warning in warned((old, new)).values()


def test_limits_of_a_rule_with_a_new_name_begin_anew():
    """A limit counts by its rule's id; by its group it goes on."""
    renamed = [
        ("- id: trip\n    action", "- id: ride\n    action"),
        ("rules: [trip]", "rules: [ride]"),
    ]
    (warning,) = filter(None, warned(*renamed).values())
    assert warning == "its limits begin anew: what people used of trip counts no more"
    grouped = SAMPLE.replace("count: 5}", "count: 5, group: trips}")
    grouped = grouped.replace("grams: 3000}", "grams: 3000, group: trips-month}")
    after = grouped
    for old, new in renamed:
        after = after.replace(old, new)
    changes = diff({"a.yaml": grouped}, {"a.yaml": after}).changes
    assert {change.warning for change in changes} == {None}


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ([], "its budget begins anew: what week has paid counts no more"),
        ([("budget_g: 5000", "budget_g: 6000"), ("2027-06-12", "2027-06-20")],
         "its budget begins anew: what week has paid counts no more"),
        ([("2027-06-05", "2028-06-05"), ("2027-06-12", "2028-06-12")], None),
        ([("    rules: [trip]", "    categories: [home]")], None),
        ([("    budget_g: 5000\n", "")], "no budget_g: nothing limits what it pays"),
    ],
)  # fmt: skip
def test_a_budget_of_a_campaign_with_a_new_name_begins_anew(changes, warning):
    """A budget counts by its campaign's id; next year's campaign is meant to have its own."""
    told = warned(("- id: week", "- id: days"), *changes)
    assert [why for text, why in told.items() if text.startswith("campaign days: added")] == [
        warning
    ]
    assert [why for text, why in told.items() if text.startswith("campaign week: removed")] == [
        None
    ]


def test_who_may_not_report_any_more_deserves_a_second_look():
    more = SAMPLE.replace("reported_by: [partner]", "reported_by: [partner, participant]")
    (change,) = diff({"a.yaml": more}, {"a.yaml": SAMPLE}).changes
    assert change.warning == "reports of a participant are refused from now on"


def test_an_ordinary_change_has_no_warning():
    for old, new in (("    earns: 52", "    earns: 60"), ("value: 100,", "value: 90,")):
        assert set(warned((old, new)).values()) == {None}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    earns: 52", "    earns: 52.0   # as before"),
        ("    earns: 52", '    earns: "50 + 2"'),
        ("km * factors.car", "km*factors . car"),
        ("km >= 0.5", "|\n      km\n        >= 0.5"),
        ("expires_after: 72h", "expires_after: 3d"),
        ("title: A trip", "title: {en: A trip}"),
        ("      - {per: day, count: 5}\n      - {per: month, grams: 3000}\n",
         "      - {count: 5, per: day}\n      - {grams: 3000, per: month}\n"),
        ("category: mobility\n    reported_by: [partner]",
         "reported_by: [partner]\n    category: mobility"),
        ("    earns: 52", "    earns: 52\n\n\n"),
    ],
)  # fmt: skip
def test_how_it_is_written_does_not_matter(old, new):
    found = difference((old, new))
    assert found.same, texts((old, new))
    assert [line for line, _ in found.lines()] == ["no difference in meaning"]


def test_files_and_order_of_rules_do_not_matter():
    files, _ = read_folder(ROOT / "rules")
    whole = {"rules": []}
    for text in files.values():
        for key, value in content_of(text).items():
            if isinstance(value, list):
                whole.setdefault(key, []).extend(reversed(value))
            else:
                whole.setdefault(key, {}).update(value)
    assert whole["rules"]
    assert diff(files, {"one.yaml": yaml.safe_dump(whole, allow_unicode=True)}).changes == ()


def test_consequences_are_grams_of_examples():
    found = difference(("value: 100,", "value: 0.1,"))
    (saved,) = found.consequences
    assert saved.text == "trip 'to work': saves 800 -> 1 g"
    assert (saved.before["saves"], saved.after["saves"]) == (800, 1)
    gone = difference(("      - {per: day, count: 5}\n", "")).consequences
    assert [told.text for told in gone] == ["trip 'to work' 20 times a day: earns 260 -> 1040 g"]
    refused = difference(("km <= 90", "km <= 5")).consequences
    assert [told.text for told in refused] == [
        "trip 'to work': earns 52 g -> refused as implausible"
    ]
    skipped = difference(("km >= 0.5", "km >= 50")).consequences
    assert [told.text for told in skipped] == ["trip 'to work': earns 52 g -> skipped"]
    nothing = difference(("    earns: 52", "    earns: 0")).consequences
    assert nothing[0].warning == "nothing any more"
    assert saved.warning == "almost nothing any more"
    assert gone[0].warning is None
    more = difference(("    earns: 52", "    earns: 520")).consequences[0]
    assert more.warning == "10 times as much: a slipped unit?"


def test_the_report_for_programs():
    told = msgspec.to_builtins(difference(("    earns: 52", "    earns: 60")))
    assert told["same"] is False
    assert told["changes"][0] == {
        "section": "rules",
        "id": "trip",
        "field": "earns",
        "kind": "changed",
        "before": "52",
        "after": "60",
        "text": "trip: earns 52 -> 60 g",
        "warning": None,
    }
    assert told["examples"] == 1


def test_a_set_with_errors_has_no_meaning():
    with pytest.raises(BrokenSetError, match="nope is not known here"):
        difference(("    earns: 52", "    earns: nope"))


def typed(*arguments):
    result = CliRunner().invoke(rules_group, ["diff", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_command(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
        (folder / "a.yaml").write_text(SAMPLE)
    assert typed(before, after) == (0, "no difference in meaning\n")
    changed = SAMPLE.replace("    earns: 52", "    earns: 60").replace(
        "      - {per: day, count: 5}\n", ""
    )
    (after / "a.yaml").write_text(changed)
    code, output = typed(before, after)
    assert code == 0
    assert output.splitlines() == [
        "  trip: earns 52 -> 60 g",
        "! trip: limit 5 per day removed (left: 3000 g per month)",
        "the examples come to:",
        "  trip 'to work': earns 52 -> 60 g",
        "  trip 'to work' 20 times a day: earns 260 -> 1200 g",
        "2 changes, 2 examples otherwise; 1 to look at twice (!)",
    ]
    code, output = typed(before, after, "--format", "json")
    assert (code, '"same": false' in output) == (0, True)
    (after / "a.yaml").write_text("program: 5")
    code, output = typed(before, after)
    assert (code, f"{after}/a.yaml:1:10: error:" in output) == (1, True)
    shutil.rmtree(after)
    assert typed(before, after)[0] == 2
    assert typed(before)[0] == 2


@pytest.mark.parametrize(
    "words", [("diff", "{a}", "{b}"), ("explain", "r", "--rules", "{a}"), ("simulate", "{a}")]
)
def test_a_file_that_cannot_be_read_hides_no_problem_of_another(tmp_path, words):
    folders = {"a": tmp_path / "a", "b": tmp_path / "b"}
    for folder in folders.values():
        folder.mkdir()
        (folder / "good.yaml").write_text("colours: 1\n")
    (folders["a"] / "bad.yaml").write_bytes(b"\xff")
    typed = ["rules", *(word.format(**folders) for word in words)]
    result = CliRunner().invoke(main, typed)
    lines = result.output.replace(f"{tmp_path}/", "").splitlines()
    unknown = "colours is not known in a rule file; allowed are program, factors"
    told = [
        "a/bad.yaml:1:1: error: byte 0xff is not UTF-8; save the file as UTF-8",
        f"a/good.yaml:1:1: error: {unknown}, action_types, rules, campaigns, badges",
    ]
    if words[0] == "diff":
        told.append(told[1].replace("a/", "b/", 1))
        told.append("b/good.yaml:1:1: error: no file has the section program; it is needed once")
    assert (result.exit_code, lines[:-1]) == (1, told)


def test_what_new_rules_come_to_is_listed_and_what_pays_much_is_loud():
    more = """  - id: bottle
    action: trip
    earns: 10000
    examples:
      - {name: a bottle, given: {km: 8}, expect: {earns: 10000}}
      - {name: refused, given: {km: 100}, expect: {refused: implausible}}
  - id: small
    action: trip
    saves: 150
    earns: 5
    examples: [{name: a small one, given: {km: 8}, expect: {saves: 150, earns: 5}}]
campaigns:"""
    difference = diff({"a.yaml": SAMPLE}, {"a.yaml": SAMPLE.replace("campaigns:", more)})
    lines = [line for line, _ in difference.lines()]
    assert lines[2:] == [
        "the examples come to:",
        "! bottle 'a bottle': new, earns 10000 g (67 trees of 150 g by one report)",
        "  bottle 'refused': new, refused as implausible",
        "  small 'a small one': new, saves 150 g, earns 5 g",
        "2 changes, every example comes out as before, 3 new ones; 1 to look at twice (!)",
    ]
    assert [loud for _, loud in difference.lines()][3] is True
    assert msgspec.to_builtins(difference)["consequences"][0]["before"] == {}


BY_HAND = """  - id: by-hand
    action: trip
    when: "!verified"
    earns: 37
    limits: [{per: day, count: 5}]
    examples: [{name: one, given: {km: 8}, context: {verified: false}, expect: {earns: 37}}]
campaigns:"""
OFTEN = """  - id: often
    title: Often
    rules: [by-hand]
    from: 2026-11-01
    until: 2027-06-06
    earns_times: 100
    budget_g: 5000000
badges:"""


@pytest.mark.parametrize(
    ("changes", "change"),
    [
        ([], "campaign often: added"),
        ([("earns_times: 100", "earns_times: 30")], "campaign often: earns_times 30 -> 100"),
        ([("    rules: [by-hand]", "    rules: [trip]")],
         "campaign often: rules [trip] -> [by-hand]"),
    ],
)  # fmt: skip
def test_a_campaign_that_pays_much_for_what_nobody_verifies_is_loud(changes, change):
    sample = SAMPLE.replace("reported_by: [partner]", "reported_by: [partner, participant]")
    sample = sample.replace("campaigns:", BY_HAND)
    before = OFTEN
    for old, new in changes:
        before = before.replace(old, new)
    old = sample.replace("badges:", before) if changes else sample
    difference = diff({"a.yaml": old}, {"a.yaml": sample.replace("badges:", OFTEN)})
    told = {one.text: one.warning for one in difference.changes}
    ((_, warning),) = [each for each in told.items() if each[0].startswith(change)]
    assert warning == (
        "by reports that nobody verifies a person can earn 18,500 g, "
        "120 trees of 150 g with the campaign often in a day; mind the limits"
    )


def test_a_campaign_without_a_budget_that_pays_much_says_both():
    sample = SAMPLE.replace("reported_by: [partner]", "reported_by: [partner, participant]")
    sample = sample.replace("campaigns:", BY_HAND)
    more = OFTEN.replace("    budget_g: 5000000\n", "")
    (change,) = diff({"a.yaml": sample}, {"a.yaml": sample.replace("badges:", more)}).changes
    assert change.warning.startswith("no budget_g: nothing limits what it pays; by reports")
