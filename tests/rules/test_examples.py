"""Examples in rules are run by the real functions; what differs is told at its `expect`."""

import json

import pytest

from service.rules.compile.draft import compile_rulebook
from service.rules.trial.check import check_folder, failed_examples, problems_json
from tests.rules.sets import PROGRAM, ROOT, WALK

LATER = (
    WALK
    + '    plausible: "!has(distance_km) || distance_km <= steps * 0.002"\n'
    + """
  office.day: {title: Day, category: office, reported_by: [device]}
  office.visit: {title: Visit, category: office, reported_by: [partner]}
"""
)


def ran(rule, *examples, action="mobility.walk"):
    """Run a rule's examples, each (given, context, expect); answer what they complain about."""
    listed = [
        {"name": "x", "given": given, "context": context, "expect": expect}
        for given, context, expect in examples
    ]
    whole = {"id": "r", "action": action, "title": "t", **rule, "examples": listed}
    draft = compile_rulebook({"a.yaml": f"{PROGRAM}{LATER}rules: [{json.dumps(whole)}]"})
    assert not draft.errors, draft.errors
    return [problem.message.partition(": ")[2] for problem in failed_examples(draft)]


STEPS = {"steps": 9}
REFUSED = (
    "it is refused as invalid-attributes: mobility.walk: steps must be a whole number from 1 to "
    "100000."
)


@pytest.mark.parametrize(
    ("rule", "given", "expect", "faults"),
    [
        ({"earns": 5}, STEPS, {"earns": 5, "saves": 0}, []),
        ({"earns": 5}, STEPS, {}, []),
        (
            {"earns": 5, "saves": 7},
            STEPS,
            {"earns": 6, "saves": 8},
            ["saves is 7, not 8", "earns is 5, not 6"],
        ),
        (
            {"earns": 5, "limits": [{"per": "day", "grams": 3}]},
            STEPS,
            {"earns": 3, "limited_by": "3 g per day"},
            [],
        ),
        (
            {"earns": 5},
            STEPS,
            {"limited_by": "3 g per day"},
            ["limited_by is nothing, not 3 g per day"],
        ),
        ({"earns": 5, "when": "steps > 9"}, STEPS, {"skipped": True}, []),
        (
            {"earns": 5, "when": "steps > 9"},
            STEPS,
            {"earns": 5},
            ["the rule does not apply (when, from or until)"],
        ),
        ({"earns": 5}, STEPS, {"skipped": True}, ["the rule applies"]),
        ({"earns": 5}, STEPS, {"refused": "implausible"}, ["it is accepted"]),
        ({"earns": 5}, {"steps": 9, "distance_km": 50}, {"refused": "implausible"}, []),
        ({"earns": 5}, {"steps": 0}, {"refused": "invalid-attributes"}, []),
        ({"earns": 5}, {"steps": 0}, {"earns": 5}, [REFUSED]),
        (
            {"earns": "5 - steps"},
            STEPS,
            {"earns": 5},
            ["an expression failed: it gives no number of grams between 0 and 1,000,000"],
        ),
        ({"earns": 5, "until": "2020-01-01"}, STEPS, {"earns": 5}, []),
    ],
)
def test_examples(rule, given, expect, faults):
    assert ran(rule, (given, {}, expect)) == faults


def test_the_context_of_an_example():
    assert ran(
        {"earns": "verified ? 5 : region == 'CN-ZJ' ? streak_days * 2 : 0"},
        (STEPS, {}, {"earns": 0}),
        (STEPS, {"verified": True}, {"earns": 5}),
        (STEPS, {"region": "CN-ZJ", "streak_days": 4}, {"earns": 8}),
    ) == []  # fmt: skip


def test_the_time_of_an_example():
    june = {"earns": "hour", "from": "2026-06-05", "until": "2026-06-06"}
    assert ran(
        june,
        (STEPS, {}, {"earns": 12}),
        (STEPS, {"occurred_at": "2026-06-05T08:15"}, {"earns": 8}),
        (STEPS, {"occurred_at": "2026-06-05T08:15:00+02:00"}, {"earns": 14}),
        (STEPS, {"occurred_at": "2026-06-04T23:59Z"}, {"earns": 7}),
        (STEPS, {"occurred_at": "2026-06-06T00:00"}, {"skipped": True}),
    ) == []  # fmt: skip


def test_the_reporter_follows_from_the_type():
    rule = {"earns": "reporter == 'device' ? 1 : reporter == 'partner' && verified ? 2 : 0"}
    assert ran(rule, ({}, {}, {"earns": 1}), action="office.day") == []
    assert ran(rule, ({}, {}, {"earns": 2}), action="office.visit") == []
    unverified = ({}, {"verified": False}, {"earns": 0})
    assert ran(rule, unverified, action="office.visit") == []


def test_a_difference_is_told_at_its_expect():
    text = (
        PROGRAM
        + WALK
        + (
            "rules:\n  - id: r\n    action: mobility.walk\n    title: t\n    earns: 5\n"
            "    examples:\n      - name: a walk\n        given: {steps: 9}\n"
            "        expect: {earns: 6}\n"
        )
    )
    draft = compile_rulebook({"rules/a.yaml": text})
    (problem,) = failed_examples(draft)
    assert str(problem) == "rules/a.yaml:24:17: error: example 'a walk' of r: earns is 5, not 6"
    assert problems_json([problem]) == {
        "ok": False,
        "problems": [
            {
                "file": "rules/a.yaml",
                "line": 24,
                "column": 17,
                "path": "rules[0].examples[0].expect",
                "message": "example 'a walk' of r: earns is 5, not 6",
                "severity": "error",
            }
        ],
    }


def test_the_shipped_rules_are_good_without_a_warning():
    draft = check_folder(ROOT / "rules")
    assert draft.problems == ()
    assert failed_examples(draft) == []
    assert len(draft.examples) >= len(draft.rulebook.rules)


def test_a_draft_with_errors_has_no_examples_to_run():
    assert failed_examples(compile_rulebook({"a.yaml": "x: 1"})) == []
