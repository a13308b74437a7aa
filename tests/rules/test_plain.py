"""What is computed without the engine is what the engine computes, to the last bit."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.rules.cel.expression import Scope
from service.rules.cel.tree import Name

SCOPE = Scope(
    [
        Name("x", "number"),
        Name("y", "number", optional=True),
        Name("kind", "text", optional=True),
        Name("flag", "boolean"),
    ],
    {"petrol": 101, "metro": 15.49},
)
AMOUNTS = st.one_of(
    st.floats(allow_nan=False, width=64), st.integers(-(2**70), 2**70), st.integers(-3, 3)
)
VALUES = st.fixed_dictionaries(
    {"x": AMOUNTS, "flag": st.booleans(), "hour": st.integers(0, 23)},
    optional={"y": AMOUNTS, "kind": st.sampled_from(["", "a", "b", "é"])},
)


def joined(*parts):
    return st.tuples(*[st.just(p) if isinstance(p, str) else p for p in parts]).map(" ".join)


NUMBERS = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["x", "y", "hour", "2", "0.1", "0", "factors.petrol", "factors.metro"]),
        joined("(", NUMBERS, st.sampled_from("+-*/"), NUMBERS, ")"),
        joined("(-", NUMBERS, ")"),
        joined(st.sampled_from(["min", "max"]), "(", NUMBERS, ",", NUMBERS, ")"),
        joined(st.sampled_from(["floor", "ceil", "round"]), "(", NUMBERS, ")"),
        joined("(", CONDITIONS, "?", NUMBERS, ":", NUMBERS, ")"),
    )
)
CONDITIONS = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["flag", "has(y)", "has(kind)", "kind == 'a'", "kind != 'é'"]),
        st.sampled_from(["kind in ['a', 'é']", "x in [1, 2.5, 0]", "kind.startsWith('a')"]),
        joined(NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS),
        joined("(", CONDITIONS, st.sampled_from(["&&", "||", "==", "!="]), CONDITIONS, ")"),
        joined("!(", CONDITIONS, ")"),
        joined("(", CONDITIONS, "?", CONDITIONS, ":", CONDITIONS, ")"),
    )
)


def both(text, wanted, values):
    """The expression as it runs and as the engine alone runs it."""
    present = frozenset(["y", "kind"])  # what may fail is let through: it has to fail alike
    expression = SCOPE.compile(text, wanted, present=present).expression
    assume(expression is not None)
    values |= {f"_has_{name}": name in values for name in ("y", "kind")}
    found = []
    for each in (expression, replace(expression, _plain=None)):
        value = (each.number if wanted == "number" else each.holds)(SCOPE.activation(values))
        found.append(None if value is None else (type(value), repr(value)))
    return found


@settings(max_examples=150, deadline=None)
@given(NUMBERS, VALUES)
def test_amounts_are_those_of_the_engine(text, values):
    ours, engine = both(text, "number", values)
    assert ours == engine


@settings(max_examples=150, deadline=None)
@given(CONDITIONS, VALUES)
def test_conditions_are_those_of_the_engine(text, values):
    ours, engine = both(text, "condition", values)
    assert ours == engine


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("min(x * factors.metro, 3) + (has(y) ? y : 0)", True),
        ("kind == 'a' && x in [1, 2] ? x / 2 : -x", True),
        ("kind.matches('a+') ? x : 0", False),
    ],
)
def test_only_what_needs_the_engine_goes_there(text, is_plain):
    expression = SCOPE.compile(text, "number", present=frozenset(["kind"])).expression
    activation = SCOPE.activation({"x": 3, "kind": "a"} | dict.fromkeys(["_has_y"], False))
    assert expression.number(activation) is not None
    assert ("of_engine" not in vars(activation)) is is_plain
