"""Files that are hostile, strange or many: refused or read right, and at once."""

import time

import pytest

from service.rules.compile.draft import compile_rulebook
from service.rules.language.load import load, read_folder
from tests.rules.hostile import many_expressions
from tests.rules.sets import PROGRAM, WALK

NO_NUMBER = "no finite number; a text like that must stand in quotes"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def one(text):
    """Load one file; its node, or the one line that says why not."""
    nodes, problems = load({"a.yaml": text})
    assert len(nodes) + len(problems) == 1
    return nodes["a.yaml"] if nodes else str(problems[0])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [*b]", "1:5: error: aliases (*b) are not allowed; write the value out"),
        (
            "a: !!python/object/apply:os.system [ls]",
            ("1:4: error: tags (!!python/object/apply:os.system) are not allowed; "
             "a text that begins with ! must stand in quotes"),
        ),
        ("[" * 20 + "]" * 20, None),
        ("[" * 21 + "]" * 21, "1:21: error: values are nested at most 20 levels deep"),
        ("a: " + "[" * 100_000, "1:23: error: values are nested at most 20 levels deep"),
        ("a: " + "{b: " * 50_000, "1:80: error: values are nested at most 20 levels deep"),
        ("- a\n" * 9_999, None),
        ("- a\n" * 10_000, "10000:3: error: a file has at most 10,000 values"),
        ("# " + "x" * (256 * 1024 - 7) + "\na: 1", None),
        ("# " + "x" * (256 * 1024 - 6) + "\na: 1", "1:1: error: a file has at most 256 KiB"),
        ("a: 1\n---\nb: 2", "2:1: error: a file holds one document; nothing may follow ---"),
        ("%YAML 1.1\n---\na: 1", "1:1: error: directives (%) are not allowed"),
        ("? [a]\n: 1", "1:3: error: a key must be a plain name"),
        ("a: 1\na: 2\n", "2:1: error: a stands here twice; it was given first in line 1"),
        ("", "1:1: error: this file is empty"),
        ("# nothing\n", "1:1: error: this file is empty"),
        ("a: x\0y", "1:5: error: character U+0000 is not allowed in a rule file"),
        ('b: 1\na: "x\\0y"', "2:4: error: a text cannot hold a NUL character"),
        ("a: \ud83d", "1:4: error: character U+D83D is not allowed in a rule file"),
        ("a: x\u2028y", "1:5: error: character U+2028 is not allowed in a rule file"),
        ("a: \x07", "1:4: error: character U+0007 is not allowed in a rule file"),
        ("a: 99999999999999999999", "1:4: error: this number is too large"),
        ("a: .inf", f"1:4: error: .inf is {NO_NUMBER}"),
        ("a: -.INF", f"1:4: error: -.INF is {NO_NUMBER}"),
        ("a: .nan", f"1:4: error: .nan is {NO_NUMBER}"),
        ("a: 1e999", "1:4: error: this number is too large"),
        ("a: @x", "1:4: error: a value cannot begin with @; put it in quotes"),
        ("a:\n\t- x", "2:1: error: a tab cannot indent; use spaces"),
        ("x: 1\na: !has(x)", ("2:4: error: tags (!has(x)) are not allowed; a text that begins "
         "with ! must stand in quotes")),
        ("- a: !has(x) || y", "1:6: error: a text that begins with ! must stand in quotes"),
        ("a: 'x", "1:4: error: this quote is never closed"),
    ],
)  # fmt: skip
def test_what_is_not_safe_is_refused_at_once(text, line):
    started = time.thread_time()
    outcome = load({"a.yaml": text})[1]
    assert time.thread_time() - started < 0.5
    assert [str(problem) for problem in outcome] == ([] if line is None else [f"a.yaml:{line}"])


def test_every_anchor_and_alias_is_told_and_none_is_followed():
    problems = load({"a.yaml": BOMB})[1]
    assert len(problems) == 9 + 8 * 9
    assert [str(problem) for problem in problems[:3]] == [
        "a.yaml:1:4: error: anchors (&a) are not allowed",
        "a.yaml:2:4: error: anchors (&b) are not allowed",
        "a.yaml:2:8: error: aliases (*a) are not allowed; write the value out",
    ]


