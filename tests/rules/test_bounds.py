"""What is called decided is decided: proven against values that actions may carry."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from service.rules.cel.expression import Scope
from service.rules.cel.ranges import Range
from service.rules.cel.tree import Name

SCOPE = Scope(
    [
        Name("x", "number", minimum=0.5, maximum=20),
        Name("y", "number", minimum=-5, maximum=5),
        Name("n", "number", minimum=1, maximum=9, is_whole=True),
        Name("kind", "text", one_of=("water", "power", "gas")),
        Name("flag", "boolean"),
    ],
    {"car": 3.5},
)
VALUES = st.fixed_dictionaries(
    {
        "x": st.sampled_from([0.5, 1.0, 2.0, 2.5, 3.5, 7.0, 20.0]),
        "y": st.sampled_from([-5.0, -1.0, 0.0, 0.5, 3.0, 5.0]),
        "n": st.sampled_from([float(number) for number in range(1, 10)]),
        "kind": st.sampled_from(["water", "power", "gas"]),
        "flag": st.booleans(),
    }
)
CONSTANTS = st.sampled_from(["0", "0.5", "1", "2.5", "3", "7", "20", "100", "factors.car"])
NUMBERS = st.recursive(
    st.one_of(st.sampled_from(["x", "y", "n"]), CONSTANTS),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(" ".join).map("({})".format),
        st.tuples(inner, st.sampled_from(["x", "2", "(x * n)"])).map("({0[0]} / {0[1]})".format),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            "{0[0]}({0[1]}, {0[2]})".format
        ),
        st.tuples(st.sampled_from(["floor", "ceil", "round", "-"]), inner).map(
            "{0[0]}({0[1]})".format
        ),
    ),
    max_leaves=4,
)
COMPARISONS = st.tuples(NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS).map(
    " ".join
)
TEXTS = st.sampled_from(
    [
        "kind == 'gas'", "kind != 'gas'", "'water' == kind", "kind in ['gas', 'power']", "flag",
        "kind.startsWith('w')", "n in [1, 2, 50]", "kind == 'coal'", "kind in ['coal']",
    ]
)  # fmt: skip
CONDITIONS = st.recursive(
    st.one_of(COMPARISONS, TEXTS),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(" ".join).map("({})".format),
        inner.map("!({})".format),
        st.tuples(inner, inner, inner).map("({0[0]} ? {0[1]} : {0[2]})".format),
    ),
    max_leaves=5,
)

# Conditions of few values, so that they can be held against all of them.
PLAIN = st.recursive(
    st.one_of(
        st.tuples(
            st.just("n"),
            st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
            st.sampled_from(["1", "2", "2.5", "8", "9"]),
        ).map(" ".join),
        TEXTS,
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(" ".join).map("({})".format),
        inner.map("!({})".format),
        st.tuples(inner, inner, inner).map("({0[0]} ? {0[1]} : {0[2]})".format),
    ),
    max_leaves=4,
)
EVERY = [
    {"n": float(n), "kind": kind, "flag": flag}
    for n in range(1, 10)
    for kind in ("water", "power", "gas")
    for flag in (True, False)
]


@settings(max_examples=150)
@given(COMPARISONS, st.lists(VALUES, min_size=5, max_size=5))
@example("floor(x) == min(n, 1)", [{"x": 0.5, "y": -5.0, "n": 1.0, "kind": "water", "flag": False}])
def test_a_comparison_that_is_always_so_is_so(text, values):
    outcome = SCOPE.compile(text, "condition")
    assume(outcome.expression is not None)
    always = [f.message.split()[3].rstrip(":") for f in outcome.findings if "always" in f.message]
    for given_values in values:
        holds = outcome.expression.holds(SCOPE.activation(given_values))
        if always and holds is not None:
            assert str(holds).lower() == always[0]


@settings(max_examples=250)
@given(PLAIN)
def test_what_is_known_where_a_condition_holds_is_true(text):
    outcome = SCOPE.compile(text, "condition")
    for value in EVERY:
        if outcome.expression.holds(SCOPE.activation(value)) is True:
            for name, fact in outcome.facts.items():
                assert is_so(fact, value[name])


def is_so(fact, value):
    if isinstance(fact, Range):
        return fact.holds(value)
    return value in fact if isinstance(fact, frozenset) else value is fact


@settings(max_examples=150)
@given(CONDITIONS, NUMBERS, st.lists(VALUES, min_size=5, max_size=5))
def test_an_amount_lies_within_its_bounds(condition, text, values):
    when = SCOPE.compile(condition, "condition")
    assume(when.expression is not None)
    outcome = SCOPE.compile(text, "number", facts=when.facts)
    assume(outcome.expression is not None)
    for given_values in values:
        activation = SCOPE.activation(given_values)
        number = outcome.expression.number(activation)
        if when.expression.holds(activation) is True and number is not None:
            assert outcome.grams.low <= number <= outcome.grams.high


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("x > 3 && x < 2", ["this is always false here: x lies between 3 and 20"]),
        ("x > 3 || x <= 3", ["this is always true here: x lies between 0.5 and 3"]),
        ("n > 3 && n < 4", ["this is always false here: n lies between 4 and 9"]),
        ("n > 2.5 && n < 3.5", []),
        ("n == 2.5", ["this is always false: n is a whole number"]),
        ("n + 0.5 == 2.5", []),
        ("x * 2 > 40", ["this is always false: the left side lies between 1 and 40"]),
        ("x < y + 30", [("this is always true: x lies between 0.5 and 20, the right side lies "
                         "between 25 and 35")]),
        ("x / y > 1000", None),
        ("flag && !flag", ["this is always true here: flag was asked before"]),
        ("flag || x > 3 && flag", ["this is always false here: flag was asked before"]),
        ("kind == 'gas' || kind != 'gas'", ["this is always true here: kind was compared before"]),
        ("kind in ['gas', 'power'] && kind == 'water'",
         ["this is always false here: kind was compared before"]),
        ("kind.contains('a')", []),
        ("kind.contains('z')", ["this is always false: kind is one of water, power, gas"]),
        ("!(kind == 'gas') && kind == 'gas'",
         ["this is always false here: kind was compared before"]),
        ("has(x)", ["this is always true: x is required"]),
        ("x > 3 ? x < 2 : x > 3", ["this is always false here: x lies between 3 and 20",
                                   "this is always false here: x lies between 0.5 and 3"]),
        ("factors.car > 3", []),
        ("x > 3 && (y > 0 || x > 4)", []),
    ],
)  # fmt: skip
def test_what_is_decided_is_said(text, messages):
    outcome = SCOPE.compile(text, "condition")
    if messages is None:
        assert outcome.expression is None
    else:
        assert [finding.message for finding in outcome.findings] == messages


@pytest.mark.parametrize(
    ("reporters", "text", "messages"),
    [
        (["device"], "verified", ["this is always false: no partner reports this"]),
        (["device"], "reporter == 'partner'",
         ["this is always false: reporter is one of device; did you mean participant?"]),
        (["partner"], "verified", []),
        (["partner", "device"], "verified", []),
    ],
)  # fmt: skip
def test_who_reports_is_known(reporters, text, messages):
    outcome = Scope([], {}, reporters).compile(text, "condition")
    shortened = [finding.message.partition("; did")[0] for finding in outcome.findings]
    assert shortened == [message.partition("; did")[0] for message in messages]


def test_what_was_asked_before_is_believed():
    when = SCOPE.compile("x >= 10 && kind == 'gas'", "condition")
    assert when.facts == {"x": Range(10, 20), "kind": frozenset({"gas"})}
    outcome = SCOPE.compile("x * 2 + (x > 5 ? 1 : 0)", "number", facts=when.facts)
    assert [finding.message for finding in outcome.findings] == [
        "this is always true here: x lies between 10 and 20"
    ]
    assert outcome.grams == Range(20, 41)
