"""Whatever an operator types: problems with places, never a traceback, never a half rulebook."""

import copy
import json
import os
import random
import re
from pathlib import PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rules.cel.expression import Scope
from service.rules.cel.text import rewrite
from service.rules.cel.tree import Name
from service.rules.compile.draft import compile_rulebook
from service.rules.trial.check import failed_examples, problems_json
from tests.rules.sets import SAMPLE, content_of, shipped

# More on request: each set takes some milliseconds.
DAMAGES = int(os.environ.get("SAXAUL_TEST_DAMAGES", "25"))

ODD = [
    None, True, 0, -1, 5.5, 1e308, 10**17, "", "x", "~", "0s", "999999999d", "72h\n",
    "2026-06-05\n",
    "9999-12-31", "1970-01-01", "2199-12-31", "2026-02-30T25:61", "2026-06-05T08:15:00+25:00",
    "2199-12-31T23:59:59-12:00", [], {}, [None], [{}], {"a": {}}, [[[]]], "a" * 400, "verified",
    "factors", "distance_km / 0", "(((", "'", "é😀", "1/0", "[1,2]", "matches('(')", "Asia",
    "../etc/passwd", "0x1F", ["distance_km", "distance_km"], "distance_km in [1]", "-distance_km",
    "distance_km ? 1 : 2", "floor(1/3)",
]  # fmt: skip


def places(content, path=()):
    yield path
    if isinstance(content, list):
        content = dict(enumerate(content))
    for step, value in content.items() if isinstance(content, dict) else ():
        yield from places(value, (*path, step))


def mutated(dice):
    """The language's sample with one value replaced, one key renamed, or one entry left out."""
    whole = content_of(SAMPLE)
    path = dice.choice([path for path in places(whole) if path])
    odd = copy.deepcopy(dice.choice(ODD))
    parent = whole
    for step in path[:-1]:
        parent = parent[step]
    way = dice.random()
    if way < 0.75 or isinstance(parent, list):
        parent[path[-1]] = odd
    else:
        value = parent.pop(path[-1])
        if way < 0.9:
            parent[str(odd)[:50]] = value
    return json.dumps(whole, ensure_ascii=False, indent=dice.choice([None, 1]))


def test_no_mutation_of_a_good_set_is_a_traceback():
    dice = random.Random(20261121)
    for _ in range(200):
        text = mutated(dice)
        draft = compile_rulebook({"a.yaml": text})
        assert (draft.rulebook is None) == bool(draft.errors)
        problems = [*draft.problems, *failed_examples(draft)]
        assert json.dumps(problems_json(problems))
        stands_in({"a.yaml": text}, problems)


def stands_in(files, problems):
    """Every problem stands at a place that is there, in one line of its own."""
    for problem in problems:
        line = files[problem.file].replace("\r\n", "\n").split("\n")[problem.line - 1]
        assert 1 <= problem.column <= len(line) + 1, problem
        assert problem.message
        assert str(problem).isprintable(), problem


TOKEN = re.compile(r"\w+|[ \t]+|\n|.", re.DOTALL)
STRAY = [
    "\t", "\n", "\r\n", " ", "- ", ": ", "{", "}", "[", "]", "'", '"', "&a ", "*a", "!!str ", "|\n",
    ">\n", "# ", "? ", "%", "---\n", "\\", "0", "-1", "1e999", "9" * 30, "\ufeff", "é", "😀", "\0",
    "\ud83d", "\u202e", "has(", "factors.", "in [", " / 0", "=="
]  # fmt: skip
SHIPPED = {PurePath(name).name: text for name, text in shipped().items()}
BASE = ("program.yaml", "factors.yaml")


def damaged(text, dice):
    """A file with a few of its tokens left out, doubled, swapped, replaced or made strange."""
    tokens = TOKEN.findall(text)
    for _ in range(dice.choice([1, 1, 2, 5])):
        at, other = dice.randrange(len(tokens)), dice.randrange(len(tokens))
        way = dice.randrange(6)
        if way == 0:
            tokens[at] = ""
        elif way == 1:
            tokens[at] *= 2
        elif way == 2:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif way == 3:
            tokens[at] = tokens[other]
        elif way == 4:
            tokens[at] += dice.choice(STRAY)
        else:
            tokens = tokens[:at] + tokens[max(at, other) :]
    return "".join(tokens)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_no_damage_to_a_shipped_file_is_a_traceback(name):
    dice = random.Random(name)
    for _ in range(DAMAGES):
        files = {base: SHIPPED[base] for base in BASE} | {name: damaged(SHIPPED[name], dice)}
        draft = compile_rulebook(files)
        assert (draft.rulebook is None) == bool(draft.errors)
        problems = [*draft.problems, *failed_examples(draft)]
        stands_in(files, problems)
        assert json.dumps(problems_json(problems))


PIECES = [
    "distance_km", "duration_min", "kind", "nope", "factors.car", "factors", "verified", "has(",
    "has(duration_min)", "min(", "floor(", "size(", "(", ")", "[", "]", "{", ",", "?", ":", "+",
    "-", "*", "/", "%", "==", "=", "<", ">=", "&&", "||", "!", " in ", ".", ".matches(", "'a'",
    '"b"', "'", "0", "5", "0.5", ".5", "1e3", "0x1F", "5u", "true", "null", "//", " ",
    "\n", "é", "😀",
]  # fmt: skip
SCOPE = Scope(
    [
        Name("distance_km", "number", minimum=0.1),
        Name("duration_min", "number", optional=True),
        Name("kind", "text"),
    ],
    {"car": 101},
)


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(PIECES), max_size=14).map("".join),
    st.sampled_from(["number", "condition"]),
)
def test_no_expression_is_a_traceback(text, wanted):
    outcome = SCOPE.compile(text, wanted)
    errors = [finding for finding in outcome.findings if finding.severity == "error"]
    assert (outcome.expression is None) == bool(errors)
    assert all(0 <= finding.offset <= len(text) for finding in outcome.findings)
    if outcome.expression is not None:
        values = {"distance_km": 2.0, "kind": "a", "verified": True, "_has_duration_min": False}
        activation = SCOPE.activation(values)
        run = outcome.expression.number if wanted == "number" else outcome.expression.holds
        assert isinstance(run(activation), float if wanted == "number" else bool)


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_rewriting_leads_back_to_every_token(text):
    rewritten = rewrite(text, {"distance_km", "duration_min", "kind"}, {"car": 1.0})
    for token in rewritten.tokens:
        assert text[token.offset :].startswith(token.text)
        assert rewritten.token_at(token.offset) is not None
    shifts = [rewritten.offset_of(place) for place in range(len(rewritten.text) + 1)]
    assert all(0 <= offset <= len(text) for offset in shifts)