def test_scalars_are_those_of_yaml_1_2():
    text = (
        "a: no\nb: 010\nc: 0x1F\nd: 0o17\ne: 1e3\nf: ~\ng: 'true'\nh: True\ni: -.5\nj: 2026-06-05\n"
        'k: 07:00\nl: "5"\nm: on\nn:\no: 1_000\n'
    )
    values = {key: node.value for key, (_, node) in one(text).entries.items()}
    assert values == {
        "a": "no", "b": 10, "c": 31, "d": 15, "e": 1000.0, "f": None, "g": "true", "h": True,
        "i": -0.5, "j": "2026-06-05", "k": "07:00", "l": "5", "m": "on", "n": None, "o": "1_000",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "offset", "place"),
    [
        ("a: one + two", 6, (1, 10)),
        ("a: 'one + two'", 6, (1, 11)),
        ('a: "one + two" # why', 6, (1, 11)),
        ("- {a: 1, b: één}", 2, (1, 15)),
        ("a: 'it''s'", 3, (1, 9)),
        ('a: "x\\u002a+"', 1, (1, 6)),
        ('a: "x\\u002a+"', 2, (1, 12)),
        ('a: "x\\U0001f600\\"+"', 3, (1, 18)),
        ('a: "one \\\n  two\\n"', 4, (2, 3)),
        ("a: 'one\n\n    t''wo'", 6, (3, 8)),
        ("a: one\n  two", 5, (2, 4)),
        ("a: one\n\n\n  two # why", 6, (4, 4)),
        ("a: >\n  one\n  two", 5, (3, 4)),
        ("a: >-\n\n  one\n\n    two\n  three # no comment\n# one\nb: 1", 8, (5, 5)),
        ("a: >-\n\n  one\n\n    two\n  three # no comment\n# one\nb: 1", 12, (6, 3)),
        ("a: |\n  one\n", 4, (2, 6)),
        ('a: "  one"', 1, (1, 6)),
        ("a: |\n  one\n    two\n", 6, (3, 5)),
        ("a: |-\n\n\n    one", 2, (4, 5)),
        ("a: |2\n     one", 3, (2, 6)),
        ("a: | # why\n  one", 1, (2, 4)),
        ("a: |\r\n  one\r\n  two\r\n", 4, (3, 3)),
        ("\ufeffa: one", 1, (1, 5)),
        ("a: |\n\n", 0, (1, 4)),
    ],
)
def test_every_character_of_a_text_knows_its_place(text, offset, place):
    root = one(text)
    node = root.items[0].entries["b"][1] if root.items else root.find(("a",))
    assert node.place(offset) == place


def test_a_path_is_followed_as_far_as_it_goes():
    root = one("a: {b: [1, {c: x}]}")
    assert root.find(("a", "b", 1, "c")).text == "x"
    assert root.find(("a", "nope", "c")).column == 4


def test_there_are_limits_on_the_whole_set():
    files = {f"{index:02}.yaml": "a: 1" for index in range(65)}
    assert [str(problem) for problem in load(files)[1]] == [
        "00.yaml:1:1: error: a rule set has at most 64 files"
    ]
    big = {f"{index}.yaml": "#" * (250 * 1024) for index in range(9)}
    assert [str(problem) for problem in load(big)[1]] == [
        "0.yaml:1:1: error: all files together have at most 2048 KiB"
    ]


def test_there_is_a_limit_on_rules():
    one_type = "action_types: {a.b: {title: t, category: home, reported_by: [device]}}\n"
    rules = "rules:\n" + "".join(
        f"- {{id: r{index}, action: a.b, title: t, earns: 1}}\n" for index in range(501)
    )
    files = {"a.yaml": PROGRAM + one_type + rules, "b.yaml": rules.replace("id: r", "id: s")}
    started = time.thread_time()
    errors = compile_rulebook(files).errors
    assert time.thread_time() - started < 5
    assert [str(problem) for problem in errors] == [
        "b.yaml:501:3: error: a rule set has at most 1,000 rules"
    ]


