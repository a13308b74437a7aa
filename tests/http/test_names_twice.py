"""A name that stands twice is seen in whatever way JSON may be written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.faults import has_names_twice

NAMES = st.sampled_from(["a", "b", 'a":', '":', "\\", "é", ""])
TEXTS = st.sampled_from(["", 'a":', '"a":1', " :", "\\u0022:", "\n:", "1e400"])
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), TEXTS)


class Pairs(list):
    """An object as pairs, so that a name may stand twice."""


VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(NAMES, inner), max_size=4).map(Pairs)
    ),
    max_leaves=10,
)
COLONS = st.sampled_from([":", " :", ": ", "\t:", "\n :"])


def spelled(text, draw):
    """A JSON string, quotes and colons in it in one of several ways."""
    told = json.dumps(text, ensure_ascii=draw(st.booleans()))[1:-1]
    told = told.replace('\\"', draw(st.sampled_from(['\\"', "\\u0022"])))
    return '"' + told.replace(":", draw(st.sampled_from([":", "\\u003a", "\\u003A"]))) + '"'


def written(value, draw):
    """The JSON of it in one of many ways, and whether a name stands twice."""
    if isinstance(value, Pairs):
        parts = [(name, *written(held, draw)) for name, held in value]
        names = [name for name, _, _ in parts]
        members = [f"{spelled(n, draw)}{draw(COLONS)}{text}" for n, text, _ in parts]
        is_double = len(set(names)) < len(names) or any(double for _, _, double in parts)
        return "{" + ",".join(members) + "}", is_double
    if isinstance(value, list):
        parts = [written(held, draw) for held in value]
        return "[" + ",".join(text for text, _ in parts) + "]", any(double for _, double in parts)
    return (spelled(value, draw) if isinstance(value, str) else json.dumps(value)), False


@given(value=VALUES, data=st.data())
def test_a_name_that_stands_twice_is_always_seen(value, data):
    text, is_double = written(value, data.draw)
    assert has_names_twice(text.encode()) is is_double


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2,"b" :3}',
        '{"a":1,"a":2,"b\\u0022":3}',
        '{"a":"\\"","a":2,"b":"\\u0022:"}',
        '{"a":1,"\\u0061":2}',
        '{"a":1,"a":"\\"\\u003a"}',
        '{"a":1,"b":1e400,"a":2}',
    ],
)
def test_what_hides_a_name_from_counting_hides_none(text):
    assert has_names_twice(text.encode())