def test_an_unreadable_file_hides_nothing_and_starts_no_false_alarms():
    rule = "{id: a, action: b.c, title: t, earns: factors.x}"
    campaign = "{id: b, title: t, from: 2026-01-02, until: 2026-01-01, rules: [z], earns_times: 2}"
    files = {
        "a.yaml": f"{WALK}factors: {{y: {{value: -1}}}}\nrules: [{rule}]\ncampaigns: [{campaign}]",
        "b.yaml": "factors: [",
    }
    assert [str(problem) for problem in compile_rulebook(files).problems] == [
        "a.yaml:11:14: error: factor y needs unit, source and year",
        "a.yaml:11:22: error: value must be a number from 0 to 1000000000, not -1",
        "a.yaml:12:14: warning: rule a has no example",
        (
            "a.yaml:13:56: error: until 2026-01-01 is not after from 2026-01-02; until is the day "
            "after the last"
        ),
        "b.yaml:1:11: error: a value is missing here, or a bracket is not closed",
    ]


def test_a_root_that_is_no_mapping_is_told():
    assert [str(problem) for problem in compile_rulebook({"a.yaml": "- program"}).errors] == [
        (
            "a.yaml:1:1: error: a rule file must be a mapping with program, factors, action_types, "
            "rules ..., not a list"
        ),
        "a.yaml:1:1: error: no file has the section program; it is needed once",
    ]


def test_a_folder_is_read_by_name(tmp_path):
    (tmp_path / "b.yaml").write_text("b: 1")
    (tmp_path / "a.yml").write_text("\ufeffa: 1")
    (tmp_path / "README.md").write_text("no")
    (tmp_path / "tests").mkdir()
    files, problems = read_folder(tmp_path)
    assert files == {str(tmp_path / "a.yml"): "a: 1", str(tmp_path / "b.yaml"): "b: 1"}
    assert problems == []


def test_bytes_that_are_no_utf8_have_their_place(tmp_path):
    (tmp_path / "a.yaml").write_bytes("a: 1\nb: é".encode() + b"\xff")
    (tmp_path / "b.yaml").write_bytes(b"# \xff" + b"x" * 257 * 1024)
    (tmp_path / "c.yaml").mkdir()
    files, problems = read_folder(tmp_path)
    assert [str(problem) for problem in problems] == [
        f"{tmp_path}/a.yaml:2:5: error: byte 0xff is not UTF-8; save the file as UTF-8",
        f"{tmp_path}/c.yaml:1:1: error: cannot be read: it is a folder, not a file",
    ]
    assert str(load(files)[1][0]).endswith("b.yaml:1:1: error: a file has at most 256 KiB")


def test_an_empty_folder_is_told(tmp_path):
    _, (problem,) = read_folder(tmp_path)
    assert str(problem) == f"{tmp_path}:1:1: error: this folder holds no .yaml file"


def test_what_nobody_reads_to_the_end_is_not_checked_to_the_end():
    files = {f"{at}.yaml": "badges:\n" + "  - x\n" * 60 for at in (0, 1)}
    lines = [str(problem) for problem in compile_rulebook(files).problems]
    assert lines[0].startswith("0.yaml:2:5: error: a badge must be a mapping")
    assert lines[99].startswith("1.yaml:41:5: error: a badge must be a mapping")
    assert lines[100:] == ["1.yaml:42:5: error: after 100 errors nothing further is checked"]


def test_warnings_are_told_however_many_they_are():
    rules = "".join(f"- {{id: r{at}, action: mobility.walk, earns: 1}}\n" for at in range(201))
    never = f"- {{id: s, action: mobility.walk, when: 'steps in [{'0, ' * 99}5]', earns: 1}}\n"
    draft = compile_rulebook({"a.yaml": PROGRAM + WALK + "rules:\n" + rules + never})
    assert draft.rulebook is not None
    # But for one expression, of which the first fifty do.
    assert len(draft.problems) == 2 * (201 + 1) + 50


def test_expressions_that_fill_their_limit_are_compiled():
    full = many_expressions(125, lambda _: "steps * 2".ljust(2_000))()
    assert compile_rulebook(full).errors == []
    full["z.yaml"] = "rules:\n- {id: one, action: a.b, earns: 1}\n"
    assert [str(problem) for problem in compile_rulebook(full).errors] == [
        "z.yaml:2:33: error: the expressions of a rule set have at most 250,000 characters together"
    ]
